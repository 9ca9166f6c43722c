# SPDX-License-Identifier: Apache-2.0
"""The least-squares problem behind the face fit: one person, n pictures, 478 landmarks in each.

Unknown are, per picture, the camera (rotation, place in the picture, distance), the actions in 0..1 and the detector's
mistakes, and, shared by all pictures, the identity. Maximum a posteriori by Gauss-Newton: every picture's own unknowns
are eliminated from the normal equations (Schur complement), the identity is solved for, then each picture again with
the bounds of its actions. What pixels say about the actions (``patches.py``) is one more quadratic term. Landmarks
that contradict the others lose weight (Tukey's biweight). Float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .bounded import minimise
from .measured import LandmarkModel
from .patches import Evidence

Array = NDArray[np.float64]

POSE = 6
"""Unknowns of a camera: a rotation vector, the place of the head's origin in the picture, the log of its distance."""

_TEMPER = 2.5  # errors of neighbouring landmarks go together: 478 of them say as much as fewer independent ones
_TURNED = 0.25  # cosine below which a landmark's skin is seen so obliquely that it errs more
_TUKEY = 4.685  # Huber & Ronchetti 2009, section 4.8
_POSE_PRECISION = 1e-6  # keeps the equations definite


@dataclass(frozen=True)
class Frame:
    """The unknowns of one picture."""

    rotation: Array
    """[3, 3] from head axes to the camera's (OpenCV)."""
    place: Array
    """[3] where the head's origin is: x and y in picture widths from the middle of the lens, log of metres ahead."""
    actions: Array
    """[E] in 0..1."""
    mistakes: Array
    """[w] of the detector, standard deviations."""

    def translation(self, focal: float) -> Array:
        """The head's origin [3] in the camera, metres."""
        return np.exp(self.place[2]) * np.array([self.place[0] / focal, self.place[1] / focal, 1.0])

    def towards(self, focal: float) -> Array:
        """Unit direction [3] from the head to the camera, head space."""
        place = -self.rotation.T @ self.translation(focal)
        return place / np.linalg.norm(place)


class Equations(NamedTuple):
    """Residuals in standard deviations and their derivatives."""

    residuals: Array  # [478, 2]
    local: Array  # [478, 2, 6 + E + w]: pose, actions, mistakes
    shared: Array  # [478, 2, K]


class _Normal(NamedTuple):
    """One picture's part of the value to minimise, 1/2 d H d + g d, over its own unknowns and the shared ones."""

    local: Array  # [l, l]
    cross: Array  # [l, K]
    shared: Array  # [K, K]
    local_slope: Array  # [l]
    shared_slope: Array  # [K]


