# SPDX-License-Identifier: Apache-2.0
"""From the volume rendering to the picture: EG3D's (Chan et al. 2022, section 3.4), and ours, which knows coverage."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .stylegan2 import NoiseMode, SynthesisBlock

ENLARGEMENT = 4
"""How much larger than the volume rendering the picture of `SubpixelSuperResolution` is."""


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


class SubpixelSuperResolution(nn.Module):
    """Enlarges a rendering four times, together with its coverage; the super-resolution of our own weights.

    Sub-pixel convolution (Shi et al. 2016): the work is done at low resolution, and every output pixel is a channel of
    the last convolution, which is several times cheaper on a CPU than convolutions at the picture's own size. It sees
    features only, no code: who it is must be in the rendered features, so that every view shows the same person. What
    it writes is added to the enlarged rendering.
    """

    def __init__(self, features: int, channels: tuple[int, int]) -> None:
        """Build it.

        Args:
            features: channels of the rendered features, the first three of which are RGB.
            channels: feature channels at the rendering's resolution and at twice that.
        """
        super().__init__()
        low, middle = channels
        # Edges are repeated, so that a crop in training looks like a piece of a whole picture.
        first, second, third, fourth, last = (
            nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")
            for before, after in [(features + 1, low), (low, low), (low, 4 * middle), (middle, middle), (middle, 16)]
        )
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # at first the picture is the enlarged rendering
        leak, doubled = nn.LeakyReLU(0.2), nn.PixelShuffle(2)
        self.layers = nn.Sequential(first, leak, second, leak, third, doubled, leak, fourth, leak, last, doubled)

    def forward(
        self, features: Float[Tensor, "b f h w"], opacity: Float[Tensor, "b 1 h w"]
    ) -> tuple[Float[Tensor, "b 3 h4 w4"], Float[Tensor, "b 1 h4 w4"]]:
        """Return the picture, -1..1 over black, and its coverage, 0..1.

        Args:
            features: rendered features, -1..1 over black.
            opacity: 0..1.
        """
        covered = 2 * opacity - 1
        rendering = torch.cat([features[:, :3], covered], dim=1)
        enlarged = F.interpolate(rendering, scale_factor=ENLARGEMENT, mode="bilinear", align_corners=False)
        detail = self.layers(torch.cat([features, covered], dim=1))
        picture = enlarged + detail
        return picture[:, :3], (picture[:, 3:] + 1) / 2
