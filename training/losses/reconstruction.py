# SPDX-License-Identifier: Apache-2.0
"""Losses against pictures whose every pixel is known: colour, edges, texture, coverage, depth, solid inside."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def l1(value: Tensor, truth: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Mean absolute difference, each number times a weight that broadcasts to it."""
    return ((value - truth).abs() * weight).mean()


def edge_l1(
    picture: Float[Tensor, "n c h w"], truth: Float[Tensor, "n c h w"], weight: Float[Tensor, "n 1 h w"]
) -> Tensor:
    """Mean absolute difference of the finite differences between neighbouring pixels; it rewards sharp features."""
    error = picture - truth
    across = (error.diff(dim=3).abs() * weight[..., 1:]).mean()
    return across + (error.diff(dim=2).abs() * weight[..., 1:, :]).mean()


def texture_distance(
    picture: Float[Tensor, "n c h w"],
    truth: Float[Tensor, "n c h w"],
    filters: Float[Tensor, "k c s s"],
    where: Float[Tensor, "n 1 h w"],
) -> Float[Tensor, ""]:
    """Return how differently two pictures are textured, wherever in them each hair lies.

    The sliced Wasserstein distance of Heitz et al. 2021 (section 3) between small neighbourhoods: each filter's
    responses all over a picture are sorted, and compared rank by rank. A blur of strands that cannot be foretold one by
    one is the best answer to `l1`; here it costs, and strands elsewhere do not.

    Args:
        picture: judged.
        truth: what it should be like.
        filters: the slices, at random.
        where: 1 where texture counts, 0 elsewhere. A response counts as the least of the pixels that it sees.
    """
    inside = -F.max_pool2d(-where, filters.shape[-1], stride=1)
    responses = (F.conv2d(images, filters) * inside for images in (picture, truth))
    ours, theirs = (response.flatten(2).sort(dim=2).values for response in responses)
    return (ours - theirs).abs().mean()


def texture_filters(count: int, channels: int, size: int, generator: torch.Generator) -> Float[Tensor, "k c s s"]:
    """Return random filters of length 1 that flat colour does not answer."""
    filters = torch.randn(count, channels, size, size, generator=generator)
    filters -= filters.mean(dim=(2, 3), keepdim=True)
    return filters / filters.flatten(1).norm(dim=1)[:, None, None, None]


def depth_l1(depth: Float[Tensor, "n r"], truth: Float[Tensor, "n r"], alpha: Float[Tensor, "n r"]) -> Tensor:
    """Mean absolute depth difference where the person covers the pixel fully (hair's fringe has no one depth)."""
    solid = ((alpha > 0.95) & (truth > 0)).to(depth.dtype)
    return ((depth - truth).abs() * solid).sum() / solid.sum().clamp(min=1)


OPAQUE = 60.0
"""Density, per model unit, from which on the head's inside counts as solid: half is absorbed within 6 mm."""


def hollow(density: Float[Tensor, "*n"], where: Float[Tensor, "*n"] | None = None) -> Tensor:
    """Penalty, 0..1, for density under `OPAQUE` at points inside the head.

    Rays say nothing of what lies behind the surface; a thin shell would be missed by coarse samples and give a mesh
    with an inner wall.

    Args:
        density: per model unit.
        where: 1 at the points that count, 0 elsewhere; None counts all.
    """
    lack = (1 - density / OPAQUE).clamp(min=0)
    return lack.mean() if where is None else _mean_where(lack, where)


def line_of_sight(
    density: Float[Tensor, "n r s"],
    distances: Float[Tensor, "n r s"],
    depth: Float[Tensor, "n r"],
    alpha: Float[Tensor, "n r"],
    margin: float,
) -> Tensor:
    """Penalty, 0..2, for density before the known surface, and for lack of it just behind.

    The idea of Urban Radiance Fields (Rematas et al. 2022, section 3.3): a ray with a known end has nothing on its way
    and something there. Pixels at the edge of the person and in fringes of hair have no one depth; they are left out.

    Args:
        density: of the samples, per model unit.
        distances: of the samples along their rays, model units.
        depth: of the surface; 0 where nothing was hit.
        alpha: coverage, 0..1.
        margin: half the thickness of the surface, model units. It is empty up to `depth - margin`, solid from `depth`
            to `depth + 2 margin`.
    """
    hit, empty = (alpha > 0.95) & (depth > 0), alpha < 0.02
    before = distances < (depth - margin)[..., None]
    free = empty[..., None] | (hit[..., None] & before)
    behind = hit[..., None] & (distances > depth[..., None]) & (distances < (depth + 2 * margin)[..., None])
    fog = 1 - (-density * margin).exp()
    return _mean_where(fog, free.to(density.dtype)) + hollow(density, behind.to(density.dtype))


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)
