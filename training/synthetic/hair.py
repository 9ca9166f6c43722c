# SPDX-License-Identifier: Apache-2.0
"""A person's hair, beard, brows and lashes as strands, in numpy.

All people share one set of roots (places on the mean head), one division into locks and one noise; what differs is the
comb. Without a named style the comb is a smooth function of the look, so that a network can learn hair from the code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neural_core.human.model import FaceModel
from neural_core.human.surfaces import vertex_normals
from neural_core.records import HAIR, JOINTS
from training.synthetic import regions
from training.synthetic.beard import Beard
from training.synthetic.brows import Brows, Lashes
from training.synthetic.figure import Fibres, RestFibres
from training.synthetic.hair_field import Skin
from training.synthetic.hair_growth import grow, lengths_of, resampled
from training.synthetic.hair_locks import Locks
from training.synthetic.hair_roots import sample_roots
from training.synthetic.hair_styles import STYLES, Style, colours, likely_styles, natural_style, worn
from training.synthetic.hair_ties import gathered, tie_of, wound
from training.synthetic.looks import Look
from training.synthetic.regions import smoothstep

__all__ = ["STYLES", "Comb", "likely_styles"]

_STEPS = 20
_POINTS = 36
_LONG = 0.10  # metres: longer hair lies on neck and shoulders
_THICKNESS = 0.00030  # metres, radius when there are 10,000 strands


class Comb:
    """Everything about hair that is the same for all people; the methods make a person's."""

    def __init__(self, model: FaceModel, strands: int = 10000) -> None:
        """Plant the roots.

        Args:
            model: The face model that hair grows on.
            strands: How many on a full head; fewer are thicker.
        """
        rng = np.random.default_rng(5)
        self._faces = model.faces[model.parts["skin"]]
        self._roots = sample_roots(
            model, lambda p: (regions.above_hairline(p) > -0.004) * regions.off_ear(p), strands, rng
        )
        self._touch = sample_roots(model, lambda p: np.ones(len(p)), 9000, rng)
        self._locks = Locks(self._roots.places, rng)
        self._edge = 0.0035 * _bumps(self._roots.places)
        self._thickness = _THICKNESS * (10000 / strands) ** 0.6
        self._beard, self._brows, self._lashes = Beard(model), Brows(model), Lashes(model)

    def hair(self, vertices: NDArray, body: NDArray, look: Look, style: str | None = None) -> list[RestFibres]:
        """A person's hair; nothing if the style is ``bald``.

        Args:
            vertices: [V, 3] of the person's head.
            body: [m, 3] further points that hair lies on (neck and shoulders).
            look: The person's look.
            style: One of ``STYLES``, or None for the style that follows the look continuously.
        """
        if style == "bald":
            return []
        chosen = natural_style(look) if style is None else worn(style, look)
        normals = vertex_normals(vertices, self._faces)
        skin = Skin(*self._touch.on(vertices, normals), body)
        points, outwards = self._roots.on(vertices, normals)
        there = self._growth(look, chosen)
        if chosen.tie:
            strands = gathered(points, chosen, self._locks, skin)
            lengths = np.linalg.norm(np.diff(strands, axis=1), axis=-1).sum(1)
        else:
            lengths = lengths_of(self._roots.places, chosen, self._locks) * (0.35 + 0.65 * there)
            steps, count = (_STEPS, _POINTS) if style is None else _detail(chosen)
            strands = grow(points, outwards, lengths, chosen, self._locks, skin, steps)
            strands = resampled(strands, count)
        strands = self._locks.gather(strands, lengths, chosen)
        strands = self._locks.wave(strands, lengths, chosen)
        strands[:, 2:] = skin.push_out(strands[:, 2:], 0.0006)
        keep = there > 0.02
        found = [self._rest(strands, lengths, there, keep, look, vertices)]
        if chosen.tie == "bun":
            found.append(self._bun(vertices, chosen, skin, look))
        return found

    def beard(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """A person's beard; no strands where there is hardly any."""
        return self._beard.grow(vertices, look)

    def brows(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """A person's eyebrows."""
        return self._brows.grow(vertices, look)

    def lashes(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """A person's eyelashes, upper and lower."""
        return self._lashes.grow(vertices, look)

    def _growth(self, look: Look, style: Style) -> NDArray:
        """How strongly each root grows, 0..1: hairs thin out one by one towards the hairline and at the parting."""
        places = self._roots.places.copy()
        places[:, 1] += self._edge
        amount = regions.scalp(places, look, soft=0.014)
        behind = smoothstep(48.0, 62.0, regions.front_angle(places)) * smoothstep(0.080, 0.042, places[:, 1])
        amount = amount * (1 - style.rim * (1 - behind))
        line = np.exp(-(((places[:, 0] - style.parting) / 0.0013) ** 2)) * smoothstep(0.060, 0.085, places[:, 1])
        line = line * smoothstep(-0.045, -0.005, places[:, 2])
        amount = amount * (1 - 0.85 * line * smoothstep(0.3, 0.8, np.array(style.parted)))
        chance = 0.8 * self._locks.chance
        return smoothstep(chance, chance + 0.2, amount)

    def _rest(self, strands, lengths, there, keep, look: Look, vertices: NDArray) -> RestFibres:
        taper = 1 - 0.75 * np.linspace(0, 1, strands.shape[1]) ** 1.5
        thickness = (
            self._thickness
            * (0.8 + 0.4 * np.clip(lengths / 0.1, 0, 1) + 0.4 * np.exp(-lengths / 0.006))
            * np.sqrt(there)
        )
        uncut = 1 - np.maximum.accumulate(_face_window(strands, vertices), axis=1)
        radii = thickness[:, None] * taper * uncut
        root, tip = colours(look, self._locks.light, self._locks.chance)
        fibres = Fibres("hair", strands[keep], radii[keep], root[keep], tip[keep], HAIR)
        weights = _weights(fibres.points) if lengths.max() > _LONG else None
        return RestFibres(fibres, self._roots.corners[keep], self._roots.barycentric[keep], weights)

    def _bun(self, vertices: NDArray, style: Style, skin: Skin, look: Look) -> RestFibres:
        rng = np.random.default_rng(6)
        strands = wound(style, skin, rng)
        count, points, _ = strands.shape
        radii = np.tile(1.3 * self._thickness * np.linspace(1, 0.6, points), (count, 1))
        root, tip = colours(look, rng.standard_normal(count), rng.random(count))
        centres = vertices[self._faces].mean(1)
        corners = self._faces[KDTree(centres).query(tie_of(style, skin)[0])[1]]
        fibres = Fibres("bun", strands, radii, root, tip, HAIR)
        return RestFibres(fibres, np.tile(corners, (count, 1)).astype(np.int32), np.full((count, 3), 1 / 3))


def _detail(style: Style) -> tuple[int, int]:
    """Steps of growth, and points of a strand: as many as its length and waves need."""
    steps = 8 if style.length < 0.03 else 14 if style.length < 0.13 else 24
    turns = style.length / style.wavelength if style.wave > 0.002 else 0.0
    return steps, int(np.clip(6 * turns, steps + 1, 48))


def _weights(points: NDArray) -> NDArray[np.float64]:
    """Skinning weights [n, p, 10]: near the scalp as the head moves, on the shoulders as the shoulders do."""
    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    arc = np.concatenate([np.zeros((len(points), 1)), np.cumsum(steps, 1)], 1)
    away = smoothstep(0.02, 0.14, arc)
    neck = away * smoothstep(-0.075, -0.17, points[..., 1])
    root = away * smoothstep(-0.13, -0.25, points[..., 1])
    collar = root * 0.6 * smoothstep(-0.17, -0.23, points[..., 1])
    left = collar * smoothstep(0.03, 0.10, points[..., 0])
    right = collar * smoothstep(-0.03, -0.10, points[..., 0])
    weights = np.zeros((*points.shape[:2], len(JOINTS)))
    shares = {
        "head": 1 - neck,
        "neck": neck - root * neck,
        "root": neck * root - (left + right) * neck,
        "left_collar": left * neck,
        "right_collar": right * neck,
    }
    for name, share in shares.items():
        weights[..., JOINTS.index(name)] = share
    return weights


def _face_window(points: NDArray, vertices: NDArray) -> NDArray:
    """1 in front of eyes, nose and mouth of the person with these vertices: strands are cut where they enter."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    window = smoothstep(0.064, 0.055, x) * smoothstep(0.026, 0.018, y)
    return window * smoothstep(0.020, 0.032, z)


def _bumps(places: NDArray) -> NDArray:
    """Unevenness of the hairline, about -1..1, smooth over centimetres."""
    waves = ((310.0, 170.0, 90.0), (-220.0, 260.0, 330.0), (520.0, -340.0, 460.0))
    return np.sin(places @ np.array(waves).T + np.arange(3)).mean(-1)
