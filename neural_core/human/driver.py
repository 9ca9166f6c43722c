# SPDX-License-Identifier: Apache-2.0
"""The driving mesh as a picture in the frame's own camera: the "synthetic rendering" of Next3D (Sun et al. 2023).

A correspondence image of the whole head, without identity beyond its geometry: skin and the inside of the mouth have
the colour of their place on the mean head, the whites of the eyes are white and irises black, so that gaze is seen.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..cameras import Camera
from ..ops.rasterize import interpolate, rasterize
from ..records import HEAD_TO_MODEL
from .model import FaceModel
from .pncc import coordinate_code, in_picture

_IRIS_CENTRES = (468, 473)
"""MediaPipe's landmarks in the middle of the right and the left iris."""
_IRIS_RADIUS = 0.0063
_SOFT = 0.0006
"""Metres over which the edge of the iris fades."""


def driver(
    model: FaceModel, vertices: Float[Tensor, "b v 3"], camera: Camera, size: int = 128
) -> Float[Tensor, "b 3 size size"]:
    """Return the driving mesh in 0..1; 0 where it is not.

    Args:
        model: the face model.
        vertices: its posed vertices (the eyes turned), head space, metres.
        camera: the frame's, model space as EG3D's labels.
        size: side of the pictures in pixels.

    Deterministic; no gradient.
    """
    drawn = ~model.parts["eye_cavities"]
    faces = torch.from_numpy(model.faces[drawn]).to(vertices.device)
    seen = rasterize(in_picture(HEAD_TO_MODEL * vertices, camera), faces, size, perspective=True)
    code = coordinate_code(model, drawn)
    mean = torch.from_numpy(model.v_template[model.faces[drawn]])
    picture = interpolate(seen, torch.cat([code, mean], -1)[None].to(vertices.device))
    picture, place = picture[..., :3], picture[..., 3:]

    eye = torch.from_numpy((model.parts["left_eye"] | model.parts["right_eye"])[drawn]).to(vertices.device)
    eye = eye[seen.triangle.long().clamp(min=0)] & seen.covered
    centres = torch.from_numpy(model.landmarks(model.v_template, "478")[list(_IRIS_CENTRES)]).to(place)
    distance = (place[..., None, :] - centres).norm(dim=-1).amin(-1)
    white = ((distance - _IRIS_RADIUS) / _SOFT + 0.5).clamp(0, 1)
    return torch.where(eye[..., None], white[..., None], picture).movedim(-1, 1)
