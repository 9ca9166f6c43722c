# SPDX-License-Identifier: Apache-2.0
"""Moving pictures for augmentation: blits that copy pixels, and resampling that does not alias (ADA, appendix B).

A movement is an affine 3x3 matrix in pixels from the picture's centre (x right, y down): it says where a point goes.
What lies outside the picture is its mirror image, without end.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from neural_core.ops.upfirdn2d import upfirdn2d

from .draws import Draws

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Daubechies' least asymmetric wavelet with six vanishing moments: orthogonal to its even shifts, so upsampling with it
and downsampling with its mirror image gives the picture back."""
_CENTRE = sum(place * tap for place, tap in enumerate(SYM6)) / sum(SYM6)
"""Where the filter's weight lies, taps from the first; points are placed by it, so that ramps stay where they are."""
_REACH = 3  # pixels beyond the picture that the result of no movement at all is filtered from
_BORDER = 2 * _REACH  # pixels beyond the picture that the dense points of these are filtered from

SHIFT = 0.125
"""Most of an integer translation and deviation of a fractional one, in picture sizes."""
SCALE = 0.2
"""Deviation of the binary logarithm of scales."""


def chance(draws: Draws, probability: float) -> Bool[Tensor, " b"]:
    """Return for which samples something of this probability happens."""
    return draws.uniform() < probability


def draw_blit(draws: Draws, probability: float, size: int) -> Float[Tensor, "b 3 3"]:
    """Return a flip in x, then a quarter turn, then a shift by whole pixels, each with this probability."""
    flipped = (draws.integers(2) == 1) & chance(draws, probability)
    turns = draws.integers(4) * chance(draws, probability)
    shift = (2 * draws.uniform(2).double() - 1) * SHIFT
    shift = (shift * size).round() * chance(draws, probability)[:, None]
    sign = torch.where(flipped, -1.0, 1.0).double()
    # cos and sin of quarter turns as whole numbers, so that a blit stays on the pixels
    cos, sin = torch.tensor([1.0, 0.0, -1.0, 0.0]).double()[turns], torch.tensor([0.0, 1.0, 0.0, -1.0]).double()[turns]
    return _shifted(shift) @ _affine(cos, -sin, sin, cos) @ _affine(sign, 0 * sign, 0 * sign, 0 * sign + 1)


def draw_movement(draws: Draws, probability: float, size: int) -> tuple[Float[Tensor, "b 3 3"], Bool[Tensor, " b"]]:
    """Return a scale, a rotation, an unequal scale, a rotation and a shift, each by chance, and who got any of them.

    The two rotations together happen with the given probability; one before and one after the unequal scale lets that
    have any direction.
    """
    turn_probability = 1 - math.sqrt(1 - min(probability, 1.0))
    scale, scaled = _scale(draws, probability)
    before, turned = _turn(draws, turn_probability)
    stretch, stretched = _scale(draws, probability)
    after, turned_again = _turn(draws, turn_probability)
    shifted = chance(draws, probability)
    shift = draws.normal(2).double() * SHIFT * size * shifted[:, None]
    zero = torch.zeros_like(scale)
    movement = (
        _shifted(shift) @ after @ _affine(stretch, zero, zero, 1 / stretch) @ before @ _affine(scale, zero, zero, scale)
    )
    return movement, scaled | turned | stretched | turned_again | shifted


