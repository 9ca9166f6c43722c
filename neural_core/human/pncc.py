# SPDX-License-Identifier: Apache-2.0
"""Projected normalised coordinate code: the moving face as a picture (Zhu et al. 2016; Real3D-Portrait's motion input).

Every point of the face has the colour of its place on the mean face, 0..1 along each axis, whatever the face does; so a
picture of it says where each point of the face went. It is drawn in a camera straight in front of the head and shows
the face alone: eyes and the opened mouth are holes, and there are no ears and nothing behind them.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ..cameras import Camera, orbit
from ..ops.rasterize import interpolate, rasterize
from ..records import HEAD_TO_MODEL
from .model import FaceModel


def pncc(
    model: FaceModel, vertices: Float[Tensor, "b v 3"], camera: Camera | None = None, size: int = 128
) -> Float[Tensor, "b 3 size size"]:
    """Return the code of a face in 0..1; 0 where there is no face.

    Args:
        model: the face model.
        vertices: its posed vertices, head space, metres.
        camera: where it is looked at from, model space as EG3D's labels; straight from the front if not given.
        size: side of the pictures in pixels.

    Deterministic; no gradient.
    """
    mask = face_triangles(model)
    corners = coordinate_code(model, mask)[None]
    faces = torch.from_numpy(model.faces[mask]).to(vertices.device)
    places = in_picture(HEAD_TO_MODEL * vertices, orbit() if camera is None else camera)
    seen = rasterize(places, faces, size, perspective=True)
    return interpolate(seen, corners.to(vertices.device)).movedim(-1, 1)


def face_triangles(model: FaceModel) -> NDArray[np.bool_]:
    """Return which triangles [F] of the model are its face: the skin before the ears and above the throat."""
    return model.parts["skin"] & (face_margin(model.v_template[model.faces].mean(1)) > 0)


def face_margin(places: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Return how far places on the mean head lie within the face, about in metres; negative outside it."""
    _, y, z = np.moveaxis(places, -1, 0)
    before_ears = z - (0.012 - 0.4 * np.maximum(y - 0.05, 0))
    off_throat = np.maximum(y + 0.10, z - 0.05)
    return np.minimum(before_ears, off_throat)


def coordinate_code(model: FaceModel, mask: Bool[np.ndarray, " f"]) -> Float[Tensor, "k 3 3"]:
    """Return the code of the corners of some triangles: mean-head coordinates, 0..1 over these triangles."""
    places = model.v_template[model.faces[mask]]
    low, high = places.min((0, 1)), places.max((0, 1))
    return torch.from_numpy((places - low) / (high - low))


def in_picture(points: Float[Tensor, "b n 3"], camera: Camera) -> Float[Tensor, "b n 3"]:
    """Return points as `rasterize` takes them: x, y (-1..1 over the picture, y down) and depth."""
    rotation, position = camera.cam2world[:, :3, :3].to(points), camera.cam2world[:, None, :3, 3].to(points)
    in_camera = (points - position) @ rotation
    pixels = in_camera @ camera.intrinsics.to(points).transpose(1, 2)
    return torch.cat([2 * pixels[..., :2] / pixels[..., 2:] - 1, in_camera[..., 2:]], -1)
