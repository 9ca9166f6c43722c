# SPDX-License-Identifier: Apache-2.0
"""Hair that is gathered: combed over the head to a tie, from where a ponytail falls, or into a bun."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neural_core.human.surfaces import unit
from training.synthetic.hair_field import Skin
from training.synthetic.hair_locks import Locks
from training.synthetic.hair_styles import Style
from training.synthetic.regions import smoothstep

_MIDDLE = np.array([0.0, 0.015, -0.020])
_TOWARDS = {"ponytail": np.array([0.0, 0.050, -0.100]), "bun": np.array([0.0, 0.075, -0.085])}
_TO_TIE = 14
_TAIL = 14
_WOUND = 1600  # strands of a bun


def gathered(roots: NDArray, style: Style, locks: Locks, skin: Skin) -> NDArray:
    """Strands [n, 29, 3] from roots [n, 3] to the tie, and beyond it a tail of the style's length, or a stub."""
    tie, out = tie_of(style, skin)
    t = np.linspace(0, 1, _TO_TIE + 1)[None, :, None]
    start, end = roots - _MIDDLE, tie - _MIDDLE
    reach, goal = np.linalg.norm(start, axis=1)[:, None, None], np.linalg.norm(end)
    angle = np.arccos(np.clip(unit(start) @ unit(end), -0.9999, 0.9999))[:, None, None]
    arc = (np.sin((1 - t) * angle) * unit(start)[:, None] + np.sin(t * angle) * unit(end)) / np.sin(angle)
    path = _MIDDLE + arc * (reach + (goal - reach) * t)
    room = (0.0012 + (0.003 + 0.010 * style.volume) * locks.layer)[:, None] * np.minimum(4 * t[..., 0], 1.0)
    spread = _disc(locks)
    path = path + t**3 * 0.007 * spread[:, None]
    sway = 0.0025 * locks.bend[:, None] * np.sin(np.pi * t)
    path = skin.push_out(path + sway, room)
    path = skin.push_out(path, 0.8 * room)
    path[:, 0] = roots
    length = 0.02 if style.tie == "bun" else style.length
    lengths = length * (1 - style.layers * locks.shorter)
    return np.concatenate([path, _tail(path[:, -1], out, spread, lengths, style, locks, skin)], 1)


def tie_of(style: Style, skin: Skin) -> tuple[NDArray, NDArray]:
    """Where the hair is tied [3], and the direction out of the head there [3]."""
    out = unit(_TOWARDS[style.tie] - _MIDDLE)
    line = _MIDDLE + np.linspace(0.05, 0.16, 111)[:, None] * out
    distance = skin.at(line)[0]
    return line[int(np.argmin(np.abs(distance - 0.006)))], out


def _disc(locks: Locks) -> NDArray:
    """Where in the bundle each strand lies [n, 3], about within the unit ball."""
    return locks.bend / (1 + np.linalg.norm(locks.bend, axis=1, keepdims=True))


def _tail(start, out, spread, lengths, style: Style, locks: Locks, skin: Skin) -> NDArray:
    step = (lengths / _TAIL)[:, None]
    points, path = start, []
    direction = np.broadcast_to(out, start.shape)
    for k in range(_TAIL):
        fall = min(1.0, (k + 1) * style.length / _TAIL / 0.05)
        widen = 0.9 * np.exp(-k / 3) - 0.12 * (k > _TAIL // 2)
        aim = np.array([0.0, -1.0, -0.05]) * fall + 0.30 * widen * spread + 0.02 * locks.bend
        direction = unit((0.9 - 0.5 * fall) * direction + aim)
        points = skin.push_out(points + step * direction, 0.002 + 0.012 * locks.layer)
        path.append(points)
    return np.stack(path, 1)


def wound(style: Style, skin: Skin, rng: np.random.Generator) -> NDArray:
    """The strands of a bun [1600, 36, 3]: hair wound round a ring that lies on the head at the tie."""
    tie, out = tie_of(style, skin)
    across = unit(np.cross(out, np.array([0.0, 1.0, 0.0])))
    up = np.cross(across, out)
    lock = rng.integers(0, 60, _WOUND)
    start = 2 * np.pi * (rng.random(60)[lock] + 0.02 * rng.standard_normal(_WOUND))
    around = 2 * np.pi * (rng.random(60)[lock] + 0.035 * rng.standard_normal(_WOUND))
    twist = (0.35 + 0.1 * rng.standard_normal(60))[lock]
    depth = 1 - 0.35 * rng.random(60)[lock] * rng.random(_WOUND)
    t = np.linspace(0, 1, 36)[None]
    along = start[:, None] + 1.7 * np.pi * t * (0.6 + 0.4 * rng.random((_WOUND, 1)))
    turn = around[:, None] + 2 * np.pi * twist[:, None] * t
    ring, tube = 0.016, 0.0155 * depth[:, None] * (0.9 + 0.1 * np.sin(3 * along))
    radius = ring + tube * np.cos(turn)
    points = (
        tie
        + (0.010 + 0.9 * tube * np.sin(turn))[..., None] * out
        + (radius * np.cos(along))[..., None] * across
        + (radius * np.sin(along))[..., None] * up
    )
    stray = rng.standard_normal((_WOUND, 1, 3)) * (smoothstep(0.9, 1.0, rng.random((_WOUND, 1, 1))))
    return points + 0.006 * stray * (t**2)[..., None]
