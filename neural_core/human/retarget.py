# SPDX-License-Identifier: Apache-2.0
"""The 52 facial actions in the terms of another face model: its expression coefficients, its jaw, its eyes.

Fitted once for a model. Our rig's mesh is laid onto the other model's mean head (``registration.py``); then, action by
action, the other model's expression and jaw are asked for that move every place of its face as far as our rig moves the
place it corresponds to. Jaw and expression are found together, by least squares: the jaw turns (SMPL's skinning, pose
correctives included), and what a rotation cannot do is left to the expression. Eyes turn as our rig's eyeballs do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..records import JOINTS
from .anny import load_anny_head
from .lbs import Posed, lbs, rotation_matrices
from .model import FaceModel
from .registration import Registration, SurfacePoints, register, surface_points
from .robust import tukey
from .surfaces import vertex_normals

Array = NDArray[np.float64]

_FARTHEST = 0.01
"""Metres between a place and the one it corresponds to, from which on it says nothing."""
_HALF_USED = 1e-4
"""Metres (root mean square over the face): a coefficient that moves the face so little is used by half (ridge)."""
_JAW_TURN = 0.3
"""Radians of the jaw that cost as much as a coefficient of 1."""
_LEAST_DEVIATION = 1e-3
"""Metres by which places may miss before they can be outliers: a lip that was taken for the other one, say."""
_ROUNDS, _STEPS = 2, 3
_DIFFERENCE = 1e-4  # radians
_EYES = ("left_eye", "right_eye")


@dataclass(frozen=True)
class Retargeting:
    """What the facial actions, each at 1, are for another face model. Actions add up; so do these.

    Attributes:
        expression: [E, A] coefficients.
        jaw: [3, A] rotation of the jaw, axis-angle, radians.
        eyes: [2, 3, A] rotations of the left and the right eye.
        error: [A] root mean square distance by which the face misses each action, metres.
        size: [A] root mean square distance by which each action moves it, metres.
    """

    expression: Float[Tensor, "e a"]
    jaw: Float[Tensor, "3 a"]
    eyes: Float[Tensor, "2 3 a"]
    error: NDArray[np.float64]
    size: NDArray[np.float64]

    def controls(
        self, actions: Float[Tensor, "b a"], joints: Float[Tensor, "b 10 3"] | None = None
    ) -> dict[str, Tensor]:
        """Return FLAME's parameters: "expression" [b, E], "jaw_pose" [b, 3], "neck_pose" [b, 3], "eye_pose" [b, 6].

        Args:
            actions: 0..1.
            joints: rotations of ``records.JOINTS`` relative to their parents, axis-angle, radians; what the actions ask
                of jaw and eyes comes first, then these. None for none. FLAME's neck turns the head, so that neck and
                head are one there.

        Differentiable in both.
        """
        jaw = actions @ self.jaw.to(actions).T
        eyes = torch.einsum("sca,ba->bsc", self.eyes.to(actions), actions)
        neck = torch.zeros_like(jaw)
        if joints is not None:
            turns = {name: rotation_matrices(joints[:, JOINTS.index(name)]) for name in ("neck", "head", "jaw", *_EYES)}
            neck = axis_angles(turns["neck"] @ turns["head"])
            jaw = axis_angles(turns["jaw"] @ rotation_matrices(jaw))
            eyes = axis_angles(torch.stack([turns[eye] for eye in _EYES], 1) @ rotation_matrices(eyes))
        return {
            "expression": actions @ self.expression.to(actions).T,
            "jaw_pose": jaw,
            "neck_pose": neck,
            "eye_pose": eyes.flatten(1),
        }


def retargeting(target: FaceModel) -> Retargeting:
    """Return what our rig's actions are for a face model; fitted at the first call for it, and kept."""
    return _kept(_ByIdentity(target))


