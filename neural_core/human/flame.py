# SPDX-License-Identifier: Apache-2.0
"""FLAME (Li et al. 2017) in our layout, from the files that the user has registered for.

FLAME 2020 and 2023 come as pickles, which are read without chumpy; an ``.npz`` of the same arrays is read too. The
files are non-commercial and are never shipped. Their layout is SMPL's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .anny import load_anny_head
from .lbs import lbs
from .model import Embedding, FaceModel
from .model_files import ModelFile, read_model_file
from .registration import register, transferred_landmarks
from .smpl import from_published

# Facts about the published files: five joints in this order; 400 blend shapes, of which the first 300 are identity.
JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
IDENTITY_SHAPES = 300
LICENCE = "FLAME licence: non-commercial, no redistribution"

LANDMARKS = ("landmarks_68_triangles", "landmarks_68_barycentric")
"""Arrays that `faces import` adds to a file: triangle [68] and barycentric coordinates [68, 3] of each landmark."""
_LARGEST_DISTANCE = 0.004
"""Metres between our mean head and FLAME's, at the median, up to which landmarks are carried over."""
CONTROLS = ("expression", "jaw_pose", "neck_pose", "eye_pose")
"""What moves FLAME."""


def read_flame(path: Path) -> FaceModel:
    """Return FLAME from the user's file; see `face_of_file`."""
    return face_of_file(read_model_file(path))


def face_of_file(file: ModelFile) -> FaceModel:
    """Return FLAME as a face model in head space; its expressions are unnamed principal components.

    FLAME's axes are ours (+X the subject's left, +Y up, +Z out of the face, metres); its origin is moved to the height
    of the eyes, 0.104 m behind the tip of the nose; `FaceModel.origin` says where that is. Texture coordinates are in
    other files and stay empty, and so do landmarks, unless `faces import` added them.

    Raises:
        InputError: The file is damaged, or no FLAME file.
    """

    def eye_height(vertices: NDArray[np.float64], joints: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        return float(joints[-2:, 1].mean())

    face = from_published("flame", file, JOINTS, LICENCE, eye_height, IDENTITY_SHAPES)
    return replace(face, landmarks_68=_landmarks_of(file, len(face.faces)))


def landmark_arrays(face: FaceModel) -> dict[str, NDArray]:
    """Return the arrays `LANDMARKS` for a FLAME: those of our own head, carried over; {} if the heads differ too much.

    FLAME's own landmarks come in further files, which not everybody has.
    """
    ours = load_anny_head()
    try:
        registration = register(ours, face)
    except ValueError:
        return {}
    if registration.distance > _LARGEST_DISTANCE:
        return {}
    return dict(zip(LANDMARKS, transferred_landmarks(ours, face, registration), strict=True))


def flame_mesh(
    face: FaceModel, shape: Float[Tensor, "b k"] | None, controls: Mapping[str, Tensor]
) -> tuple[Float[Tensor, "b v 3"], Float[Tensor, "b 68 3"]]:
    """Return posed vertices and the 68 landmarks on them, in FLAME's own frame, metres, the head looking ahead.

    This is what drives Next3D's published weights. The skull stands still: a neck that turns moves what is below it the
    other way. FLAME's frame is head space moved by `FaceModel.origin`.

    Args:
        face: FLAME.
        shape: identity coefficients, any number of the first; None for the mean person.
        controls: "expression" [b, e], any number of the first coefficients; "jaw_pose" and "neck_pose" [b, 3],
            "eye_pose" [b, 6] (left, right), axis-angle, radians. What is missing is neutral; at least one is there.

    Differentiable in shape and controls.

    Raises:
        InputError: the model has no landmarks.
        ValueError: there are more coefficients than the model has, or no control is known.
    """
    if face.landmarks_68 is None:
        raise InputError(
            f'The face model "{face.name}" has no landmarks, so its mouth is not found.',
            "Import it again: `neural-portrait faces import FILE`.",
        )
    known = [controls[name] for name in CONTROLS if name in controls]
    if not known:
        raise ValueError("no control of FLAME is given")
    batch, like = len(known[0]), known[0]

    def of_model(array: NDArray) -> Tensor:
        return torch.from_numpy(array).to(like) if array.dtype.kind == "f" else torch.from_numpy(array)

    directions, coefficients = [of_model(face.shapedirs[:, :, :0])], [like.new_zeros(batch, 0)]
    for basis, values in ((face.shapedirs, shape), (face.expressiondirs, controls.get("expression"))):
        if values is not None:
            if values.shape[1] > basis.shape[2]:
                raise ValueError(f"{values.shape[1]} coefficients for {basis.shape[2]} of {face.name}")
            directions.append(of_model(basis[:, :, : values.shape[1]]))
            coefficients.append(values.expand(batch, -1))
    zero = like.new_zeros(batch, 3)
    eyes = controls.get("eye_pose", like.new_zeros(batch, 6)).split(3, dim=1)
    pose = [zero, controls.get("neck_pose", zero), controls.get("jaw_pose", zero), *eyes]  # as in JOINTS
    posed = lbs(
        torch.cat(coefficients, 1),
        torch.stack(pose, 1),
        of_model(face.v_template),
        torch.cat(directions, 2),
        None if face.posedirs is None else of_model(face.posedirs),
        of_model(face.j_regressor),
        of_model(face.parents),
        of_model(face.weights),
    )
    neck = posed.transforms[:, JOINTS.index("neck")]
    still = (posed.vertices - neck[:, None, :3, 3]) @ neck[:, :3, :3]  # from the right: by the transpose
    vertices = still + of_model(face.origin)
    triangles, barycentric = face.landmarks_68
    corners = vertices[:, of_model(face.faces[triangles]).long()]
    return vertices, torch.einsum("nc,bncd->bnd", of_model(barycentric), corners)


def _landmarks_of(file: ModelFile, triangles: int) -> Embedding | None:
    """Return what `landmark_arrays` added to a file, or None. Raises InputError if it does not fit the mesh."""
    if LANDMARKS[0] not in file.arrays:
        return None
    chosen, barycentric = (file.array(name) for name in LANDMARKS)
    if chosen.shape != (68,) or barycentric.shape != (68, 3) or not 0 <= chosen.min() <= chosen.max() < triangles:
        raise InputError(f'The landmarks in "{file.name}" do not fit its mesh.', "Import it again.")
    return chosen.astype(np.int32), barycentric.astype(np.float32)
