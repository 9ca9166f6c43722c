# SPDX-License-Identifier: Apache-2.0
"""From densities and colours along a ray to one colour, depth and opacity (NeRF, Mildenhall et al. 2020, eq. 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Composite(NamedTuple):
    """What a ray sees.

    Attributes:
        colour: weighted sum of the colours.
        depth: mean distance of what is seen, in the unit of the distances; nan where the opacity is 0.
        opacity: sum of the weights, 0..1.
    """

    colour: Float[Tensor, "*rays c"]
    depth: Float[Tensor, "*rays"]
    opacity: Float[Tensor, "*rays"]


def alpha_weights(alpha: Float[Tensor, "*rays s"]) -> Float[Tensor, "*rays s"]:
    """Return each interval's share in the colour: its alpha times the transmittance before it.

    Note:
        EG3D's 1e-10 keeps the product above zero behind an opaque interval, which its gradient needs.
    """
    transmittance = (1 - alpha + 1e-10).cumprod(-1)
    return alpha * F.pad(transmittance[..., :-1], (1, 0), value=1.0)


def composite(
    density: Float[Tensor, "*rays s"], colour: Float[Tensor, "*rays s c"], edges: Float[Tensor, "*rays s_1"]
) -> Composite:
    """Composite piecewise constant densities and colours.

    Args:
        density: sigma >= 0 of each interval, in 1 / unit of length.
        colour: any features of each interval.
        edges: increasing distances along the ray, s + 1 of them.

    Differentiable in density and colour; depth and weights also in the edges.
    """
    weights = alpha_weights(1 - torch.exp(-density * edges.diff(dim=-1)))
    middles = (edges[..., :-1] + edges[..., 1:]) / 2
    opacity = weights.sum(-1)
    return Composite((weights[..., None, :] @ colour)[..., 0, :], _mean_distance(weights, middles, opacity), opacity)


def midpoint_weights(
    raw_density: Float[Tensor, "*rays s"], distances: Float[Tensor, "*rays s"]
) -> Float[Tensor, "*rays s_1"]:
    """Return EG3D's weights of the intervals between neighbouring samples.

    Args:
        raw_density: before its activation; the density of an interval is softplus(mean of its two ends - 1).
        distances: of the samples, increasing.

    Note:
        Nothing lies behind the last sample: there is no infinite last interval as NeRF has it.
    """
    middle = (raw_density[..., :-1] + raw_density[..., 1:]) / 2
    return alpha_weights(1 - torch.exp(-activate_density(middle) * distances.diff(dim=-1)))


def activate_density(raw_density: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the density, >= 0, in 1 / unit of length (EG3D: softplus with a shift towards empty space)."""
    return F.softplus(raw_density - 1)


def composite_midpoints(
    raw_density: Float[Tensor, "*rays s"],
    colour: Float[Tensor, "*rays s c"],
    distances: Float[Tensor, "*rays s"],
    order: torch.Tensor | None = None,
) -> Composite:
    """Composite samples as EG3D does: density, colour and depth of an interval are means of its two ends.

    Args:
        raw_density: before its activation, sorted by distance.
        colour: any features; sorted unless `order` is given.
        distances: increasing.
        order: `order[k]` is the index in `colour` of the sample that comes k-th. Colours are the large array here;
            with the order they need not be moved, since the weights are brought to their place instead.
    """
    weights = midpoint_weights(raw_density, distances)
    middles = (distances[..., :-1] + distances[..., 1:]) / 2
    opacity = weights.sum(-1)
    # sum_i w_i (c_i + c_i+1) / 2 = sum_i c_i (w_i + w_i-1) / 2: no array of mean colours is made
    shares = (F.pad(weights, (0, 1)) + F.pad(weights, (1, 0))) / 2
    if order is not None:
        shares = torch.zeros_like(shares).scatter(-1, order, shares)
    summed = (shares[..., None, :].to(colour.dtype) @ colour)[..., 0, :]
    return Composite(summed, _mean_distance(weights, middles, opacity), opacity)


def _mean_distance(
    weights: Float[Tensor, "*rays s"], middles: Float[Tensor, "*rays s"], opacity: Float[Tensor, "*rays"]
) -> Float[Tensor, "*rays"]:
    """Return the weighted mean, nan (with a gradient of zero, not nan) where there is no weight."""
    seen = opacity > 0
    mean = (weights * middles).sum(-1) / torch.where(seen, opacity, 1.0)
    return torch.where(seen, mean, torch.nan)
