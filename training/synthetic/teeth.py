# SPDX-License-Identifier: Apache-2.0
"""Two rows of fourteen teeth and their gums.

MakeHuman has strips where teeth belong (``BustModel.teeth``), which follow each person's jaws. Along them stand single
teeth of human proportions. The upper ones are fixed to the head, the lower ones move as the strip does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from neural_core.human.bust import TEETH_ACTIONS, load_bust
from neural_core.human.model import FaceModel
from neural_core.human.surfaces import unit
from neural_core.records import JOINTS, SKIN
from training.synthetic.figure import Material, Part, RestPart

# Millimetres, from the middle to the side: width, height of the crown, depth at the gum, depth at the edge; how far the
# tip stands out over its corners.
_UPPER = (
    *((8.6, 10.4, 7.0, 1.7, 0.0), (6.7, 9.3, 6.2, 1.5, 0.3), (7.7, 10.2, 8.0, 2.2, 2.0)),
    *((7.1, 8.6, 8.8, 6.0, 1.5), (6.8, 8.2, 8.8, 6.2, 1.2), (10.3, 7.6, 10.6, 8.6, 0.8), (9.7, 7.2, 10.4, 8.4, 0.8)),
)
_LOWER = (
    *((5.4, 9.0, 5.8, 1.4, 0.0), (6.0, 9.2, 6.0, 1.4, 0.1), (6.9, 10.4, 7.4, 2.0, 1.6)),
    *((7.0, 8.6, 7.6, 5.2, 1.4), (7.1, 8.2, 8.0, 5.8, 1.0), (11.2, 7.6, 10.2, 8.4, 0.7), (10.7, 7.4, 10.0, 8.2, 0.7)),
)
# Columns of a strip from the middle to the left: at the edge of the teeth, and at the end of the gum.
_EDGES = ((9, 26, 11, 10, 25, 18, 17, 16, 20), (18, 9, 10, 11, 12, 13, 14, 15, 16))
_GUMS = ((1, 0, 2, 3, 4, 5, 6, 7, 8), (1, 0, 2, 3, 4, 5, 6, 7, 8))
_LENGTHENED = (0.0030, 0.0006)  # metres that the edges stand over the strip's
_BEHIND = (0.0016, 0.0040)  # metres that the fronts lie behind the strip: the upper teeth bite before the lower
_ROWS, _AROUND = 7, 14
_ALONG = 113

_TOOTH = Material("tooth", np.array([0.82, 0.76, 0.64]), roughness=0.18)
_GUM = Material("gum", np.array([0.42, 0.13, 0.12]), roughness=0.3)


@dataclass(frozen=True)
class _Arch:
    """A row's curves over the place along it, -1 (right end) .. 1 (left end)."""

    edge: CubicSpline
    gum: CubicSpline
    length: float
    towards: float  # +1: the teeth grow down from above

    def frame(self, place: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Points [n, 3] of the edge; unit directions along, towards the gum and outwards."""
        point, along = self.edge(place), unit(self.edge(place, 1))
        up = unit(self.gum(place) - point) * 0.4 + np.array([0, 0.6 * self.towards, 0])
        up = unit(up - (up * along).sum(-1, keepdims=True) * along)
        outwards = np.cross(along, up) * self.towards
        return point, along, up, outwards


def teeth(model: FaceModel, vertices: NDArray) -> list[RestPart]:
    """Upper and lower teeth with gums of the person with the neutral head [V, 3]."""
    strips = load_bust().teeth_strips(_identity(model, vertices))
    found = []
    for row, (name, joint, sizes) in enumerate((("upper", "head", _UPPER), ("lower", "jaw", _LOWER))):
        strip = strips[row]
        arch = _arch(strip, row)
        crown, crown_faces = _crowns(arch, sizes, row)
        gum, gum_faces = _gum(arch, sizes, row)
        parts = (
            Part(f"{name}_teeth", crown, crown_faces, SKIN, _TOOTH),
            Part(f"{name}_gum", gum, gum_faces, SKIN, _GUM),
        )
        for part in parts:
            weights = np.zeros((len(part.vertices), len(JOINTS)))
            weights[:, JOINTS.index(joint)] = 1
            found.append(RestPart(part, weights, _jaw_motion(strip, part.vertices) if row else {}))
    return found


def _identity(model: FaceModel, vertices: NDArray) -> NDArray[np.float64]:
    """The coefficients [K] of a neutral head, by least squares."""
    directions = model.shapedirs.reshape(-1, model.shapedirs.shape[2]).astype(np.float64)
    moved = (np.asarray(vertices, np.float64) - model.v_template).reshape(-1)
    return np.linalg.solve(directions.T @ directions, directions.T @ moved)


def _jaw_motion(strip: NDArray, points: NDArray) -> dict[str, NDArray]:
    """Displacement [n, 3] of points by each action: the affine motion of the strip, which is nearly rigid."""
    design = np.concatenate([strip, np.ones((len(strip), 1))], 1)
    places = np.concatenate([points, np.ones((len(points), 1))], 1)
    return {
        name: places @ np.linalg.lstsq(design, displacement.astype(np.float64), rcond=None)[0]
        for name, displacement in zip(TEETH_ACTIONS, load_bust().lower_teeth_actions, strict=True)
    }


def _arch(strip: NDArray, row: int) -> _Arch:
    edge, gum = (strip[_both_sides(row, columns)] for columns in (_EDGES[row], _GUMS[row]))
    steps = np.linalg.norm(np.diff(edge, axis=0), axis=1)
    length = float(steps.sum())
    place = np.concatenate([[0], np.cumsum(steps)]) / length * 2 - 1
    place -= place[len(place) // 2]
    return _Arch(CubicSpline(place, edge), CubicSpline(place, gum), length, 1.0 if row == 0 else -1.0)


@cache
def _both_sides(row: int, left: tuple[int, ...]) -> list[int]:
    """Columns from the right end over the middle to the left end."""
    mean = load_bust().teeth[row]
    mirrored = mean[list(left)] * [-1, 1, 1]
    right = np.linalg.norm(mean[None] - mirrored[:, None], axis=2).argmin(1)
    return [*right[:0:-1].tolist(), *left]


def _places(arch: _Arch, sizes: tuple) -> tuple[NDArray, NDArray]:
    """Middles and widths (metres) of the seven teeth of the left side; they fill 94 % of the strip."""
    widths = np.array([size[0] for size in sizes])
    ends = np.concatenate([[0], np.cumsum(widths)]) / widths.sum() * 0.94
    return (ends[:-1] + ends[1:]) / 2, np.diff(ends) * arch.length / 2


def _crowns(arch: _Arch, sizes: tuple, row: int) -> tuple[NDArray, NDArray]:
    vertices, faces = [], []
    places, widths = _places(arch, sizes)
    scale = arch.length / 2 * 0.94 / sum(size[0] for size in sizes)  # person's millimetres
    for side in (1, -1):
        for place, width, (_, height, thick, thin, tip) in zip(places, widths, sizes, strict=True):
            shape = _crown(width, *(scale * value for value in (height, thick, thin, tip)))
            point, along, up, out = arch.frame(np.array(side * place))
            base = point - up * _LENGTHENED[row] - out * _BEHIND[row]
            local = shape * [side, 1, 1]  # the side towards the middle is -x on the left
            first = len(vertices) * len(shape)
            vertices.append(base + local @ np.stack([along, up, out]))
            turned = side * arch.towards > 0
            own = _crown_faces()
            faces.append(first + (own if turned else own[:, ::-1]))
    return np.concatenate(vertices), np.concatenate(faces).astype(np.int32)


def _crown(width: float, height: float, thick: float, thin: float, tip: float) -> NDArray[np.float64]:
    """One tooth [n, 3]: x along the row, y from the edge (0) to the root, z outwards with the front at 0."""
    t = np.array([0.0, 0.05, 0.16, 0.36, 0.62, 0.86, 1.15])[:, None]  # from the edge to below the gum
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[None]
    power = 2 / 3.2
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    z = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    half = 0.5 * width * np.interp(t, [0, 0.05, 0.16, 0.36, 0.62, 1.15], [0.80, 0.93, 0.985, 0.985, 0.90, 0.74])
    depth = thin + (thick - thin) * np.interp(t, [0, 0.16, 0.62, 1.15], [0, 0.12, 0.72, 1.0])
    depth = depth * np.interp(t, [0, 0.05, 1.15], [0.6, 0.95, 1.0])
    front = -0.0016 * np.interp(t, [0, 0.3, 0.7, 1.15], [0.9, 0.1, 0.0, 0.55]) * (height / 0.01)
    corner = np.abs(x) ** 2.4 * (1 + 0.35 * np.sign(x)) * (0.0006 + tip) * np.clip(1 - t / 0.6, 0, 1)
    y = height * t + corner + 0 * angle
    points = np.stack([half * x + 0 * t, y, front + 0.5 * depth * (z - 1)], -1)
    cap = np.array([[0, 0.0001, front[0, 0] - 0.5 * depth[0, 0]]])
    return np.concatenate([points.reshape(-1, 3), cap])


@cache
def _crown_faces() -> NDArray[np.int64]:
    index = np.arange(_ROWS * _AROUND).reshape(_ROWS, _AROUND)
    after = np.roll(index, -1, 1)
    a, b, c, d = index[:-1], index[1:], after[1:], after[:-1]
    sides = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    cap = np.stack([np.full(_AROUND, _ROWS * _AROUND), index[0], after[0]], 1)
    return np.concatenate([sides, cap])


def _gum(arch: _Arch, sizes: tuple, row: int) -> tuple[NDArray, NDArray]:
    """A ridge round the roots; between two teeth it rises towards the edge."""
    places, widths = _places(arch, sizes)
    scale = arch.length / 2 * 0.94 / sum(size[0] for size in sizes)
    u = np.linspace(-0.97, 0.97, _ALONG)
    point, _, up, out = arch.frame(u)
    nearest = np.abs(np.abs(u)[:, None] - places).argmin(1)
    phase = np.clip((np.abs(u) - places[nearest]) * arch.length / widths[nearest], -1, 1)  # -1..1 across a tooth
    height = np.array([size[1] for size in sizes])[nearest] * scale
    height = np.convolve(np.pad(height, 4, "edge"), np.ones(9) / 9, "valid")
    depth = np.array([size[2] for size in sizes])[nearest] * scale
    depth = np.convolve(np.pad(depth, 4, "edge"), np.ones(9) / 9, "valid")
    margin = height * (0.86 - 0.30 * np.abs(phase) ** 3) - _LENGTHENED[row]
    # Outwards from the teeth's fronts, up from the edge: the front of the ridge, over the margin, and the inner side.
    profile = (
        (0.0 * u, 0.019 + 0 * u),
        (0.0012 + 0 * u, margin + 0.006),
        (0.0010 + 0 * u, margin + 0.0022),
        (0.0004 + 0 * u, margin + 0.0004),
        (-0.0012 + 0 * u, margin),
        (-0.5 * depth, margin + 0.0012),
        (-depth + 0.001, margin + 0.0004),
        (-depth - 0.0008, margin + 0.003),
        (-depth - 0.002, 0.018 + 0 * u),
    )
    base = point - out * _BEHIND[row]
    vertices = np.stack([base + out * z[:, None] + up * y[:, None] for z, y in profile], 1)
    index = np.arange(len(u) * len(profile)).reshape(len(u), len(profile))
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    if arch.towards > 0:
        faces = faces[:, ::-1]
    return vertices.reshape(-1, 3), faces.astype(np.int32)
