# SPDX-License-Identifier: Apache-2.0
"""Who is this? The identity coefficients of a portrait whose network does not know them.

A network that we trained says whose face a seed is. An imported one does not, so its portrait is rendered from a few
sides, and a face model is fitted to the depth of these renderings and, where mediapipe finds a face in them, to its
landmarks. The portrait's scale and place in head space are only nominal for an imported network, so both are fitted
too.

The fit is maximum a posteriori: every identity coefficient is normal with variance 1. It is solved by Gauss-Newton with
iteratively reweighted residuals (Tukey's biweight): hair, beard and glasses are outliers that the face does not follow.
All of it is in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..cameras import Camera, orbit
from ..capture import detect
from .depth_surface import Array, Pinhole, surface_of
from .model import FaceModel
from .robust import shrinking, tukey
from .surfaces import unit, vertex_normals

if TYPE_CHECKING:
    from ..systems.common import Field, Progress

VIEWS = ((0.0, 0.0), (-30.0, 0.0), (30.0, 0.0), (0.0, 15.0), (0.0, -15.0))
"""Yaw and pitch of the renderings that an unknown portrait is fitted to, in degrees."""

# Where the face is in head space, whoever it is, in metres: eyes at height 0, tip of the nose 0.104 before the origin.
_FACE_LOW, _FACE_HIGH = np.array([-0.065, -0.11, 0.02]), np.array([0.065, 0.045, 0.2])
# Standard deviations, metres. One sample of a surface stands for several neighbours that err with it.
# Off the face there are hair and clothes, which the model does not have.
_FACE_DEVIATION, _HEAD_DEVIATION = 0.005, 0.02
# Landmarks say where the face is; a detector's errors of a few millimetres must not shape it.
_LANDMARK_PLACING, _LANDMARK_SHAPING = 0.006, 0.015
_SCALE_DEVIATION, _TRANSLATION_DEVIATION = 0.2, 0.03
_FACING = 0.35  # smallest cosine between a vertex's normal and the direction to the camera
# Greatest distance at which a surface point can belong to a vertex: while only scale and place move, and at the end.
_GATE_FIRST, _GATE_LAST = 0.04, 0.008
_STEPS_PLACE, _STEPS_ALL = 12, 24


@dataclass(frozen=True)
class View:
    """What one camera saw of a portrait.

    Attributes:
        camera: One camera in head space (nominal).
        depth: [h, w] distance along the ray, metres; anything where nothing was hit.
        opacity: [h, w] in 0..1.
        landmarks: [478, 2] as ``capture.detect`` gives them, or None.
    """

    camera: Camera
    depth: Array
    opacity: Array
    landmarks: Array | None = None


@dataclass(frozen=True)
class ShapeFit:
    """The person that was found.

    Attributes:
        shape: [K] identity coefficients.
        scale: Size of the portrait relative to the person.
        translation: [3] metres: where the person's origin lies in the portrait's nominal head space.
        distance: Median distance between the fitted face and the rendered surface, metres.
        notes: Sentences for the user, for example that landmarks were not used.
    """

    shape: NDArray[np.float32]
    scale: float
    translation: NDArray[np.float32]
    distance: float
    notes: tuple[str, ...] = ()

    def vertices(self, face_model: FaceModel) -> NDArray[np.float32]:
        """Return the person's neutral vertices [V, 3] where the portrait is."""
        return (self.scale * face_model.vertices(self.shape) + self.translation).astype(np.float32)


def fit_shape_of_field(
    field: Field, face_model: FaceModel, camera: Camera, on_progress: Progress | None = None
) -> ShapeFit:
    """Return the identity of a portrait from its own renderings.

    Args:
        field: The portrait in neutral expression, in nominal head space.
        face_model: The model whose coefficients are asked for.
        camera: The camera that the portrait was created for; its distance and focal length are kept, and it is moved
            around the origin of head space to the sides named in ``VIEWS``.

        on_progress: Called with steps done and steps in all after each rendering; may raise to stop the work.

    Deterministic. Takes one rendering for each of ``VIEWS`` and about a second.
    """
    radius = float(camera.cam2world[0, :3, 3].norm())
    focal = float(camera.intrinsics[0, 0, 0])
    views, pictures = [], []
    for done, (yaw, pitch) in enumerate(VIEWS):
        side = orbit(yaw, pitch, radius=radius, focal=focal)
        with torch.no_grad():
            rendering = field.render(side)
        views.append(View(side, _plain(rendering.depth), _plain(rendering.opacity)))
        picture = (rendering.image[0].movedim(0, -1).clamp(-1, 1) + 1) * 127.5
        pictures.append(picture.round().to(torch.uint8).cpu().numpy())
        if on_progress is not None:
            on_progress(done + 1, len(VIEWS) + 1)
    if not detect.available():
        note = "The face was fitted to depth alone, because mediapipe is not installed (extra: capture)."
    else:
        found = detect.face_landmarks(np.stack(pictures))
        views = [replace(view, landmarks=landmarks) for view, landmarks in zip(views, found, strict=True)]
        note = "" if any(f is not None for f in found) else "No face was recognised; the fit uses depth alone."
    result = fit_shape(face_model, views)
    return replace(result, notes=result.notes + ((note,) if note else ()))


