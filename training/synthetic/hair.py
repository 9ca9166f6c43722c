# SPDX-License-Identifier: Apache-2.0
"""Hair and beard as combed polylines, in numpy.

All people share one set of roots (places on the mean head), one order of layers and one noise; what differs is the
comb, which is a smooth function of the look. So a network can learn hair from the code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neural_core.human.model import FaceModel
from neural_core.records import HAIR
from training.synthetic import regions
from training.synthetic.figure import Fibres, RestFibres
from training.synthetic.hair_styles import STYLES, likely_styles, natural_style, worn
from training.synthetic.looks import Look

__all__ = ["STYLES", "Comb", "likely_styles", "vertex_normals"]

_STRANDS = 6500
_BEARD_STRANDS = 2600
_STEPS = 12
_CLUMPS = 260
_CROWN = np.array([0.0, 0.118, -0.055])
_DOWN = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class _Roots:
    """Places on the skin: a triangle and barycentric coordinates, with the same place on the mean head."""

    corners: NDArray  # [n, 3] vertex indices
    barycentric: NDArray  # [n, 3]
    places: NDArray  # [n, 3]

    def on(self, vertices: NDArray, normals: NDArray) -> tuple[NDArray, NDArray]:
        points = np.einsum("nc,ncd->nd", self.barycentric, vertices[self.corners])
        directions = np.einsum("nc,ncd->nd", self.barycentric, normals[self.corners])
        return points, _unit(directions)


class Comb:
    """Everything about hair that is the same for all people; ``hair`` and ``beard`` make a person's."""

    def __init__(self, model: FaceModel) -> None:
        rng = np.random.default_rng(5)
        self._faces = model.faces[model.parts["skin"]]
        self._skin = np.unique(self._faces)
        self._roots = _sample_roots(
            model, lambda p: (regions.above_hairline(p) > -0.002) * regions.off_ear(p), _STRANDS, rng
        )
        self._beard_roots = _sample_roots(model, lambda p: regions.beard(p), _BEARD_STRANDS, rng)
        count = _STRANDS
        self._layer = rng.random(count) ** 1.3
        self._jitter = rng.standard_normal((count, 3))
        self._shorter = 1 - 0.22 * rng.random(count)
        guides = rng.choice(count, _CLUMPS, replace=False)
        self._guide = guides[KDTree(self._roots.places[guides]).query(self._roots.places)[1]]
        self._phase = _smooth_phase(self._roots.places)
        self._beard_jitter = rng.standard_normal((_BEARD_STRANDS, 3))

    def hair(self, vertices: NDArray, body: NDArray, look: Look, style: str | None = None) -> list[RestFibres]:
        """A person's hair.

        Args:
            vertices: [V, 3] of the person's head.
            body: [m, 3] further points that hair lies on (neck and shoulders).
            look: The person's look.
            style: One of ``STYLES``, or None for the style that follows the look continuously.
        """
        if style == "bald":
            return []
        chosen = natural_style(look) if style is None else worn(style, look)
        look = replace(look, hair_length=chosen.length, fringe=chosen.fringe)
        normals = vertex_normals(vertices, self._faces)
        points, outwards = self._roots.on(vertices, normals)
        places = self._roots.places
        lengths = self._lengths(look)
        flow = self._flow(outwards, look)
        obstacle = _Obstacle(vertices[self._skin], normals[self._skin], body)
        lift = 0.2 + 0.7 * look.hair_volume
        clearance = 0.0015 + self._layer * np.minimum(lengths * 0.2, 0.005 + 0.018 * look.hair_volume)
        path = [points]
        step = (lengths / _STEPS)[:, None]
        for k in range(_STEPS):
            arc = (lengths * k / _STEPS)[:, None]
            weight = arc / (arc + 0.032)
            raised = np.exp(-arc / 0.018) * lift
            direction = _unit(
                flow * (1 - 0.85 * weight) + outwards * raised + 1.5 * weight * _DOWN + 0.05 * self._jitter
            )
            direction = _unit(direction + _away_from_face(points, look))
            points = points + step * direction
            points = obstacle.push_out(points, clearance * min(1.0, (k + 1) / 3))
            path.append(points)
        strands = np.stack(path, 1)
        strands = self._style(strands, lengths, look)
        thickness = 0.00055 + 0.00025 * np.clip(lengths / 0.1, 0, 1)
        taper = np.linspace(1.0, 0.35, _STEPS + 1)
        present = regions.scalp(places, look, soft=0.010)
        uncut = 1 - np.maximum.accumulate(_face_window(strands), axis=1)
        radii = thickness[:, None] * taper * np.sqrt(present)[:, None] * uncut
        keep = present > 0.02
        return [_rest("hair", strands, radii, look, self._roots, keep)]

    def beard(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """A person's beard; no strands where there is hardly any."""
        amount = regions.smoothstep(0.12, 0.75, np.array(look.beard)) * regions.beard(self._beard_roots.places)
        lengths = look.beard_length * amount
        normals = vertex_normals(vertices, self._faces)
        points, outwards = self._beard_roots.on(vertices, normals)
        obstacle = _Obstacle(vertices[self._skin], normals[self._skin], np.zeros((0, 3)))
        fall = _unit(_DOWN + np.array([0.0, 0.0, 0.25]) + 0.25 * self._beard_jitter)
        path = [points]
        steps = 5
        for k in range(steps):
            direction = _unit(outwards * (0.9 - 0.12 * k) + fall * (0.5 + 0.25 * k))
            points = obstacle.push_out(points + direction * (lengths / steps)[:, None], 0.0006 * np.ones(len(points)))
            path.append(points)
        keep = lengths > 0.0012
        radii = np.linspace(0.0006, 0.0003, steps + 1) * np.sqrt(np.clip(amount, 0, 1))[:, None]
        return [_rest("beard", np.stack(path, 1), radii, look, self._beard_roots, keep)]

    def brows(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """A person's eyebrows."""
        return []

    def lashes(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """A person's eyelashes."""
        return []

    def _lengths(self, look: Look) -> NDArray:
        """Length of every strand: shorter at the sides of short hair, to the brows where there is a fringe."""
        places = self._roots.places
        length = look.hair_length
        top = regions.smoothstep(0.045, 0.10, places[:, 1])
        short = 1 - regions.smoothstep(np.array(0.05), np.array(0.12), np.array(length))
        lengths = length * (1 - 0.55 * short * (1 - top))
        front = (1 - regions.smoothstep(30.0, 52.0, regions.front_angle(places))) * regions.smoothstep(
            0.02, 0.05, places[:, 2]
        )
        to_brows = np.clip(0.85 * (places[:, 1] - 0.030), 0.012, 0.075)
        capped = to_brows * np.tanh(lengths / to_brows)
        fringe = float(regions.smoothstep(np.array(0.15), np.array(0.6), np.array(look.fringe)))
        lengths = lengths + (capped - lengths) * front * fringe
        return lengths * self._shorter * (0.25 + 0.75 * regions.scalp(places, look, soft=0.012))

    def _flow(self, outwards: NDArray, look: Look) -> NDArray:
        """Unit tangents [n, 3]: away from the crown, and on top to the sides of the parting, forwards or back."""
        places = self._roots.places
        crown = _CROWN + np.array([0.4 * look.parting, 0.0, 0.0])
        away = _tangent(places - crown, outwards)
        side = np.zeros_like(places)
        side[:, 0] = np.tanh((places[:, 0] - look.parting) / 0.012)
        side[:, 2] = 0.25
        side = _tangent(side, outwards)
        back = _tangent(np.tile(np.array([0.0, 0.25, -1.0]), (len(places), 1)), outwards)
        top = (
            regions.smoothstep(0.055, 0.10, places[:, 1])[:, None]
            * regions.smoothstep(-0.06, 0.0, places[:, 2])[:, None]
        )
        swept = 1 - look.fringe
        long = float(regions.smoothstep(np.array(0.04), np.array(0.14), np.array(look.hair_length)))
        flow = away * (1 - 0.9 * top * swept) + top * swept * (
            1.1 * side * (0.35 + 0.65 * long) + back * (1 - 0.7 * long)
        )
        flow = flow + 0.35 * top * look.fringe * side
        return _unit(_tangent(flow, outwards) + 0.12 * self._jitter)

    def _style(self, strands: NDArray, lengths: NDArray, look: Look) -> NDArray:
        """Locks and waves: strands are drawn to their guide towards the tip, and swing around their path."""
        arc = np.linspace(0, 1, strands.shape[1])[None, :, None]
        guide = strands[self._guide]
        offset = guide - guide[:, :1] + strands[:, :1]
        similar = np.exp(-(((lengths[self._guide] - lengths) / (0.4 * lengths + 1e-3)) ** 2))[:, None, None]
        pull = similar * (0.35 + 0.4 * look.wave) * arc * regions.smoothstep(0.02, 0.07, lengths)[:, None, None]
        strands = strands + (0.5 * (guide + offset) - strands) * pull
        metres = lengths[:, None, None] * arc
        turns = 2 * np.pi * metres / (0.075 - 0.050 * look.wave) + self._phase[:, None, None]
        size = (0.001 + 0.0065 * look.wave**1.5) * np.tanh(metres / 0.025)
        along = _unit(np.gradient(strands, axis=1))
        across = _unit(np.cross(along, np.array([0.3, 0.2, 0.9])))
        other = np.cross(along, across)
        start = self._phase[:, None, None]
        return strands + size * (
            across * (np.sin(turns) - np.sin(start)) + 0.6 * other * (np.cos(turns) - np.cos(start))
        )


class _Obstacle:
    """Skin as a cloud of oriented points: keeps hair outside."""

    def __init__(self, points: NDArray, normals: NDArray, body: NDArray) -> None:
        outwards = body - np.array([0.0, 0.0, -0.04])
        outwards[:, 1] = 0.02
        self._points = np.concatenate([points, body])
        self._normals = np.concatenate([normals, _unit(outwards)])
        self._tree = KDTree(self._points)

    def push_out(self, points: NDArray, clearance: NDArray) -> NDArray:
        """Points [n, 3] moved along the normal of the nearest skin until they are ``clearance`` [n] away."""
        nearest = self._tree.query(points, k=3)[1]
        normals = _unit(self._normals[nearest].mean(1))
        height = ((points - self._points[nearest].mean(1)) * normals).sum(1)
        return points + normals * np.maximum(clearance - height, 0.0)[:, None]


def _rest(name: str, points: NDArray, radii: NDArray, look: Look, roots: _Roots, keep: NDArray) -> RestFibres:
    fibres = Fibres(
        name, points[keep], radii[keep], np.clip(look.hair * 0.7, 0, 1), np.clip(look.hair * 1.15, 0, 1), HAIR
    )
    return RestFibres(fibres, roots.corners[keep].astype(np.int32), roots.barycentric[keep])


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray:
    """Area-weighted unit normals [V, 3]; zero where no face is."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normals = np.zeros((len(vertices), 3))
    face_normals = np.cross(b - a, c - a)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    return _unit(normals)


def _away_from_face(points: NDArray, look: Look) -> NDArray:
    """A push sideways and back, off the face: below the brows for everybody, off the forehead without a fringe."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    lower = 0.066 - 0.040 * look.fringe
    zone = regions.smoothstep(lower + 0.01, lower - 0.01, y) * regions.smoothstep(0.025, 0.05, z)
    zone = zone * regions.smoothstep(0.080, 0.066, np.abs(x))
    side = np.tanh((x - 0.5 * look.parting) / 0.015)
    return zone[:, None] * np.stack([1.6 * side, np.zeros_like(x), np.full_like(x, -0.7)], 1)


def _face_window(points: NDArray) -> NDArray:
    """1 in front of eyes, nose and mouth: strands are cut where they enter."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    window = regions.smoothstep(0.066, 0.056, x) * regions.smoothstep(0.026, 0.018, y)
    return window * regions.smoothstep(0.020, 0.032, z)


def _sample_roots(model: FaceModel, density, count: int, rng: np.random.Generator) -> _Roots:
    faces = model.faces[model.parts["skin"]]
    corners = model.v_template[faces].astype(float)
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    found: list[tuple[NDArray, NDArray]] = []
    total = 0
    while total < count:
        chosen = rng.choice(len(faces), 8 * count, p=areas / areas.sum())
        r1, r2 = np.sqrt(rng.random(8 * count)), rng.random(8 * count)
        barycentric = np.stack([1 - r1, r1 * (1 - r2), r1 * r2], 1)
        places = np.einsum("nc,ncd->nd", barycentric, corners[chosen])
        keep = rng.random(8 * count) < density(places)
        found.append((chosen[keep], barycentric[keep]))
        total += int(keep.sum())
    chosen, barycentric = (np.concatenate(part)[:count] for part in zip(*found, strict=True))
    return _Roots(faces[chosen], barycentric, np.einsum("nc,ncd->nd", barycentric, corners[chosen]))


def _smooth_phase(places: NDArray) -> NDArray:
    """A phase that differs from lock to lock but hardly within one."""
    return 2 * np.pi * (np.sin(places @ np.array([61.0, 23.0, 41.0])) + np.cos(places @ np.array([-37.0, 53.0, 67.0])))


def _tangent(vectors: NDArray, normals: NDArray) -> NDArray:
    return _unit(vectors - (vectors * normals).sum(1, keepdims=True) * normals)


def _unit(vectors: NDArray) -> NDArray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)
