# SPDX-License-Identifier: Apache-2.0
"""Which place of one face model is which of another: the mean head of the one, laid onto that of the other.

Two mean heads differ as two people do, so the first model's identity coefficients bring them together: a maximum a
posteriori fit of these, of size, turn and place, to the distances between the surfaces. Features (lips, lids, nose)
then lie on each other because they do on people, without anyone naming vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .landmarks import closest_on_triangles, embed
from .lbs import rotation_matrices
from .model import Embedding, FaceModel
from .robust import shrinking, tukey
from .surfaces import unit, vertex_normals

Array = NDArray[np.float64]

_STEPS_PLACE, _STEPS_ALL = 10, 30
# Greatest distance at which places of two surfaces can be the same, at first and at the end, metres; and the smallest
# cosine between their normals.
_GATE_FIRST, _GATE_LAST = 0.03, 0.006
_SAME_SIDE = 0.5
# Standard deviations, metres: of a surface, which neighbours repeat; of sliding along it; of a joint or landmark.
_SURFACE, _SLIDE, _POINT = 0.006, 0.01, 0.003
_TURN, _SIZE, _PLACE = 0.1, 0.1, 0.03  # radians; share; metres
_CANDIDATES = 16  # triangles around a place, by their centres, among which the nearest surface point is searched
_EYES = ("left_eye", "right_eye")


@dataclass(frozen=True)
class Registration:
    """One face model's mesh where another's mean head is.

    Attributes:
        vertices: [V, 3] of the first model's mesh, in the second model's head space.
        linear: [3, 3] what carries the first model's displacements there: size times rotation.
        distance: Median distance between the surfaces where they meet, metres.
    """

    vertices: Array
    linear: Array
    distance: float


class SurfacePoints(NamedTuple):
    """Points of a surface that belong to other places."""

    triangles: NDArray[np.integer]
    """[n] rows of the surface's faces."""
    barycentric: Array
    """[n, 3] where in them."""
    distance: Array
    """[n] metres; infinite where no triangle near it looks the same way."""


def register(source: FaceModel, target: FaceModel) -> Registration:
    """Lay the source's mesh onto the target's mean head. Deterministic; about a second.

    Joints of the eyes and the 68 landmarks are matched where both models have them.

    Raises:
        ValueError: The heads do not lie on each other: one is not in head space.
    """
    problem = _Problem(source, target)
    estimate = np.zeros(source.shapedirs.shape[2] + 7)
    for step in range(_STEPS_PLACE):
        estimate = problem.improve(estimate, shrinking(step / (_STEPS_PLACE - 1), _GATE_FIRST, 0.02), free_shape=False)
    for step in range(_STEPS_ALL):
        estimate = problem.improve(estimate, shrinking(step / (_STEPS_ALL - 1), 0.02, _GATE_LAST), free_shape=True)
    return problem.result(estimate)


def transferred_landmarks(source: FaceModel, target: FaceModel, registration: Registration) -> Embedding:
    """Return where the source's 68 landmarks lie on the target's mesh. Raises ValueError if the source has none."""
    return embed(target, source.landmarks(registration.vertices, "68"))


def surface_points(
    places: NDArray, place_normals: NDArray, vertices: NDArray, faces: NDArray[np.integer]
) -> SurfacePoints:
    """The nearest points of a mesh that look the same way as the places do.

    Args:
        places: [n, 3].
        place_normals: [n, 3] unit.
        vertices: [V, 3] of the mesh, in the same space.
        faces: [F, 3], counter-clockwise seen from outside.
    """
    from scipy.spatial import KDTree

    corners = np.asarray(vertices, np.float64)[faces]
    normals = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    count = min(_CANDIDATES, len(faces))
    _, near = KDTree(corners.mean(1)).query(places, count)
    near = near.reshape(len(places), count)
    repeated = np.repeat(np.asarray(places, np.float64), count, axis=0)
    weights = closest_on_triangles(repeated, corners[near.reshape(-1)]).reshape(*near.shape, 3)
    points = np.einsum("nkc,nkcd->nkd", weights, corners[near])
    distances = np.linalg.norm(points - np.asarray(places)[:, None], axis=2)
    distances[np.einsum("nkd,nd->nk", normals[near], place_normals) < _SAME_SIDE] = np.inf
    best = distances.argmin(1)[:, None]
    return SurfacePoints(
        np.take_along_axis(near, best, 1)[:, 0],
        np.take_along_axis(weights, best[..., None], 1)[:, 0],
        np.take_along_axis(distances, best, 1)[:, 0],
    )


