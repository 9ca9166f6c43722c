# SPDX-License-Identifier: Apache-2.0
"""Layers with equalised learning rates (Karras et al. 2018, section 4.1).

Weights are stored at unit variance and scaled when they are used, so that an optimiser moves all of them at one pace.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..ops.bias_act import Activation, activation_gain, bias_act
from ..ops.modulated_conv import conv2d_resample
from ..ops.upfirdn2d import BINOMIAL, downsample2d, make_filter, upsample2d


def normalise_second_moment(x: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
    """Return each row divided by its root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class FullyConnected(nn.Module):
    """activation(W x + b) with an equalised learning rate."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: Activation = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        """Draw the weights.

        Args:
            in_features: features of the input.
            out_features: features of the output.
            activation: name of the activation, see `bias_act`.
            lr_multiplier: pace of this layer as a factor of the learning rate.
            bias_init: start value of the biases, as they act.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_multiplier))
        self.activation: Activation = activation
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Float[Tensor, "*n i"]) -> Float[Tensor, "*n o"]:
        """Return the layer's output."""
        weight = self.weight.to(x.dtype) * self.weight_gain
        bias = self.bias.to(x.dtype) * self.bias_gain if self.bias_gain != 1 else self.bias.to(x.dtype)
        x = F.linear(x, weight, bias)
        return x if self.activation == "linear" else bias_act(x, dim=-1, activation=self.activation)


class Convolution(nn.Module):
    """Convolution with an equalised learning rate, resampling, activation and clamp."""

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        bias: bool = True,
        activation: Activation = "linear",
        up: int = 1,
        down: int = 1,
        clamp: float | None = None,
    ) -> None:
        """Draw the weights.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            size: width and height of the weights, odd.
            bias: whether there is a bias.
            activation: name of the activation, see `bias_act`.
            up: factor of upsampling before the convolution.
            down: factor of downsampling after it.
            clamp: limit of the output's absolute value, which keeps half precision from overflowing.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("kernel", make_filter(BINOMIAL), persistent=False)
        self.weight_gain = 1 / math.sqrt(in_channels * size**2)
        self.activation: Activation = activation
        self.up, self.down, self.padding, self.clamp = up, down, size // 2, clamp

    def forward(self, x: Float[Tensor, "b i h w"], gain: float = 1.0) -> Float[Tensor, "b o h2 w2"]:
        """Return the layer's output times a gain; the clamp's limit scales with the gain."""
        x = conv2d_resample(
            x, (self.weight * self.weight_gain).to(x.dtype), self.kernel,
            up=self.up, down=self.down, padding=self.padding, flip_weight=self.up == 1,
        )  # fmt: skip
        return bias_act(
            x, self.bias, activation=self.activation, gain=activation_gain(self.activation) * gain,
            clamp=None if self.clamp is None else self.clamp * gain,
        )  # fmt: skip


class MinibatchDeviation(nn.Module):
    """Adds channels that tell how much the samples of a group differ (Karras et al. 2018, section 3)."""

    def __init__(self, group: int | None = 4, channels: int = 1) -> None:
        """Take the samples in a group (None: the whole batch) and the number of channels to add."""
        super().__init__()
        self.group, self.channels = group, channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """Return x with `channels` more channels; sample i is grouped with i + b/group, i + 2 b/group, ..."""
        batch, channels, height, width = x.shape
        group = batch if self.group is None else min(self.group, batch)
        grouped = x.reshape(group, -1, self.channels, channels // self.channels, height, width)
        deviation = (grouped.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=[2, 3, 4])
        deviation = deviation[:, :, None, None].repeat(group, 1, height, width)
        return torch.cat([x, deviation], dim=1)


def filtered_resize(
    x: Float[Tensor, "b c h w"], size: int, kernel: Float[Tensor, "..."], mode: str | float = "antialiased"
) -> Float[Tensor, "b c s s"]:
    """Return pictures of another size, as EG3D brings the raw picture to its discriminator.

    Args:
        x: square pictures.
        size: width and height of the result.
        kernel: filter of the mode "classic".
        mode: "antialiased" is bilinear with antialiasing; "none" without; "classic" upsamples by 2 with the filter,
            resizes, and downsamples by 2 with it; a number blends "antialiased" (its weight) into "none".
    """
    if mode == "antialiased":
        return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    if mode == "none":
        return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    if mode == "classic":
        x = upsample2d(x, kernel)
        x = F.interpolate(x, size=(size * 2 + 2, size * 2 + 2), mode="bilinear", align_corners=False)
        return downsample2d(x, kernel, flip_filter=True, padding=-1)
    assert isinstance(mode, float)
    return filtered_resize(x, size, kernel, "none").lerp(filtered_resize(x, size, kernel, "antialiased"), mode)
