# SPDX-License-Identifier: Apache-2.0
"""Depth pictures as surfaces, for fitting: float64 on the processor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cameras import Camera

Array = NDArray[np.float64]

_OPAQUE = 0.5
_GRAZING = 0.2  # smallest cosine between a ray and the normal of a surface whose depth can be trusted


class Pinhole(NamedTuple):
    """One camera as float64 arrays."""

    rotation: Array  # camera to world
    position: Array
    focal: Array  # [2] in picture widths and heights
    centre: Array

    @classmethod
    def of(cls, camera: Camera) -> Pinhole:
        """Return the first camera of a batch."""
        matrix = camera.cam2world[0].double().cpu().numpy()
        inner = camera.intrinsics[0].double().cpu().numpy()
        return cls(matrix[:3, :3], matrix[:3, 3], inner[[0, 1], [0, 1]], inner[:2, 2])

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return picture coordinates [n, 2] in 0..1 and their derivatives [n, 2, 3] in world coordinates."""
        x, y, z = ((points - self.position) @ self.rotation).T
        zero = np.zeros_like(x)
        inverse = np.stack([np.stack([1 / z, zero, -x / z**2], 1), np.stack([zero, 1 / z, -y / z**2], 1)], 1)
        image = np.stack([x / z, y / z], 1) * self.focal + self.centre
        return image, inverse @ self.rotation.T * self.focal[:, None]

    def rays(self, height: int, width: int) -> Array:
        """Return unit directions [h, w, 3] through the centres of the pixels."""
        y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
        local = np.concatenate([(np.stack([x, y], -1) - self.centre) / self.focal, np.ones((height, width, 1))], -1)
        return local / np.linalg.norm(local, axis=-1, keepdims=True) @ self.rotation.T


class Surface(NamedTuple):
    """A depth picture as points in head space."""

    points: Array  # [h, w, 3]
    normals: Array  # [h, w, 3], towards the camera
    valid: NDArray[np.bool_]  # [h, w]


def surface_of(camera: Pinhole, depth: Array, opacity: Array) -> Surface:
    """Return the surface that a depth picture [h, w] (metres along the ray) shows where it is at least half opaque."""
    height, width = depth.shape
    points = camera.position + camera.rays(height, width) * depth[..., None]
    along = np.gradient(points, axis=(0, 1))
    normals = np.cross(along[0], along[1])
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = normals / np.maximum(length, 1e-12)
    away = (normals * (camera.position - points)).sum(-1, keepdims=True) < 0
    normals = np.where(away, -normals, normals)
    opaque = opacity > _OPAQUE
    # A normal needs its four neighbours, and a silhouette is no surface.
    inner = np.zeros_like(opaque)
    inner[1:-1, 1:-1] = opaque[1:-1, 1:-1] & opaque[:-2, 1:-1] & opaque[2:, 1:-1] & opaque[1:-1, :-2] & opaque[1:-1, 2:]
    grazing = np.abs((normals * camera.rays(height, width)).sum(-1)) < _GRAZING
    return Surface(points, normals, inner & ~grazing)
