# SPDX-License-Identifier: Apache-2.0
"""Beards: stubble, moustache, goatee or full, as amount and length of the look say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neural_core.human.model import FaceModel
from neural_core.human.surfaces import unit, vertex_normals
from neural_core.records import HAIR
from training.synthetic import regions
from training.synthetic.figure import Fibres, RestFibres
from training.synthetic.hair_field import Skin
from training.synthetic.hair_locks import Locks
from training.synthetic.hair_roots import sample_roots, tangent
from training.synthetic.hair_styles import Style, colours
from training.synthetic.looks import Look
from training.synthetic.regions import smoothstep

_STRANDS = 5200
_STEPS = 9
_MOUTH = np.array([0.0, -0.066, 0.09])


class Beard:
    """Roots and locks of everybody's beard."""

    def __init__(self, model: FaceModel) -> None:
        rng = np.random.default_rng(7)
        self._faces = model.faces[model.parts["skin"]]
        self._roots = sample_roots(model, regions.beard, _STRANDS, rng)
        self._touch = sample_roots(model, lambda p: (p[:, 2] > -0.02) * (p[:, 1] < 0.03) * 1.0, 4000, rng)
        self._locks = Locks(self._roots.places, rng)
        places = self._roots.places
        x, y = np.abs(places[:, 0]), places[:, 1]
        self._full = regions.beard(places)
        lip = smoothstep(-0.0605, -0.0575, y) * smoothstep(0.036, 0.028, x)
        chin = smoothstep(0.030, 0.020, x)
        self._middle = np.maximum(lip, chin)

    def grow(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """The beard; nothing where there is hardly any."""
        locks, places = self._locks, self._roots.places
        strength = float(smoothstep(0.08, 0.75, np.array(look.beard)))
        # A weak beard grows around the mouth only; a strong one reaches the ears.
        reach = float(smoothstep(0.15, 0.85, np.array(look.beard)))
        amount = self._full * (self._middle + (1 - self._middle) * reach)
        chance = 0.75 * locks.chance
        there = smoothstep(chance, chance + 0.25, amount * (0.45 + 0.55 * strength)) * strength
        keep = there > 0.03
        if not keep.any():
            return []
        below = smoothstep(-0.075, -0.105, places[:, 1])
        lengths = look.beard_length * (0.55 + 0.45 * below) * (1 - 0.45 * locks.shorter) * (0.3 + 0.7 * there)
        lengths = lengths * (0.6 + 0.4 * smoothstep(0.055, 0.03, np.abs(places[:, 0])))
        normals = vertex_normals(vertices, self._faces)
        skin = Skin(*self._touch.on(vertices, normals), np.zeros((0, 3)))
        points, outwards = self._roots.on(vertices, normals)
        strands = self._strands(points, outwards, lengths, skin)
        style = Style(length=look.beard_length, clump=0.75, frizz=0.5 + 0.5 * look.wave, coil=look.wave**2)
        strands = locks.wave(locks.gather(strands, lengths, style), lengths, style)
        strands[:, 1:] = skin.push_out(strands[:, 1:], 0.0004)
        radii = 0.00024 * np.sqrt(there)[:, None] * (1 - 0.7 * np.linspace(0, 1, strands.shape[1]) ** 1.5)
        root, tip = colours(look, locks.light, locks.chance)
        fibres = Fibres("beard", strands[keep], radii[keep], root[keep] * 0.9, tip[keep] * 0.85, HAIR)
        return [RestFibres(fibres, self._roots.corners[keep], self._roots.barycentric[keep])]

    def _strands(self, points: NDArray, outwards: NDArray, lengths: NDArray, skin: Skin) -> NDArray:
        x, y = self._roots.places[:, 0], self._roots.places[:, 1]
        # The moustache is combed aside, the rest down and a little forward at the chin.
        lip = (smoothstep(-0.060, -0.056, y) * smoothstep(0.036, 0.028, np.abs(x)))[:, None]
        aside = np.stack([np.tanh(x / 0.006), -0.75 + 0 * x, 0.15 + 0 * x], 1)
        down = np.array([0.0, -1.0, 0.18]) + 0.25 * np.stack([np.tanh(x / 0.03), 0 * x, 0 * x], 1)
        fall = tangent(down * (1 - lip) + aside * lip, outwards)
        path, direction = [points], unit(outwards + 0.9 * fall)
        step = (lengths / _STEPS)[:, None]
        for k in range(_STEPS):
            weight = (k + 1) / _STEPS
            aim = fall * 0.7 + weight * np.array([0.0, -0.9, 0.0]) * (1 - 0.6 * lip) + 0.3 * (1 - weight) * outwards
            direction = unit(0.6 * direction + aim + 0.14 * self._locks.bend)
            points = skin.push_out(points + step * direction, 0.0006)
            path.append(points)
        return np.stack(path, 1)