def blit(image: Float[Tensor, "b c s s"], movement: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b c s s"]:
    """Return pictures moved so that every pixel lands on a pixel; values are copied bit for bit."""
    size = image.shape[-1]
    found = fold(_sources(movement, torch.arange(size, dtype=torch.float64), size).round().long(), size)
    place = (found[..., 1] * size + found[..., 0]).flatten(1).to(image.device)
    return image.flatten(2).gather(2, place[:, None].expand(-1, image.shape[1], -1)).view_as(image)


def resample(image: Float[Tensor, "b c s s"], movement: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b c s s"]:
    """Return pictures moved to where pixels no longer meet pixels.

    The picture is made twice as dense with the wavelet filter, read linearly at twice the density, and filtered down
    with the filter's mirror image, so that pictures shrunk by up to a factor of two do not alias. Differentiable any
    number of times in the picture.
    """
    size = image.shape[-1]
    taps = torch.tensor(SYM6, dtype=image.dtype, device=image.device) / sum(SYM6)
    fine = upfirdn2d(mirror_pad(image, _BORDER), taps, up=2, gain=4.0)
    # With pixel j of the picture at point 2 j, `fine` begins at point -first, and the filter's weight adds `_CENTRE`.
    first = 2 * _BORDER - (len(SYM6) - 1)
    points = (torch.arange(2 * size + len(SYM6) - 2, dtype=torch.float64) - _CENTRE) / 2  # pixels of the result
    found = _sources(movement, points, size)
    far = (found < -_REACH) | (found > size - 1 + _REACH)
    place = 2 * torch.where(far, fold(found, size), found) + _CENTRE + first
    grid = (2 * place / (fine.shape[-1] - 1) - 1).to(fine)  # -1 and 1 are the outermost points
    moved = cast("Tensor", _Reading.apply(fine, grid))
    return upfirdn2d(moved, taps, down=2, flip_filter=True)


def mirror_pad(image: Float[Tensor, "b c h w"], border: int) -> Float[Tensor, "b c h2 w2"]:
    """Return pictures with their mirror images around them; the border may be wider than the picture."""
    rows, columns = (fold(torch.arange(-border, size + border, device=image.device), size) for size in image.shape[-2:])
    return image[:, :, rows][..., columns]


def fold(place: Tensor, size: int) -> Tensor:
    """Return places reflected at the centres of the first and the last pixel until they lie in 0..size-1; size > 1."""
    last = size - 1
    return last - (place.remainder(2 * last) - last).abs()


class _Reading(torch.autograd.Function):
    """Linear reading at given places; its gradient is another of the kind, read backwards.

    torch differentiates `grid_sample` twice only in its newer versions. The places are constants.
    """

    @staticmethod
    def forward(ctx: Any, picture: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = picture.shape
        return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return cast("Tensor", _Spreading.apply(gradients[0], grid, ctx.shape)), None


class _Spreading(torch.autograd.Function):
    """What reading does to gradients: each value is shared out among the four points that it was read from."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        bilinear, border = 0, 1  # torch's numbers of the modes
        spread, _ = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), values.new_zeros(shape), grid, bilinear, border, True, [True, False]
        )
        return spread

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return cast("Tensor", _Reading.apply(gradients[0], grid)), None, None


def _sources(movement: Float[Tensor, "b 3 3"], points: Float[Tensor, " n"], size: int) -> Float[Tensor, "b n n 2"]:
    """Return the (x, y) in pixels that come to lie on a grid of `points` pixels in both directions."""
    centre = (size - 1) / 2
    back = torch.linalg.inv(movement.double())
    y, x = torch.meshgrid(points - centre, points - centre, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    return torch.einsum("bij,yxj->byxi", back[:, :2], grid) + centre


def _scale(draws: Draws, probability: float) -> tuple[Float[Tensor, " b"], Bool[Tensor, " b"]]:
    happens = chance(draws, probability)
    return torch.exp2(draws.normal().double() * SCALE * happens), happens


def _turn(draws: Draws, probability: float) -> tuple[Float[Tensor, "b 3 3"], Bool[Tensor, " b"]]:
    happens = chance(draws, probability)
    angle = (2 * draws.uniform().double() - 1) * math.pi * happens
    return _affine(angle.cos(), -angle.sin(), angle.sin(), angle.cos()), happens


def _affine(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Float[Tensor, "b 3 3"]:
    zero, one = torch.zeros_like(xx), torch.ones_like(xx)
    return torch.stack([xx, xy, zero, yx, yy, zero, zero, zero, one], dim=-1).reshape(-1, 3, 3)


def _shifted(shift: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3 3"]:
    matrix = torch.eye(3, dtype=shift.dtype).repeat(len(shift), 1, 1)
    matrix[:, :2, 2] = shift
    return matrix
