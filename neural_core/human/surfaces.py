# SPDX-License-Identifier: Apache-2.0
"""Normals of meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Outward unit normals [V, 3], each the area-weighted mean of its triangles' normals; zero where no face is.

    Args:
        vertices: [V, 3].
        faces: [F, 3] counter-clockwise seen from outside.
    """
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    return unit(normals)


def unit(vectors: NDArray) -> NDArray[np.float64]:
    """Vectors [..., d] of length 1; those of length 0 stay as they are."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