def fit_retargeting(source: FaceModel, target: FaceModel) -> Retargeting:
    """Return what the source's expression controls are for the target. Deterministic; a few seconds.

    Raises:
        ValueError: The target has no expressions, or the models' mean heads do not lie on each other.
    """
    if not target.expressiondirs.shape[2]:
        raise ValueError(f"{target.name} has no expressions")
    registration = register(source, target)
    skin = source.faces[source.parts["skin"]]
    normals = vertex_normals(target.v_template, target.faces)
    points = surface_points(target.v_template, normals, registration.vertices, skin)
    weights = np.where(_eyeballs(target), 0, np.clip(1 - (points.distance / _FARTHEST) ** 2, 0, None))
    places = np.flatnonzero(weights)
    problem = _Problem(target, places, _wanted(source, skin, registration, points)[:, places], weights[places])
    expression, jaw = problem.solve()
    error, size = problem.errors(expression, jaw)
    return Retargeting(expression.T.float(), jaw.T.float(), _eye_turns(source, registration).float(), error, size)


def axis_angles(rotations: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """Return axis times angle (radians) of rotation matrices by less than half a turn. Differentiable, also at none.

    The skew part of a rotation is its axis times the sine of its angle.
    """
    skew = (rotations - rotations.mT) / 2
    sine = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
    cosine = (rotations.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    square = (sine**2).sum(-1)
    small = square < 1e-8
    # The safe value keeps the gradient of the branch that is not taken finite; the series is that of asin(x) / x.
    length = torch.where(small, torch.ones_like(square), square).sqrt()
    return sine * torch.where(small, 1 + square / 6, torch.atan2(length, cosine) / length)[..., None]


class _ByIdentity:
    """A face model as a key: the same object is the same model."""

    def __init__(self, face: FaceModel) -> None:
        self.face = face

    def __hash__(self) -> int:
        return id(self.face)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.face is self.face


@lru_cache(maxsize=4)
def _kept(target: _ByIdentity) -> Retargeting:
    return fit_retargeting(load_anny_head(), target.face)


class _Problem:
    """Expression e and jaw j so that the posed places are where the actions want them; all actions at once.

    Gauss-Newton in the rest pose: turning what is missed back by the skinning makes it linear in the expression, so
    that one matrix serves all actions, and only the jaw's few columns are an action's own.
    """

    def __init__(self, target: FaceModel, places: NDArray[np.integer], wanted: Array, weights: Array) -> None:
        """Take places [n] of the target's vertices, their wanted displacements [A, n, 3] and weights [n]."""
        self._target = _Arrays.of(target)
        self._places = torch.from_numpy(places)
        self._wanted = torch.from_numpy(wanted)
        self._weights = torch.from_numpy(weights / weights.sum())
        self._jaw = target.joint_names.index("jaw") if "jaw" in target.joint_names else None

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return expression [A, E] and jaw [A, 3], float64."""
        actions = len(self._wanted)
        expression = torch.zeros(actions, self._target.directions.shape[2], dtype=torch.float64)
        jaw = torch.zeros(actions, 3, dtype=torch.float64)
        weights = self._weights
        for _ in range(_ROUNDS):
            for _ in range(_STEPS):
                expression, jaw = self._improve(expression, jaw, weights)
            missed = self._missed(self._posed(expression, jaw)).norm(dim=(0, 2)).numpy()
            weights = self._weights * torch.from_numpy(tukey(missed, _LEAST_DEVIATION))
            weights = weights / weights.sum()
        return expression, jaw

    def errors(self, expression: Tensor, jaw: Tensor) -> tuple[Array, Array]:
        """Return by how much the face misses each action, and how far each moves it: root mean squares [A], metres."""
        both = (self._missed(self._posed(expression, jaw)), self._wanted)
        error, size = (torch.einsum("anc,n->a", offsets**2, self._weights).sqrt().numpy() for offsets in both)
        return error, size

    def _improve(self, expression: Tensor, jaw: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return both after one Gauss-Newton step."""
        posed = self._posed(expression, jaw)
        offsets = self._turned_back([self._missed(posed), *self._jaw_slopes(expression, jaw, posed)], posed)
        missed, own = offsets[..., 0], offsets[..., 1:]  # [A, 3 n] and [A, 3 n, 3]
        directions = self._target.directions[self._places].flatten(0, 1)
        weights = weights.repeat_interleave(3)
        weighted = directions * weights[:, None]
        mixed = torch.einsum("ne,anj->aej", weighted, own)
        priors = torch.full((directions.shape[1] + 3,), _HALF_USED**2, dtype=torch.float64)
        priors[-3:] /= _JAW_TURN**2
        shared = (weighted.T @ directions).expand(len(jaw), -1, -1)
        turning = torch.einsum("ani,n,anj->aij", own, weights, own)
        matrix = torch.cat([torch.cat([shared, mixed], 2), torch.cat([mixed.mT, turning], 2)], 1) + priors.diag()
        found = torch.cat([expression, jaw], 1)
        right = torch.cat([missed @ weighted, torch.einsum("anj,n,an->aj", own, weights, missed)], 1) - priors * found
        found = found + torch.linalg.solve(matrix, right)
        return found[:, :-3], found[:, -3:]

    def _posed(self, expression: Tensor, jaw: Tensor) -> Posed:
        pose = torch.zeros(len(jaw), len(self._target.parents), 3, dtype=torch.float64)
        if self._jaw is not None:
            pose[:, self._jaw] = jaw
        t = self._target
        return lbs(expression, pose, t.template, t.directions, t.correctives, t.regressor, t.parents, t.weights)

    def _missed(self, posed: Posed) -> Tensor:
        """Return what the places of posed faces lack [A, n, 3]."""
        return self._target.template[self._places] + self._wanted - posed.vertices[:, self._places]

    def _turned_back(self, offsets: list[Tensor], posed: Posed) -> Tensor:
        """Return k offsets [A, n, 3] of posed places as they are in rest pose, [A, 3 n, k]."""
        turns = torch.einsum("nj,ajrc->anrc", self._target.weights[self._places], posed.transforms[..., :3, :3])
        return (torch.linalg.inv(turns) @ torch.stack(offsets, 3)).flatten(1, 2)

    def _jaw_slopes(self, expression: Tensor, jaw: Tensor, posed: Posed) -> list[Tensor]:
        """Return the derivatives [A, n, 3] of the posed places by the three numbers of the jaw: forward differences."""
        slopes = []
        for axis in torch.eye(3, dtype=torch.float64):
            moved = self._posed(expression, jaw + _DIFFERENCE * axis).vertices - posed.vertices
            slopes.append(moved[:, self._places] / _DIFFERENCE)
        return slopes


@dataclass(frozen=True)
class _Arrays:
    """What skinning needs of a face model, in float64."""

    template: Tensor
    directions: Tensor
    correctives: Tensor | None
    regressor: Tensor
    parents: Tensor
    weights: Tensor

    @classmethod
    def of(cls, face: FaceModel) -> _Arrays:
        correctives = None if face.posedirs is None else torch.from_numpy(face.posedirs).double()
        template, directions, regressor, weights = (
            torch.from_numpy(array).double()
            for array in (face.v_template, face.expressiondirs, face.j_regressor, face.weights)
        )
        return cls(template, directions, correctives, regressor, torch.from_numpy(face.parents), weights)


def _wanted(source: FaceModel, faces: NDArray[np.int32], registration: Registration, points: SurfacePoints) -> Array:
    """Return the displacements [A, n, 3] of points on the source's faces by its expressions, as large as the target."""
    corners = faces[points.triangles]
    moved = np.einsum("nc,ncda->and", points.barycentric, source.expressiondirs[corners].astype(np.float64))
    return moved @ registration.linear.T


def _eyeballs(face: FaceModel) -> NDArray[np.bool_]:
    """Return which vertices [V] turn with an eye."""
    eyes = [face.joint_names.index(name) for name in _EYES if name in face.joint_names]
    return face.weights[:, eyes].sum(1) > 0.5


def _eye_turns(source: FaceModel, registration: Registration) -> Tensor:
    """Return how the source's expressions turn the eyeballs [2, 3, A], axis-angle (Kabsch 1976)."""
    rotations = np.zeros((2, source.expressiondirs.shape[2], 3, 3))
    for side, name in enumerate(_EYES):
        ball = np.unique(source.faces[source.parts[name]])
        before = registration.vertices[ball]
        moved = before + np.moveaxis(source.expressiondirs[ball], 2, 0) @ registration.linear.T
        before = before - before.mean(0)
        u, _, vt = np.linalg.svd(np.einsum("anr,nc->arc", moved - moved.mean(1, keepdims=True), before))
        u[..., 2] *= np.linalg.det(u @ vt)[:, None]  # no reflections
        rotations[side] = u @ vt
    return axis_angles(torch.from_numpy(rotations)).mT
