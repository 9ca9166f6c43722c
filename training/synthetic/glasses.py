# SPDX-License-Identifier: Apache-2.0
"""Spectacles that fit: lenses clear of lashes, brows and cheeks, a bridge on the nose, temples to the ears.

A frame is drawn flat, its two rims symmetric, then laid on a shallow dish (the frame's wrap), tilted, and moved forward
until nothing touches it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neural_core.human.model import FaceModel
from neural_core.records import GLASSES as REGION
from neural_core.records import JOINTS
from training.synthetic.eyeballs import ball
from training.synthetic.figure import Material, Part, RestPart
from training.synthetic.shapes import Mesh, disc, joined, tube

_WRAP = 0.15  # metres: z falls by x^2 / (2 wrap)
_TILT = np.tan(np.radians(7.0))  # the lower rim is nearer to the cheeks
_FROM_EYE = 0.0125  # metres from the front of the eyeball to the lens
_CLEAR = 0.0028  # metres between skin and frame
_OUTLINE = 44


@dataclass(frozen=True)
class _Style:
    """Millimetres; colours linear RGB."""

    width: float  # of a lens
    height: float
    power: float  # of the superellipse: 2 is round
    droop: float  # how much the lower outer part is drawn out
    rim: float  # thickness seen from the front; 0: none
    deep: float  # thickness seen from the side
    upper_only: bool
    colour: tuple[float, float, float]
    roughness: float


_STYLES = {
    "round": _Style(45, 44, 2.1, 0.0, 1.8, 2.2, False, (0.50, 0.36, 0.17), 0.22),
    "rectangle": _Style(51, 32, 4.0, 0.04, 3.4, 3.6, False, (0.012, 0.011, 0.012), 0.28),
    "square": _Style(49, 40, 3.2, 0.08, 3.8, 3.8, False, (0.075, 0.032, 0.013), 0.25),
    "aviator": _Style(54, 47, 2.5, 0.22, 1.4, 1.8, False, (0.42, 0.43, 0.45), 0.2),
    "half_rim": _Style(52, 32, 3.6, 0.05, 2.6, 2.8, True, (0.03, 0.03, 0.035), 0.3),
    "rimless": _Style(50, 33, 3.0, 0.06, 0.0, 2.0, False, (0.45, 0.45, 0.47), 0.2),
}
GLASSES = tuple(_STYLES)
_LENS = Material("lens", np.array([0.98, 0.99, 0.985]), roughness=0.02)


def glasses(model: FaceModel, vertices: NDArray, kind: str) -> list[RestPart]:
    """Spectacles on a neutral head.

    Args:
        model: The face model.
        vertices: [V, 3].
        kind: One of ``GLASSES``.

    Returns:
        The frame and the lenses, fixed to the head.
    """
    style, face = _STYLES[kind], _Face(model, vertices)
    scale = 0.001 * face.apart / 0.0315  # of a person with wide-set eyes the frame is wider
    half = np.array([style.width, style.height]) / 2 * scale
    middle = np.array([face.apart + 0.0015, face.eye_height - 0.0025])
    flat = middle + half * _superellipse(style)
    dish = _Dish(face.eye_height, face.clearance(flat, _CLEAR + 0.0005 * style.deep))
    left = dish(flat)
    right = left[::-1] * [-1, 1, 1]
    bars: list[Mesh] = []
    rim, deep = 0.001 * style.rim, 0.001 * style.deep
    front = np.array([0.0, 0.0, 1.0])
    if style.rim and style.upper_only:
        angle = np.linspace(-0.12, np.pi + 0.12, 30)
        upper = dish(middle + half * _superellipse(style, angle))
        bars += [tube(upper, rim, deep, front), tube(upper[::-1] * [-1, 1, 1], rim, deep, front)]
    elif style.rim:
        bars += [tube(left, rim, deep, front, closed=True), tube(right, rim, deep, front, closed=True)]
    bars.append(_bridge(dish, face, left, max(rim, 0.0014), deep))
    hinge_height = middle[1] + 0.42 * half[1]
    outermost = left[np.argmin(np.abs(left[:, 1] - hinge_height) - 4 * left[:, 0])]
    for side in (1, -1):
        bars += _temple(face, dish, outermost, hinge_height, side, max(rim, 0.0016), deep)
        bars.append(_pad(dish, face, left, side))
    frame = Material("frame", np.array(style.colour), roughness=style.roughness)
    centre = dish(middle[None])[0]
    bulge = np.array([0.0, 0.0, 0.0012])
    lens = joined([disc(left, centre, bulge), disc(right, centre * [-1, 1, 1], bulge)])
    return [_rest("glasses", joined(bars), frame), _rest("lenses", lens, _LENS)]


def _rest(name: str, mesh: Mesh, material: Material) -> RestPart:
    weights = np.zeros((len(mesh[0]), len(JOINTS)))
    weights[:, JOINTS.index("head")] = 1
    return RestPart(Part(name, *mesh, REGION, material), weights)


def _superellipse(style: _Style, angle: NDArray | None = None) -> NDArray[np.float64]:
    """Outline [n, 2] of the left lens in -1..1, counter-clockwise seen from the front; +x is outwards."""
    angle = np.linspace(0, 2 * np.pi, _OUTLINE, endpoint=False) if angle is None else angle
    x, y = (np.sign(f) * np.abs(f) ** (2 / style.power) for f in (np.cos(angle), np.sin(angle)))
    lower = np.clip(-y, 0, 1)
    # The nose cuts the lower inner corner; an aviator's lower outer one hangs.
    x = x + lower * (0.10 + style.droop) * (x < 0) * np.abs(x) + 0.3 * style.droop * lower * (x > 0)
    return np.stack([x, y - style.droop * lower * 0.35], 1)


class _Dish:
    """Lays flat points [n, 2] on the frame's curved front, [n, 3]."""

    def __init__(self, height: float, front: float) -> None:
        self._height, self.front = height, front

    def __call__(self, flat: NDArray) -> NDArray[np.float64]:
        return np.concatenate([flat, (self.front + _sunk(flat, self._height))[:, None]], 1)


