# SPDX-License-Identifier: Apache-2.0
"""Eyebrows and eyelashes as single hairs that move with the skin they grow from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neural_core.human.model import FaceModel
from neural_core.human.surfaces import unit, vertex_normals
from neural_core.records import SKIN
from training.synthetic import regions
from training.synthetic.figure import Fibres, RestFibres
from training.synthetic.hair_roots import Roots, sample_roots, tangent
from training.synthetic.looks import Look
from training.synthetic.regions import smoothstep

PAINTED_BROWS = 0.45
"""How much of the painted brow should remain under brows of hair: a soft shadow."""

_BROW_HAIRS = 2200
_STEPS = 6
_UPPER, _LOWER = 110, 60  # lashes of one eye
_BEHIND = np.array([0.0, 0.0, 0.0115])  # from the lids' edges to the centre of the eye, metres


class Brows:
    """Roots of everybody's brows: more than anybody has, because the brow's place differs."""

    def __init__(self, model: FaceModel) -> None:
        rng = np.random.default_rng(8)
        self._faces = model.faces[model.parts["skin"]]
        self._roots = sample_roots(model, _near_brows, _BROW_HAIRS, rng)
        self._jitter = rng.standard_normal((_BROW_HAIRS, 3))
        self._chance, self._light = rng.random(_BROW_HAIRS), rng.standard_normal(_BROW_HAIRS)

    def grow(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """Both brows: hairs rise at the nose, lie along the arch, and close from above and below."""
        places = self._roots.places
        amount = regions.brow(places, look) * (0.55 + 0.45 * look.brow_strength)
        chance = 0.8 * self._chance
        there = smoothstep(chance, chance + 0.2, amount)
        keep = there > 0.02
        points, outwards = self._roots.on(vertices, vertex_normals(vertices, self._faces))
        along = np.clip((np.abs(places[:, 0]) - 0.0115) / 0.042, 0.0, 1.0)
        arch = look.brow_arch
        middle = 0.0168 + 0.0006 * arch + (0.0052 + 0.0030 * arch) * np.sin(np.pi * along**1.25) - 0.0035 * along**2
        above = np.clip((places[:, 1] - middle) / (0.0040 * look.brow_thickness), -1, 1)
        side = np.sign(places[:, 0])
        upwards = 1.3 * (1 - smoothstep(0.0, 0.38, along)) - 0.42 * above * smoothstep(0.1, 0.5, along) - 0.25 * along
        heading = np.stack([side * (0.35 + 0.65 * smoothstep(0.0, 0.3, along)), upwards, 0 * side], 1)
        heading = tangent(heading + 0.16 * self._jitter, outwards)
        lengths = 0.0075 * (1 - 0.35 * along) * (0.7 + 0.5 * self._chance) * (0.8 + 0.2 * look.brow_thickness)
        t = np.linspace(0, 1, _STEPS + 1)[None, :, None]
        rise = 0.0007 * np.sin(0.8 * np.pi * t) + 0.0002
        # The head curves away under a hair that goes straight.
        bow = np.stack([0 * side, -0.12 * np.ones_like(side), -0.25 * (0.4 + along)], 1)[:, None]
        strands = points[:, None] + lengths[:, None, None] * (t * heading[:, None] + 0.5 * t**2 * bow)
        strands = strands + rise * outwards[:, None]
        radii = 0.00013 * np.sqrt(there)[:, None] * (1 - 0.75 * t[..., 0] ** 1.5)
        colour = np.minimum(_colour(look) * np.exp(0.25 * self._light)[:, None], 0.8)
        fibres = Fibres("brows", strands[keep], radii[keep], colour[keep], 1.2 * colour[keep], SKIN)
        return [RestFibres(fibres, self._roots.corners[keep], self._roots.barycentric[keep])]


class Lashes:
    """Roots of the lashes along the edges of the lids."""

    def __init__(self, model: FaceModel) -> None:
        rng = np.random.default_rng(9)
        self._faces = model.faces[model.parts["skin"]]
        self._eyes = [_lid_roots(model, side, rng) for side in (1, -1)]
        self._jitter = rng.standard_normal((2, _UPPER + _LOWER, 3))
        self._chance = rng.random((2, _UPPER + _LOWER))

    def grow(self, vertices: NDArray, look: Look) -> list[RestFibres]:
        """All four rows: forwards from the rim, then curved away from the eye, longest at the outer third."""
        found = []
        for (roots, along, upper), jitter, chance in zip(self._eyes, self._jitter, self._chance, strict=True):
            points, _ = roots.on(vertices, np.zeros_like(vertices))
            centre = points.mean(0) - _BEHIND
            forward = unit(points - centre)
            side = np.sign(centre[0])
            up = np.where(upper, 1.0, -1.0)
            fan = side * (along - 0.45)
            longest = 0.55 + 0.45 * np.sin(np.pi * np.clip(0.15 + 0.75 * along, 0, 1))
            feminine = 1 - look.masculinity
            lengths = np.where(upper, 0.0080 + 0.0022 * feminine, 0.0045) * longest * (0.7 + 0.3 * chance)
            start = forward + np.stack([0.6 * fan, np.where(upper, -0.05, -0.25), 0.6 + 0 * fan], 1) + 0.12 * jitter
            end = np.stack([1.1 * fan, 0.95 * up, 0.35 + 0 * fan], 1) + 0.08 * jitter
            t = np.linspace(0, 1, _STEPS + 1)[None, :, None]
            heading = unit(start)[:, None] * (t - 0.5 * t**2) + unit(end)[:, None] * 0.5 * t**2
            strands = points[:, None] + lengths[:, None, None] * heading * 1.15
            strength = np.where(upper, 0.75 + 0.25 * look.eye_shade, 0.5 + 0.3 * look.eye_shade)
            radii = 0.000125 * strength[:, None] * (1 - 0.8 * t[..., 0])
            colour = 0.25 * np.minimum(look.hair, 0.08) + 0.006
            fibres = Fibres("lashes", strands, radii, colour, colour, SKIN)
            found.append(RestFibres(fibres, roots.corners, roots.barycentric))
        return found


def _near_brows(places: NDArray) -> NDArray:
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    return ((x > 0.006) & (x < 0.058) & (y > 0.004) & (y < 0.034) & (z > 0.03)).astype(float)


def _colour(look: Look) -> NDArray:
    return 0.8 * np.minimum(look.hair, np.array([0.26, 0.20, 0.15])) + 0.04 * look.skin * np.array([0.9, 0.6, 0.4])


def _lid_roots(model: FaceModel, side: int, rng: np.random.Generator) -> tuple[Roots, NDArray, NDArray]:
    """Roots along one eye's lids, how far they are from the nose (0..1), and whether on the upper lid.

    The skin's own rim lies hidden behind the eyeball's surface; the edge that one sees is the next ring of vertices.
    """
    template = model.v_template.astype(float)
    skin = model.faces[model.parts["skin"]]
    rim = np.intersect1d(skin, model.faces[model.parts["eye_cavities"]])
    rim = rim[side * template[rim, 0] > 0]
    edges = [(*face[~on], face[on][0]) for face in skin if (on := np.isin(face, rim)).sum() == 1]
    corners = np.array(edges)
    places = template[corners[:, :2]].mean(1)
    x = side * places[:, 0]
    inner, outer = x.min(), x.max()
    nose, temple = places[x.argmin()], places[x.argmax()]
    line = nose[1] + (temple[1] - nose[1]) * (x - inner) / (outer - inner)
    size = np.linalg.norm(template[corners[:, 0]] - template[corners[:, 1]], axis=1)
    chosen = []
    for count, above in ((_UPPER, True), (_LOWER, False)):
        row = np.flatnonzero((places[:, 1] > line) == above)
        ends = (x[row] - inner) / (outer - inner)
        weight = size[row] * smoothstep(0.06, 0.22, ends) * (1 - 0.5 * smoothstep(0.93, 1.0, ends))
        chosen.append(rng.choice(row, count, p=weight / weight.sum()))
    index = np.concatenate(chosen)
    t = rng.random(len(index))
    barycentric = np.stack([1 - t, t, 0 * t], 1)
    found = np.einsum("nc,ncd->nd", barycentric, template[corners[index]])
    along = np.clip((side * found[:, 0] - inner) / (outer - inner), 0, 1)
    upper = np.arange(len(index)) < _UPPER
    return Roots(corners[index].astype(np.int32), barycentric, found), along, upper
