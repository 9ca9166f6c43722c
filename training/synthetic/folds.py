# SPDX-License-Identifier: Apache-2.0
"""Lines and folds that faces get with the years, as depths over places on the mean head (metres, head space).

Each function gives 0 where the skin is smooth and 1 at the bottom of a line.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.synthetic.regions import smoothstep

_EYE_CORNER = np.array([0.0446, -0.0017, 0.0673])  # outer corner of the left eye


def _groove(distance: NDArray, width: float) -> NDArray:
    return np.exp(-((distance / width) ** 2))


def _along(points: list[tuple[float, float]], x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Distance from a polyline, and how far along it the nearest point lies (0..1)."""
    best, place = np.full(x.shape, np.inf), np.zeros(x.shape)
    count = len(points) - 1
    for number, (start, end) in enumerate(pairwise(points)):
        (ax, ay), (bx, by) = start, end
        t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0.0, 1.0)
        distance = np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))
        nearer = distance < best
        best, place = np.where(nearer, distance, best), np.where(nearer, (number + t) / count, place)
    return best, place


def smile_folds(places: NDArray) -> NDArray:
    """From the wings of the nose to beside the corners of the mouth: everybody has a hint of them."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    curve = [(0.0175, -0.0415), (0.0225, -0.0480), (0.0275, -0.0575), (0.0312, -0.0680), (0.0325, -0.0775)]
    distance, along = _along(curve, x, y)
    ends = smoothstep(0.0, 0.15, along) * (1 - smoothstep(0.75, 1.0, along))
    return _groove(distance, 0.0022) * ends * (z > 0.03)


def mouth_corners(places: NDArray) -> NDArray:
    """Down from the corners of the mouth."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    distance, along = _along([(0.0265, -0.0765), (0.0290, -0.0860), (0.0300, -0.0980)], x, y)
    return _groove(distance, 0.0018) * (1 - smoothstep(0.4, 1.0, along)) * (z > 0.03)


def forehead_lines(places: NDArray, wander: NDArray) -> NDArray:
    """Four wavy lines across the forehead; ``wander`` is a smooth random field around 0."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    height = y + 0.0016 * wander - 0.0022 * np.cos(np.minimum(x, 0.05) / 0.014)
    lines = sum(
        strength * _groove(height - level, 0.0009)
        for level, strength in ((0.0325, 0.55), (0.0405, 1.0), (0.0485, 0.9), (0.0565, 0.6))
    )
    broken = smoothstep(-1.6, 0.3, wander)
    return lines * broken * (1 - smoothstep(0.028, 0.046, x)) * smoothstep(0.04, 0.06, z)


def frown_lines(places: NDArray) -> NDArray:
    """Two upright lines between the brows."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    upright = _groove(x - 0.0075 - 0.06 * (y - 0.02), 0.0009)
    return upright * smoothstep(0.008, 0.014, y) * (1 - smoothstep(0.025, 0.033, y)) * (z > 0.06)


def crows_feet(places: NDArray) -> NDArray:
    """Lines that fan out from the outer corners of the eyes."""
    out = np.abs(places[..., 0]) - _EYE_CORNER[0] + 0.8 * (_EYE_CORNER[2] - places[..., 2])
    up = places[..., 1] - _EYE_CORNER[1]
    radius, angle = np.hypot(out + 0.004, up), np.degrees(np.arctan2(up, out + 0.004))
    fan = sum(
        strength * _groove(np.radians(angle - middle) * radius, 0.0008)
        for middle, strength in ((-34.0, 0.7), (-14.0, 1.0), (8.0, 0.9), (30.0, 0.6))
    )
    return fan * smoothstep(0.008, 0.013, radius) * (1 - smoothstep(0.018, 0.028, radius)) * (places[..., 2] > 0)


def eye_bags(places: NDArray) -> NDArray:
    """The furrow from the inner corner of the eye to the cheek, and a finer line below the lower lid."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    trough = [(0.0165, -0.0085), (0.0215, -0.0145), (0.0285, -0.0185), (0.0375, -0.0185)]
    distance, along = _along(trough, x, y)
    deep = _groove(distance, 0.0022) * smoothstep(0.0, 0.1, along) * (1 - smoothstep(0.55, 1.0, along))
    distance, along = _along([(0.0200, -0.0105), (0.0290, -0.0130), (0.0390, -0.0105)], x, y)
    fine = _groove(distance, 0.0009) * smoothstep(0.0, 0.2, along) * (1 - smoothstep(0.8, 1.0, along))
    return np.maximum(deep, 0.55 * fine) * (z > 0.04)
