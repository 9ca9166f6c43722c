# SPDX-License-Identifier: Apache-2.0
"""Does a point look the same from two sides? The error of a picture warped to another view."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .views import Views

SIZE = 256
"""Pixels along each side of the pictures, and points of the maps, that are compared (PV3D, appendix A.4)."""
LEVELS = 255
"""The error is counted in levels of 8-bit pictures, as the published figures are."""


def warping_error(front: Views, side: Views, size: int = SIZE) -> Float[Tensor, " n"]:
    """Return how much the points seen from the side differ in colour from the front; 0 is best, 255 worst.

    WE of PV3D (Xu et al. 2023, appendix A.4, eq. 7 and 8): each pixel x of the side view is lifted to its point by its
    depth, and falls on x' of the front view. The error of a person is

        WE = 1/L sum |I_front(x') - I_side(x)|

    over the L points that fall inside the front picture. Published: yaw 0 and 30 degrees, the average of 1000 people
    (9.76 for PV3D on VoxCeleb, 10.57 for EG3D).

    Args:
        front: n views; their depth is not looked at.
        side: n views of the same people.
        size: pictures and maps of points are resampled to size x size first.

    Returns:
        nan for a person of whom no point falls into the front picture.

    Note:
        What the paper leaves open, and what is done: |.| is the mean over the channels; rays that end nowhere have no
        point and do not count (as in its CD); the front picture is read bilinearly at x' rather than the side picture
        written there; what the nose hides in the front view counts ("visible" is explained by the field of view), so
        the error of a perfect person is not quite 0; the range of values is not given: the published figures only
        make sense for 0..255.
    """
    points, solid = side.surface(size)
    places = front.camera.project(points.flatten(1, 2)).unflatten(1, (size, size))
    counted = solid & (places >= 0).all(-1) & (places <= 1).all(-1)
    seen = _read(_resized(front.picture, size), places)
    error = (seen - _resized(side.picture, size)).abs().mean(1)
    total = torch.where(counted, error, 0.0).sum((1, 2))
    return LEVELS * total / counted.sum((1, 2))  # 0 / 0 is nan


def _resized(picture: Float[Tensor, "n 3 h w"], size: int) -> Float[Tensor, "n 3 s s"]:
    if picture.shape[-2:] == (size, size):
        return picture
    return F.interpolate(picture, (size, size), mode="bilinear", antialias=True)


def _read(values: Float[Tensor, "n c h w"], places: Float[Tensor, "n s s 2"]) -> Float[Tensor, "n c s s"]:
    """Values at places (u, v) in 0..1; the half pixel at the edges is continued outwards."""
    return F.grid_sample(values, 2 * places - 1, mode="bilinear", padding_mode="border", align_corners=False)
