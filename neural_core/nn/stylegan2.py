# SPDX-License-Identifier: Apache-2.0
"""StyleGAN2's mapping and synthesis networks (Karras et al. 2020), in the variant with skip connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..ops.bias_act import Activation, activation_gain, bias_act
from ..ops.modulated_conv import modulated_conv2d
from ..ops.upfirdn2d import BINOMIAL, make_filter, upsample2d
from .layers import FullyConnected, normalise_second_moment

NoiseMode = Literal["const", "random", "none"]
"""Per-pixel noise of the synthesis: the stored pictures, fresh numbers (torch's global generator), or none."""


def channels_at(resolution: int, base: int, maximum: int) -> int:
    """Return the number of feature channels of a resolution: base / resolution, but no more than the maximum."""
    return min(base // resolution, maximum)


class MappingNetwork(nn.Module):
    """z and a label -> w."""

    w_mean: Tensor

    def __init__(
        self,
        z_dim: int,
        label_dim: int,
        w_dim: int,
        *,
        layers: int,
        normalise_z: bool = True,
        activation: Activation = "lrelu",
        lr_multiplier: float = 0.01,
        track_mean: bool = True,
    ) -> None:
        """Build the network.

        Args:
            z_dim: numbers in z; 0 for a network of the label alone.
            label_dim: numbers in the label; 0 for none.
            w_dim: numbers in w.
            layers: fully connected layers.
            normalise_z: whether z is divided by its root mean square.
            activation: of each layer.
            lr_multiplier: pace of the layers.
            track_mean: whether there is a mean w to truncate towards.
        """
        super().__init__()
        self.normalise_z, self.z_dim = normalise_z, z_dim
        self.embed = FullyConnected(label_dim, w_dim) if label_dim else None
        widths = [z_dim + (w_dim if label_dim else 0)] + [w_dim] * layers
        self.layers = nn.ModuleList(
            FullyConnected(i, o, activation=activation, lr_multiplier=lr_multiplier) for i, o in pairwise(widths)
        )
        if track_mean:
            self.register_buffer("w_mean", torch.zeros(w_dim))

    def forward(
        self, z: Float[Tensor, "b z"] | None, label: Float[Tensor, "b l"] | None = None
    ) -> Float[Tensor, "b w"]:
        """Return w."""
        parts = []
        if self.z_dim:
            assert z is not None
            z = z.float()
            parts.append(normalise_second_moment(z) if self.normalise_z else z)
        if self.embed is not None:
            assert label is not None
            parts.append(normalise_second_moment(self.embed(label.float())))
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    def truncate(self, w_plus: Float[Tensor, "b n w"], psi: float, cutoff: int | None = None) -> Float[Tensor, "b n w"]:
        """Return w_plus moved towards the mean w.

        Args:
            w_plus: one w a layer.
            psi: 1 leaves w as it is, 0 is the mean.
            cutoff: how many layers from the first are moved; None for all.
        """
        if psi == 1:
            return w_plus
        count = w_plus.shape[1] if cutoff is None else cutoff
        return torch.cat([self.w_mean.lerp(w_plus[:, :count], psi), w_plus[:, count:]], dim=1)

    @torch.no_grad()
    def track(self, w: Float[Tensor, "b w"], decay: float = 0.998) -> None:
        """Move the mean w towards that of a training batch."""
        self.w_mean.copy_(w.float().mean(dim=0).lerp(self.w_mean, decay))


class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias, activation (StyleGAN2, figure 2c)."""

    kernel: Tensor
    noise: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        size: int = 3,
        up: int = 1,
        activation: Activation = "lrelu",
        clamp: float | None = None,
    ) -> None:
        """Draw the weights; `resolution` is the output's, `clamp` limits the output's absolute value."""
        super().__init__()
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise", torch.randn(resolution, resolution))
        self.register_buffer("kernel", make_filter(BINOMIAL), persistent=False)
        self.activation: Activation = activation
        self.up, self.padding, self.clamp = up, size // 2, clamp

    def forward(
        self, x: Float[Tensor, "b i h w"], w: Float[Tensor, "b d"], noise_mode: NoiseMode = "const", gain: float = 1.0
    ) -> Float[Tensor, "b o h2 w2"]:
        """Return the layer's output times a gain; the clamp's limit scales with the gain."""
        noise = None
        if noise_mode == "const":
            noise = self.noise * self.noise_strength
        elif noise_mode == "random":
            noise = torch.randn(x.shape[0], 1, *self.noise.shape, device=x.device) * self.noise_strength
        x = modulated_conv2d(
            x, self.weight, self.affine(w), noise=noise, kernel=self.kernel, up=self.up, padding=self.padding,
            flip_weight=self.up == 1, fused=x.shape[0] == 1,
        )  # fmt: skip
        return bias_act(
            x, self.bias, activation=self.activation, gain=activation_gain(self.activation) * gain,
            clamp=None if self.clamp is None else self.clamp * gain,
        )  # fmt: skip


class ToRGB(nn.Module):
    """Features -> picture (or plane features): a modulated 1x1 convolution without demodulation."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, clamp: float | None = None) -> None:
        """Draw the weights; `clamp` limits the output's absolute value."""
        super().__init__()
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.clamp = clamp

    def forward(self, x: Float[Tensor, "b i h w"], w: Float[Tensor, "b d"]) -> Float[Tensor, "b o h w"]:
        """Return the picture."""
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False, fused=x.shape[0] == 1)
        return bias_act(x, self.bias, clamp=self.clamp)


class SynthesisBlock(nn.Module):
    """The layers of one resolution, and their addition to the picture of the blocks before.

    The first block of a network has a learned constant instead of an input (`in_channels` 0).
    """

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        picture_channels: int,
        *,
        doubles: bool = True,
        clamp: float | None = None,
    ) -> None:
        """Build the block.

        Args:
            in_channels: channels of the input features; 0 for the first block.
            out_channels: channels of the output features.
            w_dim: numbers in w.
            resolution: of the output.
            picture_channels: channels of the picture.
            doubles: whether the block doubles the resolution (the first block of a network never does).
            clamp: limit of the absolute value of every layer's output.
        """
        super().__init__()
        self.doubles = doubles and in_channels > 0
        if in_channels == 0:
            self.constant = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            up = 2 if doubles else 1
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, up=up, clamp=clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, clamp=clamp)
        self.to_rgb = ToRGB(out_channels, picture_channels, w_dim, clamp=clamp)
        self.convolutions = 1 if in_channels == 0 else 2
        self.register_buffer("kernel", make_filter(BINOMIAL), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b i h w"] | None,
        picture: Float[Tensor, "b p h w"] | None,
        w_plus: Float[Tensor, "b n d"],
        noise_mode: NoiseMode = "const",
    ) -> tuple[Float[Tensor, "b o h2 w2"], Float[Tensor, "b p h2 w2"]]:
        """Return features and picture; w_plus has one w a convolution and one for the picture."""
        *_, last, rgb = w_plus.unbind(dim=1)
        if x is None:
            hidden: Tensor = self.constant.expand(w_plus.shape[0], -1, -1, -1)
        else:
            hidden = self.conv0(x, w_plus[:, 0], noise_mode)
        hidden = self.conv1(hidden, last, noise_mode)
        own = self.to_rgb(hidden, rgb).float()
        if picture is None:
            return hidden, own
        return hidden, own + (upsample2d(picture, self.kernel) if self.doubles else picture)


