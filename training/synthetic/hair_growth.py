# SPDX-License-Identifier: Apache-2.0
"""Growing strands: along the comb's direction over the scalp, then down, never into the skin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neural_core.human.surfaces import unit
from training.synthetic import regions
from training.synthetic.hair_field import Skin
from training.synthetic.hair_locks import Locks
from training.synthetic.hair_roots import tangent
from training.synthetic.hair_styles import Style
from training.synthetic.regions import smoothstep

_CROWN = np.array([0.006, 0.115, -0.062])
_DOWN = np.array([0.0, -1.0, 0.0])
_BACK = np.array([0.0, -0.12, -1.0])


def lengths_of(places: NDArray, style: Style, locks: Locks) -> NDArray:
    """Length of every strand [n]: shorter at the sides, to the brows in a fringe, layered."""
    top = smoothstep(-0.01, 0.105, places[:, 1])
    lengths = style.length * (style.sides + (1 - style.sides) * top)
    to_brows = np.clip(0.92 * (places[:, 1] - 0.026), 0.012, 0.085)
    capped = to_brows * np.tanh(lengths / to_brows)
    lengths = lengths + (capped - lengths) * in_front(places) * style.fringe
    # Long hair is cut to one height rather than to one length: what grows low is shorter.
    drop = np.clip(0.11 - places[:, 1], 0.0, 0.2) * smoothstep(0.10, 0.20, np.array(style.length))
    lengths = np.maximum(lengths - 0.8 * drop, 0.3 * lengths)
    return lengths * (1 - style.layers * locks.shorter)


def in_front(places: NDArray) -> NDArray:
    """Where a fringe grows, 0..1."""
    ahead = 1 - smoothstep(28.0, 50.0, regions.front_angle(places))
    return ahead * smoothstep(0.012, 0.045, places[:, 2])


def grow(roots: NDArray, outwards: NDArray, lengths: NDArray, style: Style, locks: Locks, skin: Skin, steps: int):
    """Strands [n, steps + 1, 3] from roots [n, 3] with unit normals [n, 3]."""
    step = (lengths / steps)[:, None]
    room = 0.0012 + locks.layer * np.minimum(0.20 * lengths, 0.003 + 0.017 * style.volume)
    # Hair that is combed back, or too short to be heavy, follows the scalp for longer.
    hug = 0.035 * (1 + 2.0 * style.back + 1.5 * smoothstep(0.12, 0.05, np.array(style.length)))
    beside = 1 - 0.6 * style.parted * np.exp(-(((roots[:, 0] - style.parting) / 0.012) ** 2))[:, None]
    lift = (0.2 + 1.1 * style.volume) * beside
    direction = unit(_combed(roots, outwards, style) + (lift + 2.0 * style.stand) * outwards)
    points, path = roots, [roots]
    for k in range(steps):
        arc = ((k + 0.5) * lengths / steps)[:, None]
        distance, away = skin.at(points)
        combed = _combed(points, away, style)
        fall = (arc / (arc + hug)) ** 1.5 * (1 - 0.92 * style.stand)
        rise = lift * np.exp(-arc / (0.010 + 0.014 * style.volume))
        held = (1 - fall) * (1 - style.stand) * smoothstep(0.024, 0.012, distance)[:, None]
        aim = held * combed + 1.25 * fall * (_DOWN + _inwards(points))
        aim = aim + rise * outwards + 1.6 * style.stand * outwards
        aim = aim + (0.11 + 0.05 * style.frizz) * (1 - 0.85 * fall) * locks.bend
        direction = unit(0.55 * direction + aim + _off_the_face(points, style))
        inwards = np.minimum((direction * away).sum(1), 0.0) * smoothstep(0.008, 0.0, distance - room)
        direction = unit(direction - inwards[:, None] * away)
        grown = skin.push_out(points + step * direction, room * min(1.0, (k + 1) / 3))
        # What was pushed out still has the same length.
        direction = unit(grown - points)
        points = points + step * direction
        path.append(points)
    return np.stack(path, 1)


def _combed(points: NDArray, normals: NDArray, style: Style) -> NDArray:
    """Unit directions along the scalp: from the crown, to the sides of the parting, back."""
    crown = _CROWN + np.array([0.3 * style.parting, 0.0, 0.0])
    flow = tangent(points - crown, normals)
    top = (smoothstep(0.050, 0.10, points[:, 1]) * smoothstep(-0.075, -0.015, points[:, 2]))[:, None]
    aside = np.stack(
        [np.tanh((points[:, 0] - style.parting) / 0.005), np.zeros(len(points)), np.full(len(points), 0.12)], 1
    )
    back = tangent(np.broadcast_to(_BACK, points.shape), normals)
    # Away from the face everything may go back; behind the ears it falls.
    ahead = smoothstep(-0.085, -0.02, points[:, 2])[:, None]
    flow = flow * (1 - 0.92 * top * np.maximum(style.parted, style.back)) + 1.1 * top * style.parted * tangent(
        aside, normals
    )
    backwards = style.back * np.maximum(0.55 * ahead, top)
    flow = flow * (1 - 0.85 * backwards * (1 - 0.6 * style.parted)) + backwards * back
    return tangent(flow + 0.08 * top * style.fringe * tangent(aside, normals), normals)


def _inwards(points: NDArray) -> NDArray:
    """A slight pull to the neck: below the head hair hangs together."""
    towards = np.stack([-points[:, 0], np.zeros(len(points)), -0.045 - points[:, 2]], 1)
    return 2.2 * towards * smoothstep(-0.02, -0.10, points[:, 1])[:, None]


def _off_the_face(points: NDArray, style: Style) -> NDArray:
    """A push sideways and back, off the face: below the brows for everybody, off the forehead without a fringe."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    lower = 0.058 - 0.032 * style.fringe
    zone = smoothstep(lower + 0.010, lower - 0.010, y) * smoothstep(0.025, 0.05, z)
    zone = zone * smoothstep(0.082, 0.064, np.abs(x))
    aside = np.tanh((x - 0.5 * style.parting) / 0.015) * smoothstep(0.068, 0.045, np.abs(x))
    return zone[:, None] * np.stack([1.6 * aside, np.zeros_like(x), np.full_like(x, -0.7)], 1)


def resampled(strands: NDArray, count: int) -> NDArray:
    """The same strands with ``count`` points, through a Catmull-Rom spline."""
    before = strands.shape[1]
    place = np.linspace(0, before - 1, count)
    index = np.minimum(place.astype(int), before - 2)
    t = place - index
    bases: tuple[tuple[int, Callable], ...] = (
        (-1, lambda t: (-(t**3) + 2 * t**2 - t) / 2),
        (0, lambda t: (3 * t**3 - 5 * t**2 + 2) / 2),
        (1, lambda t: (-3 * t**3 + 4 * t**2 + t) / 2),
        (2, lambda t: (t**3 - t**2) / 2),
    )
    matrix = np.zeros((count, before))
    for offset, basis in bases:
        np.add.at(matrix, (np.arange(count), np.clip(index + offset, 0, before - 1)), basis(t))
    return np.einsum("pg,ngd->npd", matrix, strands, optimize=True)
