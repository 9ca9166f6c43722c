# SPDX-License-Identifier: Apache-2.0
"""The neck and shoulders under the head model, which ends in a slanted cut below the jaw, and a collar round them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neural_core.human.bust import neck_loop
from neural_core.human.model import FaceModel

__all__ = ["Bust", "build_bust", "neck_loop"]

_RINGS = 18
_NECK_RINGS = 8  # of these lie on the neck
_COLLAR_FROM = 4  # ring at which the clothes begin
_CLOTH = 0.0045  # metres between skin and cloth


@dataclass(frozen=True)
class Bust:
    """Rings of vertices under the cut of the neck.

    Attributes:
        skin: [r n, 3] vertices of the rings under the cut; faces index ``loop`` first (0..n-1), then these.
        skin_faces: [m, 4].
        cloth: [k, 3] vertices of the collar and shirt, and their own ``cloth_faces`` [q, 4].
    """

    skin: NDArray[np.float64]
    skin_faces: NDArray[np.int32]
    cloth: NDArray[np.float64]
    cloth_faces: NDArray[np.int32]


def build_bust(loop: NDArray[np.float64]) -> Bust:
    """Neck and shoulders for the cut of one person's neck [n, 3]."""
    count = len(loop)
    centre = loop.mean(0)
    angles = np.linspace(-np.pi, np.pi, count, endpoint=False)
    front = np.cos(angles)  # 1 in front, -1 at the back
    width = np.abs(loop[:, 0]).max()
    base_centre = np.array([0.0, 0.0, centre[2] - 0.012])
    neck_base = np.stack(
        [width * 1.10 * np.sin(angles), -0.170 - 0.022 * front, base_centre[2] + width * 1.08 * np.cos(angles)], 1
    )
    shoulders = np.stack(
        [0.215 * np.sin(angles), np.full(count, -0.262), base_centre[2] - 0.005 + 0.105 * np.cos(angles)], 1
    )
    rings = [loop]
    for ring in range(1, _RINGS + 1):
        if ring <= _NECK_RINGS:
            t = ring / _NECK_RINGS
            eased = t * t * (3 - 2 * t)
            point = loop + (neck_base - loop) * np.array([eased, t, eased])
        else:
            t = (ring - _NECK_RINGS) / (_RINGS - _NECK_RINGS)
            outwards = t**0.8
            point = neck_base + (shoulders - neck_base) * np.array([outwards, t**1.35, outwards])[None]
        rings.append(point)
    stack = np.stack(rings)
    cloth = _offset(stack[_COLLAR_FROM:], _CLOTH)
    rim = stack[_COLLAR_FROM : _COLLAR_FROM + 1] * 0.999  # closes the gap between collar and neck
    edge = (cloth[:1] + rim) / 2 + np.array([0.0, 0.0025, 0.0])
    cloth = np.concatenate([rim, edge, cloth])
    return Bust(
        skin=stack[1:].reshape(-1, 3),
        skin_faces=_quads(len(stack), count),
        cloth=cloth.reshape(-1, 3),
        cloth_faces=_quads(len(cloth), count),
    )


def _quads(rings: int, count: int) -> NDArray[np.int32]:
    """Faces between rings of ``count`` vertices, counter-clockwise seen from outside."""
    ring, place = np.meshgrid(np.arange(rings - 1), np.arange(count), indexing="ij")
    after = (place + 1) % count
    corners = [ring * count + place, (ring + 1) * count + place, (ring + 1) * count + after, ring * count + after]
    return np.stack(corners, -1).reshape(-1, 4).astype(np.int32)


def _offset(rings: NDArray, distance: float) -> NDArray:
    """Rings [r, n, 3] moved outwards along their normals."""
    around = np.roll(rings, -1, 1) - np.roll(rings, 1, 1)
    down = np.gradient(rings, axis=0)
    normals = np.cross(down, around)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-12
    return rings + distance * normals
