# SPDX-License-Identifier: Apache-2.0
"""The fitted mesh over the picture, for people to judge the fit by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..cameras import Camera
from ..human.landmarks import MEDIAPIPE_OF_68
from ..human.model import FaceModel
from ..human.pncc import in_picture
from ..human.surfaces import vertex_normals
from ..ops.rasterize import rasterize
from ..records import HEAD_TO_MODEL

_TINT = np.array([120.0, 190.0, 255.0])  # of the mesh
_COVER = 0.5  # how much of the picture the mesh hides at most
_DOT, _DOT_68 = np.array([255.0, 225.0, 60.0]), np.array([255.0, 70.0, 90.0])


@dataclass(frozen=True)
class Sight:
    """What is seen of a mesh, h x w pixels."""

    triangle: NDArray[np.int64]
    """[h, w] number of the triangle, -1 where there is none."""
    barycentric: NDArray[np.float64]
    """[h, w, 3] of the place that is seen."""
    depth: NDArray[np.float64]
    """[h, w] distance along the ray in model units; 0 where nothing is."""


def see(model: FaceModel, vertices: NDArray[np.floating], camera: NDArray[np.floating], size: int) -> Sight:
    """Return what a camera sees of a posed face.

    Args:
        model: the face model.
        vertices: [V, 3] its vertices, head space, metres.
        camera: [25] EG3D's label.
        size: side of the picture in pixels.
    """
    camera_of = Camera.from_label(torch.from_numpy(np.asarray(camera, np.float64))[None])
    points = torch.from_numpy(np.asarray(vertices, np.float64) * HEAD_TO_MODEL)[None]
    seen = rasterize(in_picture(points, camera_of), torch.from_numpy(model.faces), size, perspective=True)
    centres = (np.arange(size) + 0.5) / size
    intrinsics = camera_of.intrinsics[0].numpy()
    x = (centres - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (centres - intrinsics[1, 2]) / intrinsics[1, 1]
    slant = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    return Sight(
        seen.triangle[0].numpy().astype(np.int64),
        seen.barycentric[0].double().numpy(),
        seen.depth[0].double().numpy() * slant,
    )


def overlay(
    model: FaceModel,
    vertices: NDArray[np.floating],
    camera: NDArray[np.floating],
    picture: NDArray[np.uint8],
    points: NDArray[np.floating],
) -> NDArray[np.uint8]:
    """Return the picture [s, s, 3] with the shaded mesh half-transparent over it and the detected landmarks as dots.

    Where the dots lie on the mesh's eyes, lips and chin, the fit is good. iBUG's 68 are red, the others yellow.

    Args:
        model: the face model.
        vertices: [V, 3] its fitted vertices, head space.
        camera: [25] the fitted camera.
        picture: [s, s, 3].
        points: [478, 2] detected landmarks in 0..1 of the picture.
    """
    size = len(picture)
    seen = see(model, vertices, camera, size)
    shade = _shading(model, vertices, camera, seen)
    covered = (seen.triangle >= 0)[..., None]
    # Dark where the surface turns away, so that the outline and the nose are seen against the picture.
    mesh = _TINT * shade[..., None]
    drawn = np.where(covered, picture + _COVER * (mesh - picture), picture)
    others = np.setdiff1d(np.arange(len(points)), MEDIAPIPE_OF_68)
    drawn = _dots(drawn, points[others], _DOT, size / 640)
    drawn = _dots(drawn, points[list(MEDIAPIPE_OF_68)], _DOT_68, size / 320)
    return np.rint(np.clip(drawn, 0, 255)).astype(np.uint8)


def _shading(
    model: FaceModel, vertices: NDArray[np.floating], camera: NDArray[np.floating], seen: Sight
) -> NDArray[np.float64]:
    """Return how bright every pixel [h, w] is in light from beside the camera, 0..1."""
    normals = vertex_normals(vertices, model.faces)
    triangle = np.maximum(seen.triangle, 0)
    normal = (normals[model.faces[triangle]] * seen.barycentric[..., None]).sum(-2)
    pose = np.asarray(camera[:16], np.float64).reshape(4, 4)[:3, :3]
    light = pose @ np.array([-0.35, -0.45, -0.82])  # from the upper left, behind the camera
    return 0.25 + 0.75 * np.clip(normal @ light, 0, 1)


def _dots(
    picture: NDArray[np.floating], points: NDArray[np.floating], colour: NDArray[np.float64], radius: float
) -> NDArray[np.floating]:
    """Return the picture with soft dots at points [n, 2] (0..1), radius in pixels."""
    size = len(picture)
    cover = np.zeros((size, size))
    reach = int(np.ceil(radius + 1))
    for x, y in points * size:
        left, top = int(x) - reach, int(y) - reach
        columns = np.arange(max(left, 0), min(left + 2 * reach + 1, size))
        rows = np.arange(max(top, 0), min(top + 2 * reach + 1, size))
        distance = np.hypot(columns[None, :] + 0.5 - x, rows[:, None] + 0.5 - y)
        part = np.ix_(rows, columns)
        cover[part] = np.maximum(cover[part], np.clip(radius + 0.5 - distance, 0, 1))
    return picture + cover[..., None] * (colour - picture)
