# SPDX-License-Identifier: Apache-2.0
"""The rig of a portrait as plain arrays: head and bust of this very person, where the portrait is in head space."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import controls
from .cameras import Camera
from .errors import InputError
from .human.anny import load_anny_head
from .human.bust import build_torso, load_bust
from .human.fit import fit_shape_of_field
from .human.lbs import joint_transforms, rotation_matrices
from .human.model import FaceModel
from .progress import Report
from .records import JOINT_PARENTS, JOINTS
from .systems.common import Control, Field, Portrait

OUTER_PARTS = ("skin", "left_eye", "right_eye")
"""Parts of the face model that a portrait's surface follows, beside the bust; the inside of the mouth is hidden."""

PLACEMENT = "face_placement"
"""Key in the provenance: scale, x, y, z of a face model that was fitted to a portrait; absent where it just fits."""

CONTROLS = (
    Control("actions", 52, "1", 0.0, 1.0, "Strengths of the facial actions."),
    Control("joints", 3 * len(JOINTS), "rad", -1.0, 1.0, "Rotations of the joints."),
)
"""What moves a rig."""


@dataclass(frozen=True)
class PersonRig:
    """A rig at rest. Its joints are `records.JOINTS`; of its V vertices the face model's come first, then the bust's.

    Attributes:
        vertices: [V, 3] f4.
        faces: [F, 3] i4.
        weights: [V, 10] f4 skinning weights.
        joints: [10, 3] f4 places of the joints.
        actions: [52, V, 3] f4 what each facial action adds to the vertices.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    weights: NDArray[np.float32]
    joints: NDArray[np.float32]
    actions: NDArray[np.float32]


@dataclass(frozen=True)
class PosedRig:
    """A rig that follows some controls; as in records, the skull stands still in head space.

    Attributes:
        vertices: [V, 3] f8 where its mesh is.
        moved: [V, 3] f8 what the facial actions added to the vertices at rest.
        transforms: [V, 4, 4] f8 what the joints did to them afterwards.
    """

    vertices: NDArray[np.float64]
    moved: NDArray[np.float64]
    transforms: NDArray[np.float64]

    def at_rest(
        self, points: NDArray[np.floating], index: NDArray[np.integer], weight: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return where points [n, 3] are at rest, if they follow vertices `index` [n, k] with shares `weight` [n, k].

        The inverse of linear blend skinning: actions and transforms are blended as Blender blends them.
        """
        transforms = np.einsum("nk,nkij->nij", weight, self.transforms[index])
        moved = np.einsum("nk,nki->ni", weight, self.moved[index])
        homogeneous = np.concatenate([points, np.ones_like(points[:, :1])], axis=1)[..., None]
        return (np.linalg.solve(transforms, homogeneous)[:, :3, 0] - moved).astype(np.float32)


def face_model() -> FaceModel:
    """Return the face model that rigs are built from."""
    return load_anny_head()


def with_shape(portrait: Portrait, field: Field, camera: Camera, report: Report) -> Portrait:
    """Return the portrait with a face shape: its own, or one fitted to renderings of it.

    Args:
        portrait: of a network that may not know whose face it shows.
        field: the same portrait, posed.
        camera: the creation camera.
        report: told of progress.
    """
    if portrait.shape is not None:
        return portrait
    report("Fitting the rig to the face", 0, 1)
    fit = fit_shape_of_field(field, face_model(), camera)
    placed: dict[str, Any] = {PLACEMENT: [float(fit.scale), *map(float, fit.translation)], "rig_notes": list(fit.notes)}
    return dataclasses.replace(
        portrait, shape=torch.from_numpy(fit.shape), provenance={**portrait.provenance, **placed}
    )


def rig_arrays(portrait: Portrait) -> dict[str, NDArray[Any]]:
    """Return the rig as arrays, named as in `messages.Create`. Raises InputError as `driver_vertices` does."""
    face, rig = face_model(), person_rig(portrait)
    plain = np.full((len(rig.faces) - len(face.faces), 3), len(face.uv), np.int32)  # the bust has no texture
    return {
        "shape": _shape(portrait),
        "rig/vertices": rig.vertices,
        "rig/faces": rig.faces,
        "rig/uv": np.concatenate([face.uv, np.zeros((1, 2), np.float32)]),
        "rig/uv_faces": np.concatenate([face.uv_faces, plain]),
        "rig/weights": rig.weights,
        "rig/joints": rig.joints,
        "rig/parents": np.array(JOINT_PARENTS, np.int32),
        "rig/actions": rig.actions,
    }


