# SPDX-License-Identifier: Apache-2.0
"""Where strands grow: places on the face model's skin that are the same for all people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neural_core.human.model import FaceModel
from neural_core.human.surfaces import unit


@dataclass(frozen=True)
class Roots:
    """Places on the skin: a triangle and barycentric coordinates, with the same place on the mean head."""

    corners: NDArray[np.int32]
    """[n, 3] vertex indices."""
    barycentric: NDArray[np.float64]
    """[n, 3]."""
    places: NDArray[np.float64]
    """[n, 3] on the mean head, metres."""

    def __len__(self) -> int:
        return len(self.corners)

    def on(self, vertices: NDArray, normals: NDArray) -> tuple[NDArray, NDArray]:
        """Points and unit normals [n, 3] on a person's head, given vertices and vertex normals [V, 3]."""
        points = np.einsum("nc,ncd->nd", self.barycentric, vertices[self.corners])
        directions = np.einsum("nc,ncd->nd", self.barycentric, normals[self.corners])
        return points, unit(directions)


def sample_roots(
    model: FaceModel, density: Callable[[NDArray], NDArray], count: int, rng: np.random.Generator
) -> Roots:
    """Random places on the skin, as dense as ``density`` (of places [n, 3] on the mean head, 0..1) says."""
    faces = model.faces[model.parts["skin"]]
    corners = model.v_template[faces].astype(float)
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    possible = density(corners.reshape(-1, 3)).reshape(-1, 3).max(1) > 0
    near = np.flatnonzero(possible | (density(corners.mean(1)) > 0))
    weights = areas[near] / areas[near].sum()
    found: list[tuple[NDArray, NDArray]] = []
    total = 0
    while total < count:
        chosen = rng.choice(near, 4 * count, p=weights)
        r1, r2 = np.sqrt(rng.random(4 * count)), rng.random(4 * count)
        barycentric = np.stack([1 - r1, r1 * (1 - r2), r1 * r2], 1)
        places = np.einsum("nc,ncd->nd", barycentric, corners[chosen])
        keep = rng.random(4 * count) < density(places)
        found.append((chosen[keep], barycentric[keep]))
        total += int(keep.sum())
    chosen, barycentric = (np.concatenate(part)[:count] for part in zip(*found, strict=True))
    places = np.einsum("nc,ncd->nd", barycentric, corners[chosen])
    return Roots(faces[chosen].astype(np.int32), barycentric, places)


def tangent(vectors: NDArray, normals: NDArray) -> NDArray:
    """Unit parts of vectors [n, 3] along surfaces with these unit normals."""
    return unit(vectors - (vectors * normals).sum(-1, keepdims=True) * normals)
