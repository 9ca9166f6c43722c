# SPDX-License-Identifier: Apache-2.0
"""Do two views show the same surface? The Chamfer distance of their depth maps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .views import Views

SIZE = 64
"""Points along each side of the maps that are compared (PV3D, appendix A.4)."""


def depth_chamfer(first: Views, second: Views, unit: float, size: int = SIZE) -> Float[Tensor, " n"]:
    """Return the Chamfer distance between the points that two views see of each of n people; 0 is best.

    CD of PV3D (Xu et al. 2023, appendix A.4, eq. 6, after StyleSDF, Or-El et al. 2022):

        CD(P, Q) = med_{x in P} min_{y in Q} |x - y|^2 + med_{y in Q} min_{x in P} |x - y|^2,

    P and Q the points where rays of opacity 0.5 or more end, lengths in `unit`. Published: cameras at yaw 0 and 30
    degrees (for a film also two instants), the average over all pairs of 1000 people.

    Args:
        first: n views; the pictures are not looked at.
        second: n views of the same people.
        unit: the length that counts as 1, in the views' unit: the distance of neighbouring coarse samples along a ray,
            (far - near) / samples. For EG3D's faces that is 1.05 / 48 in model space.
        size: the maps of points are resampled to size x size first.

    Returns:
        nan for a person of whom either view shows nothing.

    Note:
        The paper does not say how points are interpolated to 64 x 64: here bilinearly, without mixing points with
        holes. A median even of perfect surfaces is not 0: it falls with the square of the distance between points.
    """
    clouds = zip(*first.surface(size), *second.surface(size), strict=True)
    return torch.stack([_chamfer(a[solid_a] / unit, b[solid_b] / unit) for a, solid_a, b, solid_b in clouds])


def _chamfer(a: Float[Tensor, "p 3"], b: Float[Tensor, "q 3"]) -> Float[Tensor, ""]:
    if not len(a) or not len(b):
        return a.new_tensor(torch.nan)
    # Differences rather than products: points lie much closer to each other than to the origin.
    squared = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
    return _median(squared.amin(1)) + _median(squared.amin(0))


def _median(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The median; of an even number of values the mean of the middle two, which torch's median is not."""
    return values.quantile(0.5)
