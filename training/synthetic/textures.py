# SPDX-License-Identifier: Apache-2.0
"""Skin, painted in numpy: colour and relief of one person over the chart of the head.

Skin has its colour from what melanin and blood absorb (Tsumura et al. 1999, "Independent-component analysis of skin
color image"): every mark on it is a little more or less of one of the two, so the same mark fits light and dark people.
What is fixed (masks, places, noise) is computed once in :class:`SkinChart`; a person's texture is then a few sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from neural_core.human.model import FaceModel
from training.synthetic import folds, regions
from training.synthetic.brows import PAINTED_BROWS
from training.synthetic.chart import PLAIN, SIZE, eye_lines, head_chart, lip_mask
from training.synthetic.figure import Material
from training.synthetic.looks import MOLES, Look

# What one unit takes from red, green and blue: exponents of absorption.
_MELANIN = np.array([0.42, 0.72, 0.95], np.float32)
_BLOOD = np.array([0.10, 0.62, 0.56], np.float32)


class SkinChart:
    """Everything about the skin that is the same for all people.

    Attributes:
        uv: [U, 2] texture coordinates of the model's ``uv_faces``, remapped to the island.
        plain: [2] coordinate of plain skin, for geometry outside the island (neck, lids).
    """

    def __init__(self, model: FaceModel) -> None:
        chart = head_chart(model)
        self.uv, self.plain = chart.uv, PLAIN
        self._places = places = chart.places
        self._hollow = chart.hollow
        rng = np.random.default_rng(11)

        def noise(*widths: float) -> NDArray:
            fields = [_normalised(gaussian_filter(rng.standard_normal(SIZE), width)) for width in widths]
            return _normalised(np.sum(fields, 0)).astype(np.float32)

        self._pores = noise(0.7)
        self._fine = noise(1.0, 2.2)
        self._patterns = np.stack([noise(5.0, 14.0, 30.0) for _ in range(3)])
        self._spots = regions.smoothstep(1.6, 2.6, noise(1.1)).astype(np.float32)
        self._old_spots = regions.smoothstep(1.9, 2.5, noise(4.5)).astype(np.float32)
        self._streaks = _normalised(gaussian_filter(rng.standard_normal(SIZE), (0.7, 2.2))).astype(np.float32)
        self._moles = _moles(places, rng)
        self._veins = np.exp(-((noise(4.0) / 0.10) ** 2)).astype(np.float32)
        self._lips = (lip_mask() * chart.covered).astype(np.float32)
        self._lashes, self._lower_lashes, self._lid = (m.astype(np.float32) for m in eye_lines(model, places))
        self._zones(chart.covered)
        self._lines(noise(9.0))
        plain = np.zeros(SIZE, bool)
        plain[-8:, :8] = True
        self._plain = plain

    def _zones(self, covered: NDArray) -> None:
        places, bump = self._places, lambda *at: regions.bump(self._places, *at).astype(np.float32)
        self._cheeks = bump((0.046, -0.036, 0.066), (0.024, 0.018, 0.03))
        self._nose = np.maximum(bump((0.0, -0.040, 0.102), 0.013), 0.8 * bump((0.014, -0.045, 0.088), 0.008))
        self._chin = bump((0.0, -0.105, 0.085), (0.016, 0.011, 0.02))
        self._ears = ((1 - regions.off_ear(places)) * covered).astype(np.float32)
        self._forehead = bump((0.0, 0.045, 0.085), (0.04, 0.018, 0.04))
        self._socket = bump((0.029, 0.009, 0.074), (0.017, 0.009, 0.02))
        self._inner = bump((0.0165, 0.001, 0.073), (0.006, 0.009, 0.012))
        self._bag = bump((0.028, -0.0155, 0.074), (0.014, 0.006, 0.02))
        self._contour = bump((0.062, -0.055, 0.035), (0.02, 0.03, 0.03))
        self._oily = np.clip(
            bump((0.0, 0.040, 0.085), (0.028, 0.022, 0.04)) + bump((0.0, -0.02, 0.095), (0.012, 0.026, 0.03)), 0, 1
        )
        self._oily = np.clip(self._oily + 0.6 * self._chin + 0.35 * self._cheeks, 0, 1)
        self._freckled = np.clip(bump((0.035, -0.028, 0.08), (0.035, 0.03, 0.05)) * 1.6, 0, 1)
        self._beard = (regions.beard(places) * (1 - self._lips)).astype(np.float32)

    def _lines(self, wander: NDArray) -> None:
        places = self._places
        self._young_lines = (0.45 * folds.smile_folds(places) + 0.4 * folds.eye_bags(places)).astype(np.float32)
        self._old_lines = (
            0.9 * folds.smile_folds(places)
            + 0.9 * folds.eye_bags(places)
            + 0.7 * folds.mouth_corners(places)
            + folds.forehead_lines(places, wander)
            + 0.7 * folds.frown_lines(places)
            + folds.crows_feet(places)
        ).astype(np.float32)
        # Lips have furrows across them, closer than a texel can show well: a wavy comb over the width of the mouth.
        phase = 2 * np.pi * places[..., 0] / 0.0023 + 1.6 * wander
        self._furrows = ((0.6 + 0.4 * np.tanh(wander)) * np.cos(phase)).astype(np.float32) * self._lips
        gap = np.abs(places[..., 1] + 0.0735 + 6.0 * places[..., 0] ** 2)
        self._closure = (regions.smoothstep(0.0035, 0.0008, gap) * self._lips).astype(np.float32)

    def material(self, look: Look, scalp: float = 0.6) -> Material:
        """The skin of a person with this look; ``scalp`` as for :meth:`paint`."""
        return Material("skin", look.skin, self.paint(look, scalp), 0.5, self.relief(look))

    def paint(self, look: Look, scalp: float = 0.6) -> NDArray[np.float32]:
        """Skin texture [rows, columns, 3], linear RGB, first row at the top.

        Args:
            look: What the person looks like.
            scalp: How much of the hair's colour lies on the skin where hair grows, 0..1 (``hair_styles.scalp_shade``).
        """
        pattern = np.tensordot(look.blotches.astype(np.float32), self._patterns, 1)
        lines = self._depth(look)
        bare = 1 - self._lips
        melanin = 0.04 * pattern + 0.025 * self._fine + 0.03 * self._pores * self._oily
        melanin += 0.5 * look.freckles * self._spots * self._freckled
        melanin += 0.5 * look.wrinkles**2 * self._old_spots
        melanin += np.tensordot(look.moles.astype(np.float32), self._moles, 1)
        melanin += (0.10 + 0.12 * look.wrinkles) * self._bag + (0.18 + 0.40 * look.eye_shade) * self._socket
        melanin += 0.20 * self._inner + 0.10 * self._contour - 0.05 * self._forehead
        melanin += 0.30 * self._hollow + 0.22 * lines
        melanin *= bare
        blood = 0.055 * np.roll(pattern, 37, 0) + 0.03 * self._fine - 0.08 * self._forehead
        blood += (0.10 + 0.36 * look.redness) * (self._cheeks + 0.9 * self._nose + 0.35 * self._chin)
        blood += (0.20 + 0.30 * look.redness) * self._ears + 0.35 * self._lid
        blood += 0.14 * self._bag + 0.20 * self._inner + 0.12 * self._socket
        blood += 0.40 * self._hollow + 0.20 * lines
        blood += 0.05 * self._veins * (self._bag + 0.4 * self._cheeks)
        blood *= bare
        colour = look.skin.astype(np.float32) * np.exp(-melanin[..., None] * _MELANIN - blood[..., None] * _BLOOD)

        shade = 1 + 0.05 * self._fine + 0.10 * self._furrows - 0.45 * self._closure - 0.15 * self._hollow
        colour = _blend(colour, look.lips * shade[..., None], look.lip_strength * self._lips)
        stubble = look.beard * self._beard * (0.62 + 0.20 * self._pores)
        shadow = 0.20 * look.masculinity * self._beard * (1 + 0.35 * self._pores)
        colour = _blend(colour, look.hair * 0.9 + 0.02, np.clip(stubble + shadow, 0, 0.85))
        roots = regions.scalp(self._places, look, soft=0.012) * scalp * (1 + 0.03 * self._fine)
        colour = _blend(colour, look.hair * 0.62, np.clip(roots, 0, 0.96))
        # Hairs of their own grow on the brows; what is painted is the shadow between them.
        brows = PAINTED_BROWS * regions.brow(self._places, look) * look.brow_strength * (0.92 + 0.10 * self._streaks)
        colour = _blend(colour, _brow_colour(look), np.clip(brows, 0, 0.97))
        lash_colour = 0.25 * np.minimum(look.hair, 0.08) + 0.006
        lashes = (0.55 + 0.35 * look.eye_shade) * self._lashes + (0.20 + 0.25 * look.eye_shade) * self._lower_lashes
        colour = _blend(colour, lash_colour, np.clip(lashes, 0, 1))
        colour[self._plain] = look.skin
        return np.clip(colour, 0.0, 1.0).astype(np.float32)

    def relief(self, look: Look) -> NDArray[np.float32]:
        """Height in millimetres and roughness [rows, columns, 2]."""
        height = 0.018 * self._pores * (0.4 + self._oily) + 0.012 * self._fine + 0.06 * self._furrows
        height = height - 0.55 * self._depth(look) + 0.12 * look.moles.max() * self._moles.max(0)
        rough = 0.54 - 0.16 * self._oily + 0.03 * self._fine - 0.08 * self._lid + 0.05 * look.wrinkles
        rough = rough + (0.40 - rough) * self._lips + 0.10 * look.beard * self._beard
        relief = np.stack([height, np.clip(rough, 0.3, 0.75)], -1)
        relief[self._plain] = 0.0, 0.52
        return relief.astype(np.float32)

    def _depth(self, look: Look) -> NDArray:
        """Depth of lines and folds, around 0..1."""
        return self._young_lines + look.wrinkles * self._old_lines


def _moles(places: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Spots [MOLES, rows, columns] of 1 to 2 mm, most of them on the cheeks, the jaw and the neck; on one side only."""
    spots = []
    for _ in range(MOLES):
        x, y = rng.uniform(-0.06, 0.06), rng.uniform(-0.10, 0.05)
        distance = np.hypot(places[..., 0] - x, places[..., 1] - y)
        spots.append(regions.smoothstep(1.35, 0.75, distance / rng.uniform(0.0008, 0.0016)) * (places[..., 2] > 0))
    return np.stack(spots).astype(np.float32)


def _brow_colour(look: Look) -> NDArray:
    return 0.42 * np.minimum(look.hair, 0.22) + 0.07 * look.skin * np.array([0.6, 0.4, 0.3])


def _blend(colour: NDArray, other: NDArray, amount: NDArray) -> NDArray[np.float32]:
    return colour + (np.asarray(other, np.float32) - colour) * amount[..., None].astype(np.float32)


def _normalised(field: NDArray) -> NDArray:
    return (field - field.mean()) / field.std()