def fit_shape(face_model: FaceModel, views: Sequence[View]) -> ShapeFit:
    """Return the person of a face model who fits what was seen best.

    Minimises, over shape k [K], scale s and translation t, with vertices v = s (template + shapedirs k) + t:
    the distance of each visible vertex of the face to the tangent plane of the surface seen in its pixel, plus the
    distance of each projected landmark to the detected one (in metres at its depth), plus the prior |k|^2.

    Args:
        face_model: The model.
        views: At least one; several sides determine the shape better.

    Raises:
        ValueError: The views show no surface where the face should be.
    """
    problem = _Problem(face_model, views)
    count = face_model.shapedirs.shape[2]
    estimate = _Estimate(np.zeros(count), 0.0, np.zeros(3))
    for step in range(_STEPS_PLACE):
        estimate = problem.improve(
            estimate, shrinking(step / (_STEPS_PLACE - 1), _GATE_FIRST, _GATE_FIRST / 2), free_shape=False
        )
    for step in range(_STEPS_ALL):
        estimate = problem.improve(
            estimate, shrinking(step / (_STEPS_ALL - 1), _GATE_FIRST / 2, _GATE_LAST), free_shape=True
        )
    return ShapeFit(
        shape=estimate.shape.astype(np.float32),
        scale=float(np.exp(estimate.log_scale)),
        translation=estimate.translation.astype(np.float32),
        distance=problem.distance(estimate),
    )


class _Estimate(NamedTuple):
    shape: Array
    log_scale: float
    translation: Array


class _Equations(NamedTuple):
    """Residuals in standard deviations, and their derivatives."""

    residuals: Array  # [n]
    jacobian: Array  # [n, K + 4]: shape, log scale, translation


