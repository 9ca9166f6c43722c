# SPDX-License-Identifier: Apache-2.0
"""A field's density on a grid, fine only where it matters, and how much of the light gets into it.

Head space, metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from .progress import Report, silent

EMPTY = 20.0
"""Density in 1/metre below which nothing is seen: a centimetre of it stops a fifth of the light."""

HALF_DEPTH = math.log(2.0)
"""Optical depth that stops half of the light."""

_POINTS_PER_CHUNK = 1 << 15
_COARSENING = 4


@runtime_checkable
class Samplable(Protocol):
    """What a mesh is made from; every `systems.common.Field` is one."""

    @property
    def box(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the smallest and the largest corner of the region where there is something, metres."""
        ...

    def density(self, points: Tensor, /) -> Tensor:
        """Return [n] densities in 1/metre at [n, 3] points."""
        ...

    def colour(self, points: Tensor, /) -> Tensor:
        """Return [n, 3] sRGB colours in 0..1 at [n, 3] points."""
        ...


@dataclass(frozen=True)
class DensityGrid:
    """Densities at the points of a grid.

    Attributes:
        density: [nx, ny, nz] in 1/metre.
        corner: [3] position of the first point, metres.
        cell: distance of neighbouring points, metres.
    """

    density: NDArray[np.float32]
    corner: NDArray[np.float64]
    cell: float

    def optical_depth(self) -> NDArray[np.float32]:
        """Return how much lies between each point and the outside, on the best of the six ways along the axes.

        Optical depth is density integrated along the way (trapezoid rule); the light that gets through is its
        exponential, negated. What is hidden behind a surface on all sides is deep inside, be it hollow or not.
        """
        best = np.full(self.density.shape, np.inf, np.float32)
        for axis in range(3):
            for flip in (slice(None), slice(None, None, -1)):
                along = np.moveaxis(self.density, axis, 0)[flip]
                depth = np.zeros_like(along)
                np.cumsum((along[1:] + along[:-1]) * (self.cell / 2), axis=0, out=depth[1:])
                np.minimum(best, np.moveaxis(depth[flip], 0, axis), out=best)
        return best


def sample_density(
    field: Samplable, detail: int, device: torch.device | str = "cpu", report: Report = silent
) -> DensityGrid:
    """Sample the density over the field's box, coarse to fine.

    Each pass doubles the resolution, evaluates only points in or next to a coarser cell that the surface crosses (of
    what is not empty, or of what stops half of the light), and interpolates the rest.

    Args:
        field: what to sample.
        detail: grid cells along the box's longest side; rounded up to a multiple of 4.
        device: where the field computes.
        report: told of progress.
    """
    low, high = (np.asarray(corner, np.float64) for corner in field.box)
    cell = float((high - low).max()) / (-(-detail // _COARSENING) * _COARSENING)
    counts = np.maximum(np.ceil((high - low) / (cell * _COARSENING) - 1e-9).astype(int), 1)
    spacing = _COARSENING
    everywhere = np.ones(counts + 1, bool)
    grid = DensityGrid(np.zeros(everywhere.shape, np.float32), low, cell * spacing)
    _fill(grid, everywhere, field, device, report, f"Sampling the volume (1/{_COARSENING})")
    while spacing > 1:
        spacing //= 2
        near = _near_surface(grid)
        grid = DensityGrid(_upsample(grid.density), low, cell * spacing)
        _fill(grid, near, field, device, report, f"Sampling the volume ({_COARSENING // spacing}/{_COARSENING})")
    return grid


def _fill(
    grid: DensityGrid,
    where: NDArray[np.bool_],
    field: Samplable,
    device: torch.device | str,
    report: Report,
    stage: str,
) -> None:
    """Evaluate the field at some points of the grid."""
    points = grid.corner + np.argwhere(where) * grid.cell
    grid.density[where] = evaluate(field.density, points.astype(np.float32), device, stage, report)


def _near_surface(grid: DensityGrid) -> NDArray[np.bool_]:
    """Return which points of the grid twice as fine lie in or next to a cell that a surface crosses."""
    crossed = _crossed(grid.density > EMPTY) | _crossed(grid.optical_depth() > HALF_DEPTH)
    crossed = ndimage.binary_dilation(crossed, np.ones((3, 3, 3)))
    near = np.zeros([2 * n + 1 for n in crossed.shape], bool)
    # A coarse cell i holds the fine points 2i, 2i + 1 and 2i + 2 of each axis.
    for x, y, z in np.ndindex(3, 3, 3):
        part = near[x:, y:, z:][tuple(slice(0, 2 * n, 2) for n in crossed.shape)]
        part |= crossed
    return near


def _crossed(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which cells have corners on both sides."""
    corners = np.lib.stride_tricks.sliding_window_view(inside, (2, 2, 2)).reshape(*(n - 1 for n in inside.shape), 8)
    return corners.any(-1) & ~corners.all(-1)


def _upsample(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the grid at twice the resolution, by linear interpolation."""
    for axis in range(3):
        first = np.moveaxis(density, axis, 0)
        fine = np.empty((2 * len(first) - 1, *first.shape[1:]), np.float32)
        fine[::2] = first
        fine[1::2] = (first[1:] + first[:-1]) / 2
        density = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(density)


def evaluate(
    function: Callable[[Tensor], Tensor],
    points: NDArray[np.float32],
    device: torch.device | str,
    stage: str,
    report: Report,
) -> NDArray[np.float32]:
    """Evaluate a function of points [n, 3] in pieces that are small enough to stop between."""
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(points), _POINTS_PER_CHUNK):
        report(stage, start, len(points))
        with torch.no_grad():
            values = function(torch.from_numpy(points[start : start + _POINTS_PER_CHUNK]).to(device))
        parts.append(values.float().cpu().numpy())
    report(stage, len(points), len(points))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