def _sunk(flat: NDArray, height: float) -> NDArray:
    return -(flat[:, 0] ** 2) / (2 * _WRAP) + (flat[:, 1] - height) * _TILT


class _Face:
    """Where a frame finds hold on a person's neutral head."""

    def __init__(self, model: FaceModel, vertices: NDArray) -> None:
        vertices = np.asarray(vertices, np.float64)
        eyes = [ball(vertices[np.unique(model.faces[model.parts[side]])]) for side in ("left_eye", "right_eye")]
        self.apart = float((eyes[0][0][0] - eyes[1][0][0]) / 2)
        self.eye_height = float((eyes[0][0][1] + eyes[1][0][1]) / 2)
        self.eye_front = float(max(centre[2] + radius for centre, radius in eyes))
        self._skin = vertices[np.unique(model.faces[model.parts["skin"]])]
        mean = model.v_template[np.unique(model.faces[model.parts["skin"]])]
        self._is_ear = (np.abs(mean[:, 0]) > 0.0765) & (mean[:, 2] < 0.02) & (mean[:, 1] < 0.02)
        ears = []
        for side in (1, -1):
            # The top of the crease between ear and skull, on the mean person.
            near = np.linalg.norm(mean - [side * 0.0752, 0.011, -0.006], axis=1).argsort()[:4]
            ears.append(self._skin[near].mean(0))
        self.ears = {1: ears[0], -1: ears[1]}
        places = model.landmarks(vertices, "478")[[168, 6, 197, 195]].astype(np.float64)
        self._ridge = places[places[:, 1].argsort()]

    def ridge(self, height: float) -> float:
        """Z of the nose's ridge at a height."""
        return float(np.interp(height, self._ridge[:, 1], self._ridge[:, 2]))

    def nose(self, height: float, depth: float) -> float:
        """Half the nose's width at a height, as far in front as a depth (z)."""
        near = (np.abs(self._skin[:, 1] - height) < 0.006) & (self._skin[:, 2] > depth - 0.001)
        near &= np.abs(self._skin[:, 0]) < 0.018
        return float(np.abs(self._skin[near, 0]).max(initial=0.0))

    def clearance(self, flat: NDArray, gap: float) -> float:
        """How far forward the dish must lie: before the eyes, and before all skin behind the lenses."""
        low, high = flat.min(0) - 0.001, flat.max(0) + 0.001
        x, y = np.abs(self._skin[:, 0]), self._skin[:, 1]
        behind = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
        # The inner rim stands over the slope of the nose, which pads keep it from.
        behind &= ~((x < low[0] + 0.006) & (y < self.eye_height))
        needed = self._skin[behind, 2] + gap - _sunk(self._skin[behind][:, :2], self.eye_height)
        eye = self.eye_front + _FROM_EYE + self.apart**2 / (2 * _WRAP)
        return float(max(needed.max(initial=-1.0), eye))

    def outside(self, point: NDArray, side: int, gap: float) -> float:
        """|x| at which a temple passes the skull (not the ear) at a height and depth."""
        near = (np.abs(self._skin[:, 1:] - point[1:]) < [0.009, 0.011]).all(1) & ~self._is_ear
        near &= side * self._skin[:, 0] > 0.03
        return float(np.abs(self._skin[near, 0]).max(initial=0.0)) + gap


