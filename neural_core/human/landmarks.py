# SPDX-License-Identifier: Apache-2.0
"""Landmarks of the face: MediaPipe's 478 and iBUG's 68, by index, and how they are laid on a mesh.

Iris points are the last ten of MediaPipe's: 468-472 around the subject's right eye, 473-477 around the left one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .model import Embedding, FaceModel

MEDIAPIPE_COUNT = 478

# iBUG order: jaw from the subject's right ear over the chin to the left ear, brows, nose, eyes, outer lips, inner lips.
MEDIAPIPE_OF_68: tuple[int, ...] = (
    *(127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356),
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 6, 195, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)

# Outer and inner corner of each eye, for the distance between the eyes: MediaPipe's indices.
RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (362, 263)


def eye_distance(landmarks: NDArray) -> float:
    """Distance between the middles of the eyes of MediaPipe landmarks [478 or 468, d]."""
    right = landmarks[list(RIGHT_EYE_CORNERS)].mean(0)
    left = landmarks[list(LEFT_EYE_CORNERS)].mean(0)
    return float(np.linalg.norm(left - right))


def first_hits(
    origin: NDArray, directions: NDArray, vertices: NDArray, faces: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where rays from one point first meet a mesh (Moeller and Trumbore 1997).

    Args:
        origin: [3].
        directions: [n, 3], any length.
        vertices: [V, 3].
        faces: [F, 3].

    Returns:
        Triangle [n], -1 where nothing is hit, and barycentric coordinates [n, 3].
    """
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    first, second = b - a, c - a
    offset = origin - a
    across = np.cross(offset, first)
    triangles = np.full(len(directions), -1)
    barycentric = np.zeros((len(directions), 3))
    for ray, direction in enumerate(np.asarray(directions, np.float64)):
        normal = np.cross(direction, second)
        determinant = (first * normal).sum(1)
        inverse = 1 / np.where(np.abs(determinant) < 1e-15, np.inf, determinant)
        v = (offset * normal).sum(1) * inverse
        w = (across @ direction) * inverse
        distance = (second * across).sum(1) * inverse
        hit = (v >= 0) & (w >= 0) & (v + w <= 1) & (distance > 0)
        if hit.any():
            nearest = np.where(hit, distance, np.inf).argmin()
            triangles[ray] = nearest
            barycentric[ray] = 1 - v[nearest] - w[nearest], v[nearest], w[nearest]
    return triangles, barycentric


def embed(model: FaceModel, places: NDArray, candidates: NDArray[np.bool_] | None = None) -> Embedding:
    """The nearest points of the mean head's surface to places [n, 3] on or near it.

    Args:
        model: The face model.
        places: [n, 3] head space, metres.
        candidates: Mask [F] of the triangles that may be used; all by default.
    """
    usable = np.arange(len(model.faces)) if candidates is None else np.flatnonzero(candidates)
    corners = model.v_template[model.faces[usable]].astype(np.float64)
    triangles = np.zeros(len(places), np.int32)
    barycentric = np.zeros((len(places), 3), np.float32)
    for number, place in enumerate(np.asarray(places, np.float64)):
        weights = closest_on_triangles(place, corners)
        points = np.einsum("fc,fcd->fd", weights, corners)
        nearest = ((points - place) ** 2).sum(1).argmin()
        triangles[number], barycentric[number] = usable[nearest], weights[nearest]
    return triangles, barycentric


def ibug_68(embedding_478: Embedding) -> Embedding:
    """The 68 landmarks out of MediaPipe's."""
    triangles, barycentric = embedding_478
    chosen = list(MEDIAPIPE_OF_68)
    return triangles[chosen], barycentric[chosen]


def closest_on_triangles(place: NDArray, corners: NDArray) -> NDArray:
    """Barycentric coordinates [F, 3] of the point of each triangle that is nearest to a place.

    Args:
        place: [3], or [F, 3] for a place of each triangle's own.
        corners: [F, 3, 3] corners of the triangles.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    inside = _plane_coordinates(place, a, b, c)
    best = np.where((inside >= 0).all(1, keepdims=True), inside, np.nan)
    distance = np.where((inside >= 0).all(1), _distance(place, inside, corners), np.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        start, edge = corners[:, first], corners[:, second] - corners[:, first]
        length = np.maximum((edge * edge).sum(1), 1e-18)
        t = np.clip(((place - start) * edge).sum(1) / length, 0, 1)
        weights = np.zeros_like(inside)
        weights[:, first], weights[:, second] = 1 - t, t
        further = _distance(place, weights, corners)
        nearer = further < distance
        best[nearer], distance = weights[nearer], np.where(nearer, further, distance)
    return best


def _plane_coordinates(place: NDArray, a: NDArray, b: NDArray, c: NDArray) -> NDArray:
    first, second, offset = b - a, c - a, place - a
    d11, d12, d22 = (first * first).sum(1), (first * second).sum(1), (second * second).sum(1)
    d1, d2 = (offset * first).sum(1), (offset * second).sum(1)
    determinant = np.maximum(d11 * d22 - d12 * d12, 1e-24)
    v, w = (d22 * d1 - d12 * d2) / determinant, (d11 * d2 - d12 * d1) / determinant
    return np.stack([1 - v - w, v, w], 1)


def _distance(place: NDArray, weights: NDArray, corners: NDArray) -> NDArray:
    return np.linalg.norm(np.einsum("fc,fcd->fd", weights, corners) - place, axis=1)
