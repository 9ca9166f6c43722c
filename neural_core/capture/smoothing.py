# SPDX-License-Identifier: Apache-2.0
"""Filters over time, for frames that need not be equally far apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .align import Crop

Array = NDArray[np.float64]


def smooth(values: Array, times: Array, deviation: float) -> Array:
    """Return values [n, ...] at times [n] filtered by a Gaussian over time, seconds.

    In every window a line is fitted rather than a mean taken: a steady motion stays what it is, also at the ends.
    """
    offset = times[None, :] - times[:, None]
    weight = np.exp(-((offset / deviation) ** 2) / 2)
    s0, s1, s2 = (weight.sum(1), (weight * offset).sum(1), (weight * offset**2).sum(1))
    spread = s0 * s2 - s1**2
    # With one neighbour, or none, there is no line.
    line = spread > 1e-9 * s0 * np.maximum(s2, 1e-12)
    kernel = np.where(
        line[:, None],
        weight * (s2[:, None] - s1[:, None] * offset) / np.where(line, spread, 1.0)[:, None],
        weight / s0[:, None],
    )
    return np.tensordot(kernel, values, axes=1)


def smooth_crops(crops: list[Crop], times: Array, deviation: float) -> list[Crop]:
    """Return crops whose place, size and angle are filtered as `smooth` does."""
    angles = np.unwrap([crop.angle for crop in crops])
    values = np.stack([[*crop.centre, np.log(crop.side)] for crop in crops])
    values = smooth(np.column_stack([values, angles]), times, deviation)
    return [Crop((float(x), float(y)), float(np.exp(side)), float(angle)) for x, y, side, angle in values]