def person_rig(portrait: Portrait) -> PersonRig:
    """Return head and bust of a portrait's person at rest. Raises InputError as `driver_vertices` does."""
    face, shape = face_model(), _shape(portrait)
    scale, *place = _placement(portrait)
    head = face.vertices(shape)
    torso = build_torso(face, head, shape)
    places = np.concatenate([face.joints(head), torso.joints])
    own = np.pad(
        face.weights, ((0, 0), (0, len(JOINTS) - len(face.joint_names)))
    )  # records' first joints are the face's
    actions = np.pad(np.moveaxis(face.expressiondirs, 2, 0), ((0, 0), (0, len(torso.vertices)), (0, 0)))
    return PersonRig(
        (scale * np.concatenate([head, torso.vertices]) + np.asarray(place)).astype(np.float32),
        np.concatenate([face.faces, torso.faces]),
        np.concatenate([own, torso.weights]).astype(np.float32),
        (scale * places + np.asarray(place)).astype(np.float32),
        (scale * actions).astype(np.float32),
    )


def driver_vertices(portrait: Portrait) -> NDArray[np.float32]:
    """Return the vertices [V, 3] of this person's face model in neutral expression.

    Raises:
        InputError: if the portrait does not know its face shape.
    """
    scale, *translation = _placement(portrait)
    vertices = face_model().vertices(_shape(portrait))
    return (scale * vertices + np.asarray(translation)).astype(np.float32)


def posed(portrait: Portrait, asked: controls.Plain) -> PosedRig:
    """Return the rig of a portrait at the instant that plain controls describe; those of other models are ignored.

    Raises:
        InputError: if the portrait does not know its face shape.
        UsageError: if actions or joints make no sense.
    """
    rig = person_rig(portrait)
    vertices = rig.vertices.astype(np.float64)
    known = {name: asked[name] for name in ("actions", "joints") if name in asked}
    chosen = controls.tensors(known, CONTROLS)
    actions = chosen.get("actions", torch.zeros(len(rig.actions))).double().numpy()
    moved = np.tensordot(actions, rig.actions.astype(np.float64), 1)
    motion = _motion(rig.joints, JOINT_PARENTS, chosen.get("joints"))
    head = motion[JOINTS.index("head")]
    transforms = np.einsum("vj,jab->vab", rig.weights, np.linalg.inv(head) @ motion)
    shaped = np.concatenate([vertices + moved, np.ones((len(vertices), 1))], axis=1)
    return PosedRig(np.einsum("vab,vb->va", transforms, shaped)[:, :3], moved, transforms)


def head_motion(portrait: Portrait, asked: controls.Plain) -> NDArray[np.float64]:
    """Return the rigid motion [4, 4] of the skull against the shoulders: what `posed` takes back from everything.

    A portrait that knows no face shape has the joints of the mean person. Raises UsageError as `posed` does.
    """
    face = face_model()
    vertices = face.vertices() if portrait.shape is None else driver_vertices(portrait)
    chosen = controls.tensors({"joints": asked.get("joints", {})}, CONTROLS)
    motion = _motion(face.joints(vertices), face.parents.tolist(), chosen.get("joints"))
    return motion[JOINTS.index("head")]


def _motion(places: NDArray[np.float32], parents: Sequence[int], turns: torch.Tensor | None) -> NDArray[np.float64]:
    """Return the rigid motion [J, 4, 4] of the rig's joints from rest, the root standing still.

    Args:
        places: [J, 3] of the first J of `records.JOINTS`.
        parents: of these.
        turns: [10, 3] rotations of `records.JOINTS`; None at rest.
    """
    chosen = torch.zeros(len(JOINTS), 3) if turns is None else turns
    at = torch.from_numpy(places).double()
    rotations = rotation_matrices(chosen.double()[: len(places)])
    world = joint_transforms(rotations[None], at[None], torch.tensor(parents))[0].numpy()
    world[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], at.numpy())
    return world


def outer_faces() -> NDArray[np.int32]:
    """Return the triangles [F, 3] of the rig's outside, which a portrait's surface is bound to."""
    face = face_model()
    return np.concatenate([face.faces[np.any([face.parts[name] for name in OUTER_PARTS], axis=0)], load_bust().faces])


def _shape(portrait: Portrait) -> NDArray[np.float32]:
    if portrait.shape is None:
        raise InputError("This portrait knows no face shape, so there is no rig for it.", "Create it again.")
    return portrait.shape.detach().cpu().numpy().astype(np.float32)


def _placement(portrait: Portrait) -> list[float]:
    placement: Any = portrait.provenance.get(PLACEMENT, [1.0, 0.0, 0.0, 0.0])
    try:
        scale, x, y, z = (float(number) for number in placement)
    except (TypeError, ValueError) as error:
        raise InputError("The portrait's file says nonsense about where its rig is.", "Create it again.") from error
    return [scale, x, y, z]
