# SPDX-License-Identifier: Apache-2.0
"""Small square patches of rays from the pictures of a few people, with what was seen along each ray."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from .portraits import Portraits


@dataclass(frozen=True)
class RayBatch:
    """Rays of p people, v views of each, k patches a view of s x s neighbouring pixels: r = k s s rays a view."""

    people: Int[Tensor, " p"]
    """Indices into the data set."""
    cameras: Float[Tensor, "pv 25"]
    """Camera label of each view."""
    pixels: Float[Tensor, "pv r 2"]
    """Pixel centres (u, v) in picture widths, patch by patch, row by row."""
    colour: Float[Tensor, "pv r 3"]
    """sRGB in 0..1, multiplied by alpha."""
    alpha: Float[Tensor, "pv r"]
    """Coverage in 0..1."""
    depth: Float[Tensor, "pv r"]
    """Distance along the ray, model units; 0 where nothing was hit."""


@dataclass(frozen=True)
class PatchChoice:
    """How many rays a step sees, and where."""

    people: int = 4
    """People a step."""
    views: int = 2
    """Views of each."""
    patches: int = 16
    """Patches a view."""
    side: int = 8
    """Pixels along a patch's edge."""
    background: float = 0.08
    """Weight of empty regions when patches are placed; a region that the person fills has weight 1."""


def draw_rays(data: Portraits, choice: PatchChoice, generator: torch.Generator) -> RayBatch:
    """Choose people, views and patches at random; patches lie mostly on the person.

    The random numbers come from `generator` alone.
    """
    people = torch.randperm(data.people, generator=generator)[: choice.people]
    views = torch.stack([torch.randperm(data.cameras.shape[1], generator=generator)[: choice.views] for _ in people])
    owner = people.repeat_interleave(choice.views)
    view = views.flatten()
    rgba = data.rgba[owner, view].float() / 255
    depth = data.depth[owner, view].float()
    rows, columns = _patch_pixels(rgba[:, 3], choice, generator)
    picture = torch.arange(len(owner))[:, None]
    alpha = rgba[picture, 3, rows, columns]
    colour = rgba.movedim(1, -1)[picture, rows, columns, :3] * alpha[..., None]
    pixels = (torch.stack([columns, rows], dim=-1) + 0.5) / data.size
    return RayBatch(people, data.cameras[owner, view], pixels, colour, alpha, depth[picture, rows, columns])


def _patch_pixels(
    alpha: Float[Tensor, "n h w"], choice: PatchChoice, generator: torch.Generator
) -> tuple[Int[Tensor, "n r"], Int[Tensor, "n r"]]:
    """Return rows and columns of the chosen patches' pixels; a patch's cell is drawn by how much of it is covered."""
    side, size = choice.side, alpha.shape[-1]
    weight = F.avg_pool2d(alpha[:, None], side).flatten(1) + choice.background
    cells = torch.multinomial(weight, choice.patches, replacement=True, generator=generator)
    across = size // side
    jitter = torch.randint(-(side // 2), side // 2 + 1, (2, *cells.shape), generator=generator)
    top = (torch.div(cells, across, rounding_mode="floor") * side + jitter[0]).clamp(0, size - side)
    left = (cells % across * side + jitter[1]).clamp(0, size - side)
    step = torch.arange(side)
    rows = (top[:, :, None, None] + step[:, None]).expand(-1, -1, side, side)
    columns = (left[:, :, None, None] + step).expand(-1, -1, side, side)
    return rows.flatten(1), columns.flatten(1)
