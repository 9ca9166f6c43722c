# SPDX-License-Identifier: Apache-2.0
"""How far it is to the skin: a coarse grid of signed distances to head and shoulders that keeps hair outside."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, map_coordinates
from scipy.spatial import KDTree

from neural_core.human.surfaces import unit

_LOW = np.array([-0.23, -0.36, -0.20])
_HIGH = np.array([0.23, 0.16, 0.15])
_CELL = 0.008
_FAR = 0.024  # metres: distances are kept up to here
_ENOUGH = 6000  # points of the body: they are then about a cell apart
_BALL = np.ones((3, 3, 3), bool)
_SPINE = np.array([[0.0, 0.03, -0.03], [0.0, -0.14, -0.05], [0.0, -0.30, -0.05], [0.0, -0.45, -0.03]])
_SHOULDERS = np.array([[-0.17, -0.30, -0.05], [0.17, -0.30, -0.05]])


class Skin:
    """Signed distances to oriented points, positive outside."""

    def __init__(self, points: NDArray, normals: NDArray, body: NDArray) -> None:
        """Measure the distances.

        Args:
            points: [n, 3] on the head, close together.
            normals: [n, 3] unit, outwards.
            body: [m, 3] points of neck and shoulders; which side is out is guessed from where the bones are.
        """
        if len(body):
            outside, outwards = _outermost(body[:: 1 + len(body) // _ENOUGH])
            points, normals = np.concatenate([points, outside]), np.concatenate([normals, outwards])
        shape = np.ceil((_HIGH - _LOW) / _CELL).astype(int) + 1
        cells = np.rint((points - _LOW) / _CELL).astype(int)
        cells = cells[((cells >= 0) & (cells < shape)).all(1)]
        near = np.zeros(shape, bool)
        near[tuple(cells.T)] = True
        near = np.asarray(binary_dilation(near, _BALL, iterations=int(np.ceil(_FAR / _CELL))))
        centres = _LOW + _CELL * np.argwhere(near)
        distance, nearest = KDTree(points).query(centres, k=3)
        weights = 1 / (distance + 1e-3) ** 2
        heights = ((centres[:, None] - points[nearest]) * normals[nearest]).sum(-1)
        field = np.full(shape, _FAR)
        field[near] = np.clip((weights * heights).sum(1) / weights.sum(1), -_FAR, _FAR)
        grid = np.moveaxis(np.asarray(np.indices(tuple(shape.tolist()))), 0, -1) * _CELL + _LOW
        deep = (((grid - [0.0, 0.01, -0.01]) / [0.055, 0.085, 0.075]) ** 2).sum(-1) < 1
        field[np.logical_and(deep, np.logical_not(near))] = -_FAR
        self._fields = np.stack([field, *np.gradient(field, _CELL)]).astype(np.float32)

    def at(self, points: NDArray) -> tuple[NDArray, NDArray]:
        """Distances [...], metres, clipped to 24 mm, and unit directions [..., 3] away from the skin."""
        place = ((points.reshape(-1, 3) - _LOW) / _CELL).T
        values = [map_coordinates(field, place, order=1, mode="nearest", output=np.float32) for field in self._fields]
        distance = values[0].reshape(points.shape[:-1]).astype(float)
        return distance, unit(np.stack(values[1:], -1).reshape(points.shape).astype(float))

    def push_out(self, points: NDArray, clearance: NDArray | float) -> NDArray:
        """Points [..., 3] moved away from the skin until they are ``clearance`` metres off."""
        distance, away = self.at(points)
        return points + away * np.maximum(clearance - distance, 0.0)[..., None]


def _outermost(body: NDArray) -> tuple[NDArray, NDArray]:
    """The points of the body [m, 3] that nothing covers (skin under clothes is covered), and their normals.

    A normal is across the plane through the point's neighbours, away from the bones.
    """
    nearest = KDTree(body).query(body, k=min(12, len(body)))[1]
    near = body[nearest]
    spread = near - near.mean(1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("mki,mkj->mij", spread, spread))[1][:, :, 0]
    bones = [*pairwise(_SPINE), (_SHOULDERS[0], _SHOULDERS[1])]
    offsets = body - np.stack([_on_segment(body, start, end) for start, end in bones])
    closest = np.linalg.norm(offsets, axis=-1).argmin(0)
    away = offsets[closest, np.arange(len(body))]
    normals = normals * np.where((normals * away).sum(1, keepdims=True) < 0, -1.0, 1.0)
    above = near - body[:, None]
    height = (above * normals[:, None]).sum(-1)
    aside = np.sqrt(np.maximum((above**2).sum(-1) - height**2, 0))
    covered = ((aside < 0.012) & (height > 0.0025)).any(1)
    return body[~covered], normals[~covered]


def _on_segment(points: NDArray, start: NDArray, end: NDArray) -> NDArray:
    along = end - start
    t = np.clip((points - start) @ along / (along @ along), 0.0, 1.0)
    return start + t[:, None] * along