class Problem:
    """The fit of one person to the landmarks of some pictures."""

    def __init__(
        self, model: LandmarkModel, points: Array, focal: float, evidence: Sequence[Evidence | None] = ()
    ) -> None:
        """Take the landmarks [n, 478, 2] in picture widths from the middle of the lens, the focal length, and more.

        ``evidence`` is what else is known of each picture's actions; nothing by default.
        """
        self._model, self._points, self.focal = model, points, focal
        self._evidence = tuple(evidence) or (None,) * len(points)
        self._directions = np.concatenate([model.actions, model.errors, model.identity], 2)
        self._actions = slice(POSE, POSE + model.actions.shape[2])
        self._size = POSE + model.actions.shape[2] + model.errors.shape[2]

    def through(self, focal: float) -> Problem:
        """The same problem through another lens."""
        return Problem(self._model, self._points, focal, self._evidence)

    def begin(self, index: int) -> Frame:
        """A first camera from an affine view of the mean face: POS (DeMenthon & Davis 1995) without its iterations."""
        design = np.concatenate([self._model.template, np.ones((len(self._model.template), 1))], 1)
        affine = np.linalg.lstsq(design, self._points[index], rcond=None)[0]
        left, scales, right = np.linalg.svd(affine[:3].T, full_matrices=False)
        rows = left @ right
        rotation = np.concatenate([rows, np.cross(rows[0], rows[1])[None]])
        place = np.array([*affine[3], np.log(self.focal / scales.mean())])
        actions, mistakes = self._model.actions.shape[2], self._model.errors.shape[2]
        return Frame(rotation, place, np.zeros(actions), np.zeros(mistakes))

    def equations(self, frame: Frame, shape: Array, index: int) -> Equations:
        """Distances of projected to detected landmarks, in metres at the head's distance over their deviations."""
        turned, image, slope = self._project(frame, shape)
        origin = frame.translation(self.focal)
        ahead = origin[2]
        # A rotation vector d applied after R moves the point by d x (R p).
        a, b, c = turned.T
        nil = np.zeros_like(a)
        spin = np.stack([np.stack([nil, c, -b], 1), np.stack([-c, nil, a], 1), np.stack([b, -a, nil], 1)], 1)
        move = np.zeros((3, 3))
        move[0, 0] = move[1, 1] = ahead / self.focal
        move[:, 2] = origin
        deviation = self.deviations(frame)[:, None]
        residuals = (image - self._points[index] * ahead / self.focal) / deviation
        directions = (slope @ frame.rotation) @ self._directions
        jacobian = np.concatenate([slope @ spin, slope @ move, directions], 2) / deviation[..., None]
        return Equations(residuals, jacobian[..., : self._size], jacobian[..., self._size :])

    def plane(self, frame: Frame, shape: Array) -> Array:
        """Derivative [478, 2, 3] of the projected landmarks, metres at the head's distance, by their places."""
        return self._project(frame, shape)[2] @ frame.rotation

    def _project(self, frame: Frame, shape: Array) -> tuple[Array, Array, Array]:
        """Landmarks turned into camera axes, where they appear in metres at the head's distance, and the derivative."""
        points = self._model.points(frame.towards(self.focal), shape, frame.actions, frame.mistakes)
        turned = points @ frame.rotation.T
        origin = frame.translation(self.focal)
        x, y, z = (turned + origin).T
        nil = np.zeros_like(x)
        image = origin[2] * np.stack([x / z, y / z], 1)
        slope = np.stack([np.stack([1 / z, nil, -x / z**2], 1), np.stack([nil, 1 / z, -y / z**2], 1)], 1)
        return turned, image, origin[2] * slope

    def deviations(self, frame: Frame) -> Array:
        """Standard deviation [478] of each landmark in this view, metres: larger where the face turns away."""
        facing = self._model.normals @ frame.towards(self.focal)
        return self._model.deviation * _TEMPER * (1 + 3 * np.clip(_TURNED - facing, 0, 1))

    def improve(
        self, frames: list[Frame], shape: Array, *, pose_only: bool = False, free_shape: bool = True
    ) -> tuple[list[Frame], Array]:
        """Return the estimate after one reweighted Gauss-Newton step."""
        normals = [self._normal(frame, shape, index) for index, frame in enumerate(frames)]
        bounds = [self._bounds(frame, pose_only) for frame in frames]
        shape_step = np.zeros_like(shape)
        if free_shape and not pose_only:
            shape_step = _shared_step(normals, bounds, shape)
        moved = []
        for frame, normal, (low, high) in zip(frames, normals, bounds, strict=True):
            step, _ = minimise(normal.local, normal.local_slope + normal.cross @ shape_step, low, high)
            moved.append(self._stepped(frame, step))
        return moved, shape + shape_step

    def _normal(self, frame: Frame, shape: Array, index: int) -> _Normal:
        residuals, local, shared = self.equations(frame, shape, index)
        weights = np.sqrt(tukey(np.linalg.norm(residuals, axis=1)))[:, None, None]
        local, shared = ((weights * part).reshape(-1, part.shape[2]) for part in (local, shared))
        residuals = (weights[..., 0] * residuals).reshape(-1)
        hessian, slope = local.T @ local, local.T @ residuals
        hessian[np.diag_indices(POSE)] += _POSE_PRECISION * np.trace(hessian[:POSE, :POSE])
        acting = self._actions
        hessian[acting, acting] += self._model.action_precision
        slope[acting] += self._model.action_precision @ (frame.actions - self._model.action_mean)
        evidence = self._evidence[index]
        if evidence is not None:
            hessian[acting, acting] += evidence.precision
            slope[acting] += evidence.precision @ frame.actions - evidence.information
        mistakes = np.arange(acting.stop, self._size)
        hessian[mistakes, mistakes] += 1.0
        slope[mistakes] += frame.mistakes
        return _Normal(hessian, local.T @ shared, shared.T @ shared, slope, shared.T @ residuals)

    def _bounds(self, frame: Frame, pose_only: bool) -> tuple[Array, Array]:
        """Lowest and highest step of each of a picture's unknowns."""
        low, high = np.full(self._size, -np.inf), np.full(self._size, np.inf)
        low[self._actions], high[self._actions] = -frame.actions, 1 - frame.actions
        low[:3], high[:3] = -0.5, 0.5  # radians: beyond it, a linear step means nothing
        low[5], high[5] = -0.5, 0.5
        if pose_only:
            low[POSE:] = high[POSE:] = 0.0
        return low, high

    def _stepped(self, frame: Frame, step: Array) -> Frame:
        return Frame(
            Rotation.from_rotvec(step[:3]).as_matrix() @ frame.rotation,
            frame.place + step[3:POSE],
            np.clip(frame.actions + step[self._actions], 0.0, 1.0),
            frame.mistakes + step[self._actions.stop :],
        )


def _shared_step(normals: list[_Normal], bounds: list[tuple[Array, Array]], shape: Array) -> Array:
    """The step of the identity that is best when every picture answers with its own best step (Schur complement)."""
    hessian, slope = np.eye(len(shape)), shape.copy()
    for normal, (low, high) in zip(normals, bounds, strict=True):
        step, free = minimise(normal.local, normal.local_slope, low, high)
        # Numbers at their bounds do not answer.
        inverse = np.linalg.solve(normal.local[np.ix_(free, free)], normal.cross[free])
        hessian += normal.shared - normal.cross[free].T @ inverse
        slope += normal.shared_slope + normal.cross.T @ step
    return -np.linalg.solve(hessian, slope)


def tukey(distances: Array) -> Array:
    """Return biweights in 0..1 of distances in standard deviations (two coordinates each)."""
    typical = max(float(np.median(distances)) / 1.1774, 1.0)  # 1.1774: median of a Rayleigh variable
    return np.clip(1 - (distances / (_TUKEY * typical)) ** 2, 0, None) ** 2
