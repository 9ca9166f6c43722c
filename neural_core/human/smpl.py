# SPDX-License-Identifier: Apache-2.0
"""SMPL (Loper et al. 2015) in our layout, from the files that the user has registered for.

SMPL's files are non-commercial and are never shipped. FLAME's files have the same layout (``flame.py``), so the part
that both share is here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .model import FaceModel
from .model_files import ModelFile, read_model_file

# Facts about the published files: 24 joints in this order.
JOINTS = (
    *("root", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hand", "right_hand"),
)
LICENCE = "SMPL licence: non-commercial, no redistribution"
# Metres from the tip of the nose back to the origin of head space; human/anny.py defines the space by it.
EYES_BEHIND_NOSE = 0.104

# Gives the height of the eyes from the vertices [V, 3], the joints [J, 3] and the skinning weights [V, J].
EyeHeight = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], float]


def read_smpl(path: Path) -> FaceModel:
    """Return SMPL as a model in head space, with the whole body and no expressions.

    SMPL's axes are ours; its origin is moved to the middle of the height of the head, taken as the height of the eyes,
    0.104 m behind the tip of the nose.

    Raises:
        InputError: The file is missing, damaged, or no SMPL file.
    """

    def eye_height(vertices: NDArray[np.float64], joints: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        head = vertices[weights[:, JOINTS.index("head")] > 0.5]
        return float((head[:, 1].min() + head[:, 1].max()) / 2)

    return from_published("smpl", read_model_file(path), JOINTS, LICENCE, eye_height)


def from_published(
    name: str,
    file: ModelFile,
    joint_names: tuple[str, ...],
    licence: str,
    eye_height: EyeHeight,
    identity: int | None = None,
) -> FaceModel:
    """Return a published model of SMPL's layout in ours.

    Args:
        name: Name of the model.
        file: Its arrays: ``v_template`` [V, 3], ``shapedirs`` [V, 3, B], ``posedirs`` [V, 3, 9 (J - 1)],
            ``J_regressor`` [J, V], ``weights`` [V, J], ``kintree_table`` [2, J] and ``f`` [F, 3].
        joint_names: What its J joints are called.
        licence: Licence of the data.
        eye_height: See ``EyeHeight``; the origin of head space lies there.
        identity: How many of the B blend shapes are identity, the others being expressions; None if all are.

    Raises:
        InputError: An array is missing or has another shape.
    """
    template = _shaped(file, "v_template", (None, 3)).astype(np.float64)
    vertices, joints = len(template), len(joint_names)
    directions = _shaped(file, "shapedirs", (vertices, 3, None)).astype(np.float32)
    correctives = _shaped(file, "posedirs", (vertices, 3, 9 * (joints - 1)))
    regressor = _shaped(file, "J_regressor", (joints, vertices)).astype(np.float64)
    weights = _shaped(file, "weights", (vertices, joints)).astype(np.float64)
    faces = _shaped(file, "f", (None, 3)).astype(np.int32)
    # The root's parent is written as the largest unsigned integer.
    parents = _shaped(file, "kintree_table", (2, joints))[0].astype(np.int64).astype(np.int32)
    parents[0] = -1
    if (
        (parents[1:] < 0).any()
        or (parents[1:] >= np.arange(1, joints)).any()
        or faces.min() < 0
        or faces.max() >= vertices
    ):
        raise InputError(f'"{file.name}" has a tree or triangles that point outside.', "Is the file damaged?")
    nose = template[:, 2].max() - EYES_BEHIND_NOSE
    origin = np.array([0.0, eye_height(template, regressor @ template, weights), nose])
    split = directions.shape[2] if identity is None else min(identity, directions.shape[2])
    return FaceModel(
        name=name,
        v_template=(template - origin).astype(np.float32),
        shapedirs=directions[:, :, :split],
        expressiondirs=directions[:, :, split:],
        expression_names=tuple(f"expression{i:03d}" for i in range(directions.shape[2] - split)),
        posedirs=correctives.reshape(vertices * 3, -1).T.astype(np.float32),
        j_regressor=regressor.astype(np.float32),
        parents=parents,
        joint_names=joint_names,
        weights=weights.astype(np.float32),
        faces=faces,
        uv=np.zeros((0, 2), np.float32),
        uv_faces=np.zeros((0, 3), np.int32),
        licence=licence,
        source=f"{file.name}, sha256 {file.sha256}",
        origin=origin.astype(np.float32),
    )


def _shaped(file: ModelFile, key: str, shape: tuple[int | None, ...]) -> NDArray:
    """Return an array of the file after checking its shape; None stands for any size."""
    array = file.array(key)
    if len(array.shape) != len(shape) or any(w not in (None, a) for a, w in zip(array.shape, shape, strict=True)):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        found = " x ".join(map(str, array.shape))
        raise InputError(f'"{key}" in "{file.name}" is {found}, not {wanted}.', "Is it a file of this face model?")
    return array