class SynthesisNetwork(nn.Module):
    """w_plus -> picture, from a constant of 4x4 pixels upwards."""

    def __init__(
        self,
        w_dim: int,
        resolution: int,
        picture_channels: int,
        channels: Sequence[int],
        *,
        clamp: float | None = None,
    ) -> None:
        """Build the blocks.

        Args:
            w_dim: numbers in w.
            resolution: of the picture: a power of two, at least 8.
            picture_channels: channels of the picture.
            channels: feature channels at 4, 8, ... `resolution`.
            clamp: limit of the absolute value of every layer's output.
        """
        super().__init__()
        resolutions = [4 << i for i in range(len(channels))]
        if resolutions[-1] != resolution:
            raise ValueError(f"{len(channels)} blocks end at {resolutions[-1]}, not at {resolution}")
        self.blocks = nn.ModuleDict()
        for size, before, after in zip(resolutions, [0, *channels], channels, strict=False):
            self.blocks[str(size)] = SynthesisBlock(before, after, w_dim, size, picture_channels, clamp=clamp)
        self.layers = 2 * len(channels)
        """How many w a w_plus has: a convolution each, and one for the last picture."""

    def forward(self, w_plus: Float[Tensor, "b n d"], noise_mode: NoiseMode = "const") -> Float[Tensor, "b p r r"]:
        """Return the picture. A block's picture layer shares its w with the next block's first convolution."""
        x = picture = None
        first = 0
        for block in self.blocks.values():
            assert isinstance(block, SynthesisBlock)
            x, picture = block(x, picture, w_plus[:, first : first + block.convolutions + 1], noise_mode)
            first += block.convolutions
        assert picture is not None
        return picture