class _Problem:
    """What does not change from step to step. Parameters: K coefficients, log size, turn [3], place [3]."""

    def __init__(self, source: FaceModel, target: FaceModel) -> None:
        from scipy.spatial import KDTree

        self._model = source
        self._template = source.v_template.astype(np.float64)
        self._directions = source.shapedirs.astype(np.float64)
        self._outer_faces = source.faces[source.parts["skin"]] if "skin" in source.parts else source.faces
        self._outer = np.unique(self._outer_faces)
        self._surface = target.v_template.astype(np.float64)
        self._surface_normals = vertex_normals(self._surface, target.faces)
        self._tree = KDTree(self._surface)
        self._anchors, self._anchor_places = _anchors(source, target)

    def improve(self, estimate: Array, gate: float, *, free_shape: bool) -> Array:
        """Return the estimate after one reweighted Gauss-Newton step."""
        vertices, jacobian = self._place(estimate)
        _, chosen, found = self._matches(vertices, gate)
        if len(chosen) < len(self._outer) // 10:
            raise ValueError(f"{self._model.name} does not lie on the other model's head")
        offsets = vertices[chosen] - self._surface[found]
        normals = self._surface_normals[found]
        across = (normals * offsets).sum(1)
        robust = tukey(across / _SURFACE)
        slopes = jacobian[chosen]
        blocks = [
            (across / _SURFACE, np.einsum("nc,nck->nk", normals, slopes) / _SURFACE, robust),
            (offsets.ravel() / _SLIDE, slopes.reshape(offsets.size, -1) / _SLIDE, np.repeat(robust, 3)),
        ]
        if len(self._anchor_places):
            points = (self._anchors @ vertices - self._anchor_places).ravel() / _POINT
            slopes = np.einsum("av,vck->ack", self._anchors, jacobian).reshape(points.size, -1) / _POINT
            blocks.append((points, slopes, np.ones(points.size)))
        count = len(estimate) - 7
        precision = np.concatenate([np.ones(count), [_SIZE**-2], np.full(3, _TURN**-2), np.full(3, _PLACE**-2)])
        normal, right = np.diag(precision), -precision * estimate
        for residuals, slopes, weights in blocks:
            weighted = slopes * weights[:, None]
            normal += weighted.T @ slopes
            right -= weighted.T @ residuals
        free = slice(0 if free_shape else count, None)
        improved = estimate.copy()
        improved[free] += np.linalg.solve(normal[free, free], right[free])
        return improved

    def result(self, estimate: Array) -> Registration:
        """Return the mesh of an estimate."""
        vertices, _ = self._place(estimate)
        distances, _, _ = self._matches(vertices, _GATE_FIRST)
        return Registration(vertices, np.exp(estimate[-7]) * _rotation(estimate[-6:-3]), float(np.median(distances)))

    def _matches(self, vertices: Array, gate: float) -> tuple[Array, NDArray[np.integer], NDArray[np.integer]]:
        """Return distances, outer vertices and the target's nearest ones; only what is near and looks the same way."""
        outer = self._outer
        distances, found = self._tree.query(vertices[outer])
        distances, found = np.asarray(distances, np.float64), np.asarray(found, np.int64)
        normals = vertex_normals(vertices, self._outer_faces)[outer]
        same = (distances < gate) & ((normals * self._surface_normals[found]).sum(1) > _SAME_SIDE)
        return distances[same], outer[same], found[same]

    def _place(self, estimate: Array) -> tuple[Array, Array]:
        """Return vertices [V, 3] of an estimate, and their derivatives [V, 3, K + 7]."""
        count = len(estimate) - 7
        linear = np.exp(estimate[count]) * _rotation(estimate[count + 1 : count + 4])
        turned = (self._template + self._directions @ estimate[:count]) @ linear.T
        # A small further turn w moves a point p by w x p.
        x, y, z = turned.T
        zero = np.zeros_like(x)
        turn = np.stack([np.stack(r, 1) for r in ((zero, z, -y), (-z, zero, x), (y, -x, zero))], 1)
        jacobian = np.concatenate(
            [
                np.einsum("rc,vck->vrk", linear, self._directions),
                turned[..., None],
                turn,
                np.broadcast_to(np.eye(3), (len(turned), 3, 3)),
            ],
            2,
        )
        return turned + estimate[count + 4 :], jacobian


def _anchors(source: FaceModel, target: FaceModel) -> tuple[Array, Array]:
    """Return what both models know by name: rows [a, V] of weights over the source's vertices, and places [a, 3]."""
    rows, places = [], []
    joints = target.joints(target.v_template)
    for name in _EYES:
        if name in source.joint_names and name in target.joint_names:
            rows.append(source.j_regressor[source.joint_names.index(name)])
            places.append(joints[target.joint_names.index(name)])
    if source.landmarks_68 is not None and target.landmarks_68 is not None:
        triangles, barycentric = source.landmarks_68
        landmarks = np.zeros((len(triangles), len(source.v_template)))
        np.add.at(landmarks, (np.arange(len(triangles))[:, None], source.faces[triangles]), barycentric)
        rows.extend(landmarks)
        places.extend(target.landmarks(target.v_template, "68"))
    return np.array(rows, np.float64).reshape(len(rows), -1), np.array(places, np.float64).reshape(-1, 3)


def _rotation(axis_angle: Array) -> Array:
    return rotation_matrices(torch.from_numpy(axis_angle)).numpy()