def _bridge(dish: _Dish, face: _Face, left: NDArray, thick: float, deep: float) -> Mesh:
    height = face.eye_height + 0.0015
    upper = left[left[:, 1] > height]
    inner = upper[upper[:, 0].argmin()] if len(upper) else left[left[:, 0].argmin()]
    x = np.linspace(-1, 1, 15)
    arch = 1 - x**2
    top = height + 0.0022
    z = np.maximum(inner[2] + 0.002 * arch, face.ridge(top) + 0.0022 + 0.5 * deep - 0.010 * x**2)
    path = np.stack([inner[0] * x, inner[1] + (top + 0.001 - inner[1]) * arch, z], 1)
    path[[0, -1], 2] = inner[2]
    return tube(path, thick * 1.15, deep, np.array([0.0, 0.0, 1.0]))


def _temple(face: _Face, dish: _Dish, rim: NDArray, height: float, side: int, thick: float, deep: float) -> list[Mesh]:
    """End piece, bar over the ear, and the tip that bends down behind it."""
    ear = face.ears[side] + np.array([0, 0.0015, 0])
    widest = face.outside(np.array([0, height, rim[2] - 0.012]), side, 0.004)
    corner = np.array([side * max(rim[0] + 0.0045, widest), height, rim[2] - 0.006])
    piece = np.stack([rim * [side, 1, 1], (rim * [side, 1, 1] + corner) / 2 + [0, 0, 0.0015], corner])
    t = np.linspace(0, 1, 22)[:, None]
    bar = corner + t * (ear - corner)
    reach = np.array([face.outside(point, side, 0.0022) for point in bar])
    reach = np.maximum.reduce([np.roll(reach, 1), reach, np.roll(reach, -1)])
    straight = np.abs(corner[0]) + t[:, 0] * (np.abs(ear[0]) + 0.001 - np.abs(corner[0]))
    away = np.maximum(reach, straight)
    away[0] = np.abs(corner[0])
    away = np.convolve(np.pad(away, 2, "edge"), np.ones(5) / 5, "valid")
    bar[:, 0] = side * away
    bend = np.linspace(0, 1, 9)[1:, None]
    tip = bar[-1] + np.concatenate([-0.004 * side * bend, -0.030 * bend**1.6, -0.020 * bend**0.8], 1)
    path = np.concatenate([bar, tip])
    tall = np.concatenate([np.linspace(2.2, 1.3, 22), np.linspace(1.3, 1.8, 8)]) * max(thick, 0.0016)
    up = np.array([0.0, 1.0, 0.15])
    return [tube(piece, deep * 0.8, tall[0], up), tube(path, max(0.5 * deep, 0.0012), tall, up)]


def _pad(dish: _Dish, face: _Face, left: NDArray, side: int) -> Mesh:
    """A small pad between rim and nose."""
    height = face.eye_height - 0.007
    inner = left[np.argmin(left[:, 0] + 3 * np.abs(left[:, 1] - height))]
    deep, low = inner[2] - 0.005, height - 0.005
    end = np.array([max(inner[0] - 0.0028, face.nose(height, deep) + 0.0016), height, deep])
    foot = np.array([max(end[0], face.nose(low, deep) + 0.0016), low, deep + 0.0005])
    path = np.stack([inner, (inner + end) / 2 + [0, 0.001, -0.001], end, foot])
    return tube(path * [side, 1, 1], np.array([0.0010, 0.0010, 0.0022, 0.0018]), 0.0012, np.array([0.3, 0.0, 1.0]))
