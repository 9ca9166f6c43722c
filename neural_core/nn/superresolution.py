# SPDX-License-Identifier: Apache-2.0
"""From the volume rendering to the full picture (EG3D, Chan et al. 2022, section 3.4)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .stylegan2 import NoiseMode, SynthesisBlock


class SuperResolution(nn.Module):
    """Two synthesis blocks that continue from the rendered features; both get the last w only."""

    def __init__(
        self,
        features: int,
        w_dim: int,
        *,
        input_resolution: int,
        channels: tuple[int, int],
        first_doubles: bool,
        antialias: bool = True,
        only_enlarge: bool = False,
        clamp: float | None = 256.0,
    ) -> None:
        """Build the blocks.

        Args:
            features: channels of the rendered features.
            w_dim: numbers in w.
            input_resolution: what the rendering is resized to before the first block.
            channels: feature channels of the two blocks.
            first_doubles: whether the first block doubles the resolution too (the second always does).
            antialias: whether that resizing is antialiased.
            only_enlarge: whether larger renderings are left as they are.
            clamp: limit of the absolute value of every layer's output (in the published weights 256, which half
                precision needs, and which acts in full precision too).
        """
        super().__init__()
        middle = input_resolution * (2 if first_doubles else 1)
        self.block0 = SynthesisBlock(features, channels[0], w_dim, middle, 3, doubles=first_doubles, clamp=clamp)
        self.block1 = SynthesisBlock(channels[0], channels[1], w_dim, 2 * middle, 3, clamp=clamp)
        self.input_resolution, self.resolution = input_resolution, 2 * middle
        self.antialias, self.only_enlarge = antialias, only_enlarge

    def forward(
        self,
        rgb: Float[Tensor, "b 3 h w"],
        features: Float[Tensor, "b c h w"],
        w_plus: Float[Tensor, "b n d"],
        noise_mode: NoiseMode = "none",
    ) -> Float[Tensor, "b 3 r r"]:
        """Return the picture, about -1..1.

        Args:
            rgb: the rendering, -1..1.
            features: rendered features.
            w_plus: the last w is used.
            noise_mode: EG3D uses none here, so that views of one person agree.
        """
        rgb, features = self._resize(rgb), self._resize(features)
        styles = w_plus[:, -1:].expand(-1, 3, -1)
        x, picture = self.block0(features, rgb, styles, noise_mode)
        return self.block1(x, picture, styles, noise_mode)[1]

    def _resize(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        size = x.shape[-1]
        if size == self.input_resolution or (self.only_enlarge and size > self.input_resolution):
            return x
        target = (self.input_resolution, self.input_resolution)
        return F.interpolate(x, size=target, mode="bilinear", align_corners=False, antialias=self.antialias)
