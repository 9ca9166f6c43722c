# SPDX-License-Identifier: Apache-2.0
"""Round eyeballs with a painted iris behind a clear cornea.

In rest an eye looks straight ahead (+Z). Sizes are the human eye's: iris 11.8 mm across, pupil 4 to 5 mm.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from neural_core.human.model import FaceModel
from neural_core.records import JOINTS, SKIN
from training.synthetic.figure import Material, Part, RestPart
from training.synthetic.looks import Look
from training.synthetic.regions import smoothstep

IRIS = 0.0059
"""Radius of the iris, metres."""

IRIS_VERTICES = (0, 337, 349, 361, 373)
"""Vertices of the ball: the middle of the iris, then its edge at +x, +y, -x and -y (of an eye that looks ahead)."""

_BULGE = 0.00035  # metres that the cornea stands out from the ball; more would pierce closed lids
_CAVE = 0.0009  # metres that the iris lies behind the ball's surface at its middle
_AROUND = 48
_IRIS_ROWS = 8  # of the ball's profile between the pole and the limbus
_PIXELS = 384
_SCLERA = np.array([0.60, 0.555, 0.525])
_VEIN = np.array([0.52, 0.13, 0.11])


def eyeball(model: FaceModel, vertices: NDArray, side: str, look: Look) -> list[RestPart]:
    """One eye of a person.

    Args:
        model: The face model.
        vertices: [V, 3] the person's neutral head.
        side: ``"left_eye"`` or ``"right_eye"``.
        look: Colour of the iris.

    Returns:
        The ball (sclera and iris), and the cornea before it; both move with the eye's joint only.
    """
    centre, radius = ball(vertices[np.unique(model.faces[model.parts[side]])])
    ball_points, ball_faces, ball_uv = _dome(_ball_profile(radius))
    mirrored = side == "right_eye"
    texture = paint(look, radius)
    material = Material("eye", _SCLERA, texture[:, ::-1] if mirrored else texture, roughness=0.08)
    clear = Material("cornea", np.ones(3), roughness=0.02)
    cornea_points, cornea_faces, _ = _dome(_cornea_profile(radius))
    return [
        _rest(Part(side, centre + ball_points, ball_faces, SKIN, material, ball_uv), side),
        _rest(Part(f"{side}_cornea", centre + cornea_points, cornea_faces, SKIN, clear), side),
    ]


def ball(points: NDArray) -> tuple[NDArray[np.float64], float]:
    """Centre [3] and radius of the sphere nearest to points [n, 3] (least squares in |p|^2 = 2 p.c + r^2 - |c|^2)."""
    system = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))


def _rest(part: Part, side: str) -> RestPart:
    weights = np.zeros((len(part.vertices), len(JOINTS)))
    weights[:, JOINTS.index(side)] = 1
    return RestPart(part, weights)


def _ball_profile(radius: float) -> NDArray[np.float64]:
    """[rows, 2] distance from the axis and place on it, from the pole backwards: a hollow iris, then the sphere."""
    limbus = np.arcsin(IRIS / radius)
    r = np.linspace(0, IRIS, _IRIS_ROWS + 1)
    depth = radius * np.cos(limbus) - 0.0002
    iris = np.stack([r, depth - (_CAVE - 0.0002) * 0.5 * (1 - (r / IRIS) ** 2)], 1)
    polar = limbus + (np.pi - limbus) * np.linspace(0, 1, 22) ** 1.3
    return np.concatenate([iris[:-1], radius * np.stack([np.sin(polar), np.cos(polar)], 1)])


def _cornea_profile(radius: float) -> NDArray[np.float64]:
    edge = np.arcsin(1.12 * IRIS / radius)
    polar = np.linspace(0, edge, 12)
    bulge = _BULGE * (1 - (polar / edge) ** 2) ** 1.5 + 0.00003
    return (radius + bulge)[:, None] * np.stack([np.sin(polar), np.cos(polar)], 1)


def _dome(profile: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float32]]:
    """A surface of revolution about +Z: vertices, faces, and texture places of the corners (pole in the middle)."""
    rows = len(profile)
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    flat = profile[1:, 0, None, None] * ring
    vertices = np.concatenate([flat, np.broadcast_to(profile[1:, 1, None, None], (*flat.shape[:2], 1))], 2)
    vertices = np.asarray(np.concatenate([[[0, 0, profile[0, 1]]], vertices.reshape(-1, 3)]), np.float64)
    index = 1 + np.arange((rows - 1) * _AROUND).reshape(rows - 1, _AROUND)
    after = np.roll(index, -1, 1)
    top = np.stack([np.zeros(_AROUND, int), index[0], after[0]], 1)
    a, b, c, d = index[:-1], index[1:], after[1:], after[:-1]
    sides = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    faces = np.concatenate([top, sides]).astype(np.int32)
    polar = np.arctan2(profile[:, 0], profile[:, 1])
    spread = _spread(polar)
    uv = 0.5 + 0.5 * np.concatenate([[[0, 0]], (spread[1:, None, None] * ring).reshape(-1, 2)])
    return vertices, faces, uv[faces].astype(np.float32)


def _spread(polar: NDArray) -> NDArray:
    """Distance from the middle of the texture, 0..1, of a polar angle: the front of the eye gets most of it."""
    return np.sqrt(polar / np.pi)


def paint(look: Look, radius: float) -> NDArray[np.float32]:
    """The texture [rows, columns, 3] of a left eye, linear RGB."""
    across, up, noise = _chart()
    spread = np.hypot(across, up)
    polar = np.pi * np.minimum(spread, 1) ** 2
    r = radius * np.sin(np.minimum(polar, np.pi / 2)) / IRIS  # 1 at the limbus
    r = np.where(polar > np.pi / 2, 9.0, r)
    brightness = float(np.clip(look.iris.sum() / 0.6, 0, 1))
    pupil = (0.33 + 0.12 * (1 - brightness)) * (1 + 0.01 * noise["streak"])
    colour = _iris(look.iris, r, pupil, noise)
    white = _sclera(across, up, polar, noise)
    limbus = smoothstep(0.93, 1.06, r)[..., None]
    colour = colour * (1 - limbus) + white * limbus
    black = smoothstep(pupil - 0.025, pupil + 0.03, r)[..., None]
    return (0.003 * (1 - black) + colour * black).astype(np.float32)


def _iris(base: NDArray, r: NDArray, pupil: NDArray, noise: dict[str, NDArray]) -> NDArray:
    """Fibres that run outwards, a lighter and warmer collarette round the pupil, a dark rim."""
    inner = np.clip((r - pupil) / (1 - pupil), 0, 1)
    fibres = 1 + 0.34 * noise["streak"] * (0.35 + 0.65 * inner) + 0.16 * noise["fine"]
    collarette = np.exp(-(((inner - 0.22 - 0.03 * noise["streak"]) / 0.13) ** 2))
    crypts = 1 - 0.35 * np.clip(noise["blotch"] - 0.5, 0, 1) * np.exp(-(((inner - 0.5) / 0.25) ** 2))
    rim = 1 - 0.78 * smoothstep(0.76, 0.97, r)
    shade = np.clip(fibres * crypts, 0.3, 2.0) * rim * (1 + 0.25 * np.sin(np.pi * inner))
    warm = base * np.array([1.25, 1.0, 0.72]) + np.array([0.03, 0.017, 0.003])
    mix = (0.55 * collarette)[..., None]
    return np.clip((base * (1 - mix) + warm * mix) * 1.15 * shade[..., None] + 0.006, 0, 1)


def _sclera(across: NDArray, up: NDArray, polar: NDArray, noise: dict[str, NDArray]) -> NDArray:
    """Off-white, pinker and yellower towards the corners, with thin veins that fade before the iris."""
    corner = smoothstep(0.45, 1.25, polar)
    white = _SCLERA * (1 - corner[..., None] * np.array([0.10, 0.24, 0.27]))
    white *= (1 + 0.035 * noise["blotch"])[..., None]
    sideways = np.abs(across) / (np.hypot(across, up) + 1e-9)
    veins = noise["veins"] * smoothstep(0.5, 1.1, polar) * (0.35 + 0.65 * sideways)
    return white + (0.5 * veins)[..., None] * (_VEIN - white)


@cache
def _chart() -> tuple[NDArray, NDArray, dict[str, NDArray]]:
    """The texture's places [p, p] (-1..1, first row at the top), and noise that all eyes share."""
    rng = np.random.default_rng(11)
    line = (np.arange(_PIXELS) + 0.5) / _PIXELS * 2 - 1
    across, up = np.meshgrid(line, -line)
    around, spread = np.arctan2(up, across), np.hypot(across, up)

    def waves(count: int, low: int, high: int, twist: float) -> NDArray:
        total = np.zeros_like(around)
        for f, phase, bend in zip(
            rng.integers(low, high, count), rng.uniform(0, 2 * np.pi, count), rng.normal(0, twist, count), strict=True
        ):
            total += np.sin(f * around + phase + bend * spread * 6)
        return total / np.sqrt(count / 2)

    noise = {"streak": waves(26, 9, 60, 1.2) * 0.8, "fine": waves(30, 60, 130, 3.0), "blotch": waves(14, 2, 9, 4.0)}
    veins = np.zeros_like(around)
    for _ in range(46):
        start, bend, width = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.5), rng.uniform(0.004, 0.011)
        path = start + bend * (1 - spread) + 0.05 * np.sin(rng.uniform(9, 22) * spread + rng.uniform(0, 6.3))
        away = np.abs(np.angle(np.exp(1j * (around - path)))) * spread
        reach = rng.uniform(0.40, 0.62)
        veins = np.maximum(veins, np.exp(-((away / width) ** 2)) * smoothstep(reach - 0.06, reach + 0.2, spread))
    noise["veins"] = veins
    return across, up, noise
