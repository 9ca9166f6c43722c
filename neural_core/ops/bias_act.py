# SPDX-License-Identifier: Apache-2.0
"""Bias, activation, gain and clamp in one call (StyleGAN2, Karras et al. 2020, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Activation = Literal["linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "swish": F.silu,
}
_KEEPS_VARIANCE = {"relu", "lrelu", "swish"}  # these halve the variance, hence a gain of sqrt(2)
_LEAKY_SLOPE = 0.2


def activation_gain(activation: Activation) -> float:
    """Return the gain that keeps the variance of unit normal inputs: sqrt(2) for the rectifiers, else 1."""
    return math.sqrt(2) if activation in _KEEPS_VARIANCE else 1.0


def bias_act(
    x: Float[Tensor, "..."],
    bias: Float[Tensor, " c"] | None = None,
    *,
    dim: int = 1,
    activation: Activation = "linear",
    slope: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Float[Tensor, "..."]:
    """Return clamp(gain * activation(x + bias)).

    Args:
        x: any shape; `x.shape[dim]` channels if there is a bias.
        bias: one value a channel.
        dim: which axis of x the bias runs along.
        activation: name of the activation.
        slope: slope of `lrelu` below zero, 0.2 if not given; the other activations have none.
        gain: factor after the activation, `activation_gain` if not given.
        clamp: limit of the absolute value of the result; None for no limit.

    Differentiable any number of times (as far as the activation is).
    """
    if bias is not None:
        x = x + bias.reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)]).to(x.dtype)
    if activation == "lrelu":
        x = F.leaky_relu(x, _LEAKY_SLOPE if slope is None else slope)
    else:
        x = _FUNCTIONS[activation](x)
    gain = activation_gain(activation) if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)
