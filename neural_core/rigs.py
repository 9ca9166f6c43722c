# SPDX-License-Identifier: Apache-2.0
"""The rig of a portrait as plain arrays: the face model of this very person, where the portrait is in head space."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import controls
from .cameras import Camera
from .errors import InputError
from .human.anny import load_anny_head
from .human.fit import fit_shape_of_field
from .human.lbs import joint_transforms, rotation_matrices
from .human.model import FaceModel
from .progress import Report
from .records import JOINTS
from .systems.common import Control, Field, Portrait

OUTER_PARTS = ("skin", "left_eye", "right_eye")
"""Parts of the face model that a portrait's surface follows; the inside of the mouth is hidden behind them."""

PLACEMENT = "face_placement"
"""Key in the provenance: scale, x, y, z of a face model that was fitted to a portrait; absent where it just fits."""

CONTROLS = (
    Control("actions", 52, "1", 0.0, 1.0, "Strengths of the facial actions."),
    Control("joints", 3 * len(JOINTS), "rad", -1.0, 1.0, "Rotations of the joints."),
)
"""What moves a rig."""


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
    face = face_model()
    vertices = driver_vertices(portrait)
    scale = _placement(portrait)[0]
    return {
        "shape": _shape(portrait),
        "rig/vertices": vertices,
        "rig/faces": face.faces,
        "rig/uv": face.uv,
        "rig/uv_faces": face.uv_faces,
        "rig/weights": face.weights,
        "rig/joints": face.joints(vertices),
        "rig/parents": face.parents,
        "rig/actions": (scale * np.moveaxis(face.expressiondirs, 2, 0)).astype(np.float32),
    }


def driver_vertices(portrait: Portrait) -> NDArray[np.float32]:
    """Return the vertices [V, 3] of this person's rig in neutral expression.

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
    face, vertices = face_model(), driver_vertices(portrait).astype(np.float64)
    scale = _placement(portrait)[0]
    known = {name: asked[name] for name in ("actions", "joints") if name in asked}
    chosen = controls.tensors(known, CONTROLS)
    actions = chosen.get("actions", torch.zeros(face.expressiondirs.shape[2])).double().numpy()
    moved = scale * face.expressiondirs.astype(np.float64) @ actions
    motion = _motion(face, vertices, chosen.get("joints"))
    head = motion[face.joint_names.index("head")]
    transforms = np.einsum("vj,jab->vab", face.weights, np.linalg.inv(head) @ motion)
    shaped = np.concatenate([vertices + moved, np.ones((len(vertices), 1))], axis=1)
    return PosedRig(np.einsum("vab,vb->va", transforms, shaped)[:, :3], moved, transforms)


def head_motion(portrait: Portrait, asked: controls.Plain) -> NDArray[np.float64]:
    """Return the rigid motion [4, 4] of the skull against the shoulders: what `posed` takes back from everything.

    A portrait that knows no face shape has the joints of the mean person. Raises UsageError as `posed` does.
    """
    face = face_model()
    vertices = face.vertices() if portrait.shape is None else driver_vertices(portrait)
    chosen = controls.tensors({"joints": asked.get("joints", {})}, CONTROLS)
    return _motion(face, vertices.astype(np.float64), chosen.get("joints"))[face.joint_names.index("head")]


def _motion(face: FaceModel, vertices: NDArray[np.float64], joints: torch.Tensor | None) -> NDArray[np.float64]:
    """Return the rigid motion [J, 4, 4] of the rig's joints from rest, the root standing still.

    Args:
        face: the rig's.
        vertices: [V, 3] neutral.
        joints: [10, 3] rotations of `records.JOINTS`; None at rest.
    """
    names = [JOINTS.index(name) for name in face.joint_names]
    turns = torch.zeros(len(JOINTS), 3) if joints is None else joints
    places = torch.from_numpy(face.joints(vertices).astype(np.float64))
    parents = torch.from_numpy(face.parents.astype(np.int64))
    world = joint_transforms(rotation_matrices(turns.double()[names])[None], places[None], parents)[0].numpy()
    world[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], places.numpy())
    return world


def outer_faces() -> NDArray[np.int32]:
    """Return the triangles [F, 3] of the rig's outside, which a portrait's surface is bound to."""
    face = face_model()
    return face.faces[np.any([face.parts[name] for name in OUTER_PARTS], axis=0)]


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
