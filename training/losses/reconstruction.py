# SPDX-License-Identifier: Apache-2.0
"""Losses against pictures whose every pixel is known: colour, edges, coverage, depth, solid inside."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def l1(value: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (value - truth).abs().mean()


def edge_l1(
    colour: Float[Tensor, "n r 3"], truth: Float[Tensor, "n r 3"], side: int
) -> Tensor:
    """Mean absolute difference of the finite differences inside square patches; it rewards sharp features.

    Args:
        colour: rays ordered patch by patch, row by row (`training.data.ray_batches`).
        truth: likewise.
        side: pixels along a patch's edge.
    """
    error = (colour - truth).unflatten(1, (-1, side, side))
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def depth_l1(
    depth: Float[Tensor, "n r"], truth: Float[Tensor, "n r"], alpha: Float[Tensor, "n r"]
) -> Tensor:
    """Mean absolute depth difference where the person covers the pixel fully (hair's fringe has no one depth)."""
    solid = ((alpha > 0.95) & (truth > 0)).to(depth.dtype)
    return ((depth - truth).abs() * solid).sum() / solid.sum().clamp(min=1)


def hollow(density: Float[Tensor, "n k"], opaque: float = 60.0) -> Tensor:
    """Penalty for density under `opaque` (per model unit) at points inside the head, 0..1.

    Rays say nothing of what lies behind the surface; a thin shell would be missed by coarse samples and give a mesh
    with an inner wall.
    """
    return (1 - density / opaque).clamp(min=0).mean()
