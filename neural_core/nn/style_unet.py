# SPDX-License-Identifier: Apache-2.0
"""A StyleGAN2 synthesis that sees a picture: Next3D's style U-Net (Sun et al. 2023, section 3.2 and figure 12).

An encoder makes codes of the picture at ever smaller sizes. The synthesis begins from the smallest code in place of a
constant, and takes in each larger code on its way up; w gives the style, as ever.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..ops.upfirdn2d import BINOMIAL, downsample2d, make_filter
from .layers import Convolution
from .stylegan2 import NoiseMode, SynthesisBlock


class EncoderBlock(nn.Module):
    """Picture at one size, and features of it, to features at half that size."""

    def __init__(self, picture_channels: int, channels: int, channels_after: int, clamp: float | None = None) -> None:
        """Draw the weights: `channels` at the picture's size, `channels_after` at half of it."""
        super().__init__()
        self.from_picture = Convolution(picture_channels, channels, 1, bias=False)
        self.conv1 = Convolution(channels, channels, 3, activation="lrelu", clamp=clamp)
        self.conv2 = Convolution(channels, channels_after, 3, activation="lrelu", down=2, clamp=clamp)

    def forward(
        self, picture: Float[Tensor, "b p h w"], features: Float[Tensor, "b c h w"] | None
    ) -> Float[Tensor, "b c2 h2 w2"]:
        """Return the features; there are none before the first block."""
        own = self.from_picture(picture)
        return self.conv2(self.conv1(own if features is None else own + features))


class StyleUNet(nn.Module):
    """Picture and w_plus -> picture of as many channels."""

    kernel: Tensor

    def __init__(
        self,
        picture_channels: int,
        w_dim: int,
        channels: Mapping[int, int],
        *,
        input_resolution: int,
        smallest: int,
        clamp: float | None = None,
    ) -> None:
        """Build it.

        Args:
            picture_channels: of the picture that it sees and of the one that it makes.
            w_dim: numbers in w.
            channels: feature channels at 4, 8, ... pixels, up to the size of the picture that it makes.
            input_resolution: width and height of the picture it sees; a power of two, not above that size.
            smallest: width and height of the smallest code; a power of two, below `input_resolution`.
            clamp: limit of the absolute value of every layer's output.
        """
        super().__init__()
        self.input_resolution, self.resolution = input_resolution, max(channels)
        halved = [size for size in sorted(channels, reverse=True) if smallest < size <= input_resolution]
        self.encoder = nn.ModuleList(
            EncoderBlock(picture_channels, channels[size], channels[size // 2], clamp) for size in halved
        )
        met = [size // 2 for size in reversed(halved)]  # sizes of the codes, upwards
        self.fusions = nn.ModuleList(
            Convolution(channels[size] * (1 if size == smallest else 2), channels[size], 3) for size in met
        )
        self.blocks = nn.ModuleDict()
        for size in sorted(channels):
            if size > smallest:
                before, after = channels[size // 2], channels[size]
                self.blocks[str(size)] = SynthesisBlock(before, after, w_dim, size, picture_channels, clamp=clamp)
        self.layers = 2 * len(channels)
        """How many w a w_plus has: as many as a synthesis from 4 pixels on; those of blocks not built go unused."""
        self.register_buffer("kernel", make_filter(BINOMIAL), persistent=False)

    def forward(
        self,
        picture: Float[Tensor, "b p r r"],
        w_plus: Float[Tensor, "b n d"],
        noise_mode: NoiseMode = "const",
    ) -> Float[Tensor, "b p r2 r2"]:
        """Return the picture."""
        codes = self.codes(picture)
        x: Tensor | None = None
        made: Tensor | None = None
        first = self.layers - 1 - 2 * len(self.blocks)
        for number, block in enumerate(self.blocks.values()):
            assert isinstance(block, SynthesisBlock)
            if number < len(codes):
                code = codes[number]
                x = self.fusions[number](code if x is None else torch.cat([x, code], dim=1))
            x, made = block(x, made, w_plus[:, first : first + block.convolutions + 1], noise_mode)
            first += block.convolutions
        assert made is not None
        return made

    def codes(self, picture: Float[Tensor, "b p r r"]) -> list[Tensor]:
        """Return the picture's codes, the smallest first."""
        codes, features = [], None
        for number, block in enumerate(self.encoder):
            if number:
                picture = downsample2d(picture, self.kernel)
            features = block(picture, features)
            codes.append(features)
        return codes[::-1]
