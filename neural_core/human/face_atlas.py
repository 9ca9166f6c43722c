# SPDX-License-Identifier: Apache-2.0
"""The moving part of the face model, and a texture for it alone.

What expressions move is the face's skin, the eyes and the inside of the mouth; ears, scalp and neck stand still in head
space. The model's own texture coordinates leave these a twentieth of a picture, and the eyes next to nothing, so each
piece is given its own rectangle here: the face the upper three quarters, the others a square each below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .model import FaceModel
from .pncc import face_margin, face_triangles

_BELOW = ("left_eye", "right_eye", "mouth", "tongue")
_FACE_ROWS = 0.75
"""Share of the texture's rows that the face has."""
_GUTTER = 1 / 64
"""Kept free around every piece, so that no piece is seen through another's edge; a share of the texture."""
_FEATHER = 0.012
"""Metres within the face's outline over which it gains its full say."""


@dataclass(frozen=True)
class FaceAtlas:
    """Triangles that move, and where their texture lies."""

    faces: Int[Tensor, "f 3"]
    """Triangles, as rows of the model's vertices."""
    corner_uv: Float[Tensor, "f 3 2"]
    """Column and row in the texture of their corners, -1..1, the first row at the top."""
    corner_places: Float[Tensor, "f 3 3"]
    """The same corners on the mean head, metres."""
    corner_say: Float[Tensor, "f 3 1"]
    """How much of what is seen at a corner is the moving face's, 0..1: it fades towards the face's outline."""

    @classmethod
    def of(cls, model: FaceModel) -> FaceAtlas:
        """Return the atlas of a face model."""
        pieces = [(face_triangles(model), (0.0, 0.0, 1.0, _FACE_ROWS))]
        for number, name in enumerate(_BELOW):
            pieces.append((_seen(model, name), (number / 4, _FACE_ROWS, 1 / 4, 1 - _FACE_ROWS)))
        chosen = np.concatenate([np.flatnonzero(piece) for piece, _ in pieces])
        uv = np.concatenate([_placed(model.uv[model.uv_faces[piece]], where) for piece, where in pieces])
        places = model.v_template[model.faces[chosen]]
        say = (face_margin(places.reshape(-1, 3)) / _FEATHER).clip(0, 1).reshape(-1, 3, 1)
        say[~model.parts["skin"][chosen]] = 1.0
        arrays = (model.faces[chosen].astype(np.int64), uv.astype(np.float32), places, say.astype(np.float32))
        return cls(*map(torch.from_numpy, arrays))


def _seen(model: FaceModel, name: str) -> Bool[np.ndarray, " f"]:
    """Return the triangles of a part; of an eyeball those before its centre, since nobody sees the others."""
    part = model.parts[name]
    if name not in model.joint_names:
        return part
    centre = model.joints(model.v_template)[model.joint_names.index(name)]
    return part & (model.v_template[model.faces].mean(1)[:, 2] > centre[2])


def _placed(uv: Float[np.ndarray, "f 3 2"], where: tuple[float, float, float, float]) -> Float[np.ndarray, "f 3 2"]:
    """Return texture coordinates stretched over a rectangle (left, top, width, height; 0..1), as -1..1."""
    low, high = uv.min((0, 1)), uv.max((0, 1))
    unit = (uv - low) / (high - low)
    unit[..., 1] = 1 - unit[..., 1]  # v grows upwards, rows downwards
    corner, size = np.array(where[:2]) + _GUTTER, np.array(where[2:]) - 2 * _GUTTER
    return 2 * (corner + unit * size) - 1
