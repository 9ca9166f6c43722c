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
from torch.nn import functional as F

from ..ops.rasterize import interpolate, rasterize
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

    def places(self, resolution: int) -> Float[Tensor, "t t 3"]:
        """Return where on the mean head every texel lies, metres; 0 for those far from any piece."""
        return self._spread(self.corner_places, resolution)

    def say(self, resolution: int) -> Float[Tensor, "1 1 t t"]:
        """Return `corner_say` for every texel."""
        return self._spread(self.corner_say, resolution).movedim(-1, 0)[None]

    def _spread(self, values: Float[Tensor, "f 3 c"], resolution: int) -> Float[Tensor, "t t c"]:
        """Return what is known at corners for every texel, and a few texels beyond the edges of the pieces."""
        corners = F.pad(self.corner_uv, (0, 1), value=1.0).reshape(1, -1, 3)
        triangles = torch.arange(corners.shape[1]).reshape(-1, 3)
        seen = rasterize(corners, triangles, resolution)
        picture = interpolate(seen, values[None]).movedim(-1, 1)
        return _grown(picture, seen.covered[:, None])[0].movedim(0, -1)


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


def _grown(
    picture: Float[Tensor, "1 c t t"], known: Bool[Tensor, "1 1 t t"], steps: int = 3
) -> Float[Tensor, "1 c t t"]:
    """Return the picture with unknown pixels near known ones as the mean of their known neighbours."""
    for _ in range(steps):
        share = F.avg_pool2d(known.to(picture.dtype), 3, stride=1, padding=1)
        near = F.avg_pool2d(picture * known, 3, stride=1, padding=1) / share.clamp(min=1e-6)
        picture = torch.where(known, picture, near)
        known = known | (share > 0)
    return picture
