# SPDX-License-Identifier: Apache-2.0
"""Faces cut out of pictures as others' networks were trained to see them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def sample(
    pictures: Float[Tensor, "n c h w"], to_picture: Float[Tensor, "n 2 3"], size: int, outside: float = 0.0
) -> Float[Tensor, "n c s s"]:
    """Return squares of `size` pixels, read bilinearly and without a filter, as the published croppings do.

    Args:
        pictures: any range.
        to_picture: maps [A | t] from pixels of the square to pixels of the picture; in both (0, 0) is the corner.
        size: pixels of the square's side.
        outside: value beyond the picture.
    """
    height, width = pictures.shape[2:]
    # grid_sample's coordinates are -1..1 from edge to edge, on both sides.
    matrix, offset = to_picture[..., :2], to_picture[..., 2]
    scale = to_picture.new_tensor([2 / width, 2 / height])
    half = to_picture.new_tensor([size / 2, size / 2])
    theta = torch.cat([matrix * (size / 2) * scale[:, None], ((matrix @ half + offset) * scale - 1)[..., None]], dim=2)
    grid = functional.affine_grid(theta, [len(pictures), pictures.shape[1], size, size], align_corners=False)
    return functional.grid_sample(pictures - outside, grid.to(pictures), align_corners=False) + outside


def square(corner: Float[Tensor, "n 2"], side: Float[Tensor, " n"], size: int) -> Float[Tensor, "n 2 3"]:
    """Return the maps for `sample` that take a square of `size` pixels to one of another side at a corner."""
    matrix = (side / size)[:, None, None] * torch.eye(2).to(corner)
    return torch.cat([matrix, corner[..., None]], dim=2)


def boxes(points: Float[Tensor, "n p 2"]) -> Float[Tensor, "n 4"]:
    """Return the extent of points: left, top, right, bottom."""
    return torch.cat([points.amin(1), points.amax(1)], dim=1)