class _Problem:
    """The parts of the fit that do not change from step to step."""

    def __init__(self, model: FaceModel, views: Sequence[View]) -> None:
        template = model.v_template.astype(np.float64)
        outside = np.ones(len(template), bool)
        if "skin" in model.parts:  # what is behind the lips and lids cannot be seen
            outside[:] = False
            outside[model.faces[model.parts["skin"].astype(bool)]] = True
        in_face = ((template > _FACE_LOW) & (template < _FACE_HIGH)).all(1)[outside]
        self._deviation = np.where(in_face, _FACE_DEVIATION, _HEAD_DEVIATION)
        self._normals = vertex_normals(template, model.faces)[outside]
        self._template = template[outside]
        self._directions = model.shapedirs[outside].astype(np.float64)
        self._cameras = [Pinhole.of(view.camera) for view in views]
        self._surfaces = [
            surface_of(camera, view.depth, view.opacity) for camera, view in zip(self._cameras, views, strict=True)
        ]
        self._landmarks = [view.landmarks for view in views]
        self._landmark_basis = _landmark_basis(model)

    def improve(self, estimate: _Estimate, gate: float, *, free_shape: bool) -> _Estimate:
        """Return the estimate after one reweighted Gauss-Newton step."""
        blocks = [self._depth(estimate, i, gate) for i in range(len(self._cameras))]
        if not sum(len(block.residuals) for block in blocks):
            raise ValueError("The renderings show no surface where the face should be.")
        landmark = _LANDMARK_SHAPING if free_shape else _LANDMARK_PLACING
        blocks += [self._landmark(estimate, i, landmark) for i in range(len(self._cameras))]
        count = len(estimate.shape)
        parameters = np.concatenate([estimate.shape, [estimate.log_scale], estimate.translation])
        precision = np.concatenate([np.ones(count), [_SCALE_DEVIATION**-2], np.full(3, _TRANSLATION_DEVIATION**-2)])
        normal, right = np.diag(precision), -precision * parameters
        for residuals, jacobian in blocks:
            weighted = jacobian * tukey(residuals)[:, None]
            normal += weighted.T @ jacobian
            right -= weighted.T @ residuals
        free = slice(0 if free_shape else count, None)
        parameters[free] += np.linalg.solve(normal[free, free], right[free])
        return _Estimate(parameters[:count], float(parameters[count]), parameters[count + 1 :])

    def distance(self, estimate: _Estimate) -> float:
        """Return the median distance between the head and the surfaces, where they are near each other, metres."""
        distances = [np.abs(self._distances(estimate, i, _GATE_FIRST)[1]) for i in range(len(self._cameras))]
        return float(np.median(np.concatenate(distances)))

    def _distances(self, estimate: _Estimate, index: int, gate: float) -> tuple[NDArray[np.bool_], Array, Array]:
        """Return which vertices see a surface in their pixel, their distances to it, and the derivatives of these."""
        camera, surface = self._cameras[index], self._surfaces[index]
        vertices, jacobian = _place(self._template, self._directions, estimate)
        towards = camera.position - vertices
        facing = (self._normals * towards).sum(1) > _FACING * np.linalg.norm(towards, axis=1)
        image, _ = camera.project(vertices)
        height, width = surface.valid.shape
        column, row = np.floor(image * [width, height]).astype(int).T
        seen = facing & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = column.clip(0, width - 1), row.clip(0, height - 1)
        normals = surface.normals[row, column]
        distances = (normals * (vertices - surface.points[row, column])).sum(1)
        seen &= surface.valid[row, column] & (np.abs(distances) < gate)
        return seen, distances[seen], np.einsum("nc,nck->nk", normals[seen], jacobian[seen])

    def _depth(self, estimate: _Estimate, index: int, gate: float) -> _Equations:
        """Return the distances of visible vertices to the tangent planes of the surface in their pixels."""
        seen, distances, jacobian = self._distances(estimate, index, gate)
        deviation = self._deviation[seen]
        return _Equations(distances / deviation, jacobian / deviation[:, None])

    def _landmark(self, estimate: _Estimate, index: int, deviation: float) -> _Equations:
        """Return the distances of projected to detected landmarks, in metres at the landmark's depth."""
        camera, detected = self._cameras[index], self._landmarks[index]
        count = len(estimate.shape)
        if detected is None or self._landmark_basis is None:
            return _Equations(np.zeros(0), np.zeros((0, count + 4)))
        template, directions, normals = self._landmark_basis
        points, jacobian = _place(template, directions, estimate)
        towards = camera.position - points
        seen = (normals * towards).sum(1) > _FACING * np.linalg.norm(towards, axis=1)
        image, image_jacobian = camera.project(points[seen])
        metres = ((points[seen] - camera.position) @ camera.rotation[:, 2])[:, None] / camera.focal
        # As many landmarks as there are must not outvote the surface: they count as a hundred.
        deviation *= np.sqrt(max(1.0, len(template) / 100))
        residuals = (image - detected[seen]) * metres / deviation
        jacobian = np.einsum("nac,nck->nak", image_jacobian, jacobian[seen]) * metres[..., None] / deviation
        return _Equations(residuals.reshape(-1), jacobian.reshape(-1, count + 4))


def _place(template: Array, directions: Array, estimate: _Estimate) -> tuple[Array, Array]:
    """Return vertices [n, 3] of an estimate and their derivatives [n, 3, K + 4]."""
    scale = np.exp(estimate.log_scale)
    scaled = scale * (template + directions @ estimate.shape)
    translations = np.broadcast_to(np.eye(3), (len(template), 3, 3))
    return scaled + estimate.translation, np.concatenate([scale * directions, scaled[..., None], translations], 2)


def _landmark_basis(model: FaceModel) -> tuple[Array, Array, Array] | None:
    """Return position [n, 3], shape directions [n, 3, K] and normal [n, 3] of the model's 478 landmarks."""
    if model.landmarks_478 is None:
        return None
    triangles, barycentric = model.landmarks_478
    corners = model.faces[triangles]
    normals = vertex_normals(model.v_template.astype(np.float64), model.faces)
    template, directions, normals = (
        np.einsum("nc,nc...->n...", barycentric.astype(np.float64), values[corners].astype(np.float64))
        for values in (model.v_template, model.shapedirs, normals)
    )
    return template, directions, unit(normals)


def _plain(picture: torch.Tensor) -> Array:
    """Return the first picture of a batch [1, 1, h, w] (or [1, h, w]) as [h, w] float64."""
    return picture.detach().double().cpu().numpy().reshape(picture.shape[-2:])
