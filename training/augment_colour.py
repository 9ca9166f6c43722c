# SPDX-License-Identifier: Apache-2.0
"""Colours for augmentation: affine maps of colour space (ADA, appendix B).

A colour change is an affine 4x4 matrix on (red, green, blue, 1), colours in -1..1. Grey is the axis (1, 1, 1).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .augment_geometry import chance
from .draws import Draws

BRIGHTNESS = 0.2
"""Deviation of what is added to all channels."""
CONTRAST = 0.5
"""Deviation of the binary logarithm of the factor of all channels."""
SATURATION = 1.0
"""Deviation of the binary logarithm of the factor of the distance from grey."""

_ALONG_GREY = torch.full((3, 3), 1 / 3, dtype=torch.float64)  # the projection onto the axis of greys
_ACROSS_GREY = torch.eye(3, dtype=torch.float64) - _ALONG_GREY
# The cross product with the axis' unit vector.
_AROUND_GREY = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)


def draw_colour(draws: Draws, probability: float) -> tuple[Float[Tensor, "b 4 4"], Bool[Tensor, " b"]]:
    """Return brightness, contrast, luma flip, hue and saturation, each by chance, and who got any of them."""
    brighter = chance(draws, probability)
    offset = draws.normal().double() * BRIGHTNESS * brighter
    contrasted = chance(draws, probability)
    factor = torch.exp2(draws.normal().double() * CONTRAST * contrasted)
    flipped = (draws.integers(2) == 1) & chance(draws, probability)
    turned = chance(draws, probability)
    angle = (2 * draws.uniform().double() - 1) * math.pi * turned
    saturated = chance(draws, probability)
    saturation = torch.exp2(draws.normal().double() * SATURATION * saturated)
    matrix = change_of(offset, factor, flipped, angle, saturation)
    return matrix, brighter | contrasted | flipped | turned | saturated


def change_of(
    offset: Float[Tensor, " b"],
    factor: Float[Tensor, " b"],
    flipped: Bool[Tensor, " b"],
    angle: Float[Tensor, " b"],
    saturation: Float[Tensor, " b"],
) -> Float[Tensor, "b 4 4"]:
    """Return the matrix of an offset, then a factor, a luma flip, a hue angle (radians) and a factor of saturation.

    Flip, hue and saturation leave each other alone: with P the projection onto greys and Q = 1 - P, the flip changes
    the sign of P, and Q is rotated and multiplied by the saturation.
    """
    offset, factor, angle, saturation = (value[:, None, None] for value in (offset, factor, angle, saturation))
    along = torch.where(flipped, -1.0, 1.0).double()[:, None, None]
    linear = along * _ALONG_GREY + saturation * (angle.cos() * _ACROSS_GREY + angle.sin() * _AROUND_GREY)
    linear = factor * linear
    matrix = torch.eye(4, dtype=torch.float64).repeat(len(offset), 1, 1)
    matrix[:, :3, :3] = linear
    matrix[:, :3, 3:] = linear @ (offset * torch.ones(3, 1, dtype=torch.float64))
    return matrix


def recolour(image: Float[Tensor, "b c h w"], change: Float[Tensor, "b 4 4"]) -> Float[Tensor, "b c h w"]:
    """Return pictures with other colours; each three channels are one picture."""
    change = change.to(image)[:, None]
    colours = image.unflatten(1, (-1, 3)).flatten(3)  # [b, pictures, 3, pixels]
    return (change[..., :3, :3] @ colours + change[..., :3, 3:]).reshape(image.shape)
