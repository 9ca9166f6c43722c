# SPDX-License-Identifier: Apache-2.0
"""What a speaker does beside the mouth: blinks, brows, head, and eyes that stay on the listener while the head moves.

The rhythm follows what is known of speakers: blinks gather at pauses and the ends of phrases, nods and raised brows
mark stressed syllables (and not all of them), a question ends with raised brows and head. Which ones is left to chance,
from a seeded generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..curves import Columns
from .rhythm import Rhythm

_BLINKS_A_MINUTE = (12.0, 22.0)
_SHORTEST_BLINK_GAP = 1.1  # seconds from one blink to the next
_BLINK_SNAP = 0.6  # seconds that a blink waits for a pause, or comes early for it
_BLINK_SNAPS = 0.75  # share of the blinks that do
_LID_DOWN, _LID_SHUT, _LID_UP = (0.07, 0.10), (0.04, 0.06), (0.11, 0.17)  # seconds

_NOD_SHARE, _BROW_SHARE = 0.4, 0.22  # of the stressed syllables
_NOD_DEGREES, _NOD_SECONDS = (1.2, 3.5), (0.09, 0.13)  # depth; standard deviation in time
_DRIFT_DEGREES = np.array([2.6, 1.5, 1.2])  # yaw, pitch, roll: standard deviation of the slow sway
_DRIFT_HERTZ = (0.06, 0.32)
_QUESTION_DEGREES = (1.5, 3.5)

# The eyeLook actions turn the eyes by these angles at 1, degrees (``human/anny.py``).
_LOOK_SIDEWAYS, _LOOK_DOWN, _LOOK_UP = 20.0, 17.0, 10.0
_LOOK_KEPT = 0.85  # share of a turn of the head that the eyes take back


def blinks(rhythm: Rhythm, rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Blinks as four times each: lids start down, are shut, start up, are open again; seconds."""
    end = rhythm.seconds
    pauses = np.array([*rhythm.phrase_ends, end + 10.0])
    mean = 60.0 / rng.uniform(*_BLINKS_A_MINUTE)
    found: list[tuple[float, float, float, float]] = []
    time = mean * rng.random()
    while True:
        nearest = pauses[np.abs(pauses - time).argmin()]
        snaps = rng.random() < _BLINK_SNAPS and abs(nearest - time) < _BLINK_SNAP
        start = float(nearest) if snaps else time
        start = max(start, found[-1][0] + _SHORTEST_BLINK_GAP if found else 0.05)
        down, shut, up = (rng.uniform(*limits) for limits in (_LID_DOWN, _LID_SHUT, _LID_UP))
        if start + down + shut + up > end:
            return found
        found.append((start, start + down, start + down + shut, start + down + shut + up))
        time = start + mean * rng.gamma(4.0) / 4.0


def lids(found: Sequence[tuple[float, float, float, float]], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the lids are shut at increasing times, [n] in 0..1."""
    curve = np.zeros(len(times))
    for begin, shut, lifting, done in found:
        here = slice(*np.searchsorted(times, (begin, done)))
        away = np.maximum((shut - times[here]) / (shut - begin), (times[here] - lifting) / (done - lifting)).clip(0.0)
        curve[here] = 0.5 * (1 + np.cos(np.pi * away))
    return curve


def head(rhythm: Rhythm, times: NDArray[np.float64], effort: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Yaw, pitch and roll of the head [n, 3], radians: a slow sway, nods at stress, the end of a question."""
    turn = np.zeros((len(times), 3))
    for axis, degrees in enumerate(_DRIFT_DEGREES):
        hertz, phases = rng.uniform(*_DRIFT_HERTZ, 4), rng.uniform(0, 2 * np.pi, 4)
        turn[:, axis] = degrees / np.sqrt(2) * np.sin(2 * np.pi * hertz * times[:, None] + phases).sum(1) / 2**0.5
    for stress in rhythm.stresses:
        nods, depth, width = rng.random() < _NOD_SHARE, rng.uniform(*_NOD_DEGREES), rng.uniform(*_NOD_SECONDS)
        if nods:
            # A nod gets its swing from a smaller move the other way.
            swing = _bump(times, stress.middle, width) - 0.3 * _bump(times, stress.start - 0.25, width)
            turn[:, 1] -= effort * depth * swing
    lift, tilt = rng.uniform(*_QUESTION_DEGREES), rng.uniform(-1.0, 1.0)
    if rhythm.question:
        turn[:, 1:] += lift * _bump(times, rhythm.speech_end, 0.28)[:, None] * np.array([1.0, tilt])
    return np.radians(turn)


def brows(rhythm: Rhythm, times: NDArray[np.float64], effort: float, rng: np.random.Generator) -> Columns:
    """Brows that rise at some stressed syllables and at the end of a question, [n] each in 0..1."""
    inner, outer = np.zeros(len(times)), np.zeros(len(times))
    for stress in rhythm.stresses:
        rises, height, width = rng.random() < _BROW_SHARE, rng.uniform(0.2, 0.55), rng.uniform(0.14, 0.26)
        if rises:
            bump = effort * height * _bump(times, stress.middle, width)
            inner, outer = inner + bump, outer + 0.7 * bump
    if rhythm.question:
        rise = 0.45 * _bump(times, rhythm.speech_end - 0.15, 0.3)
        inner, outer = inner + rise, outer + rise
    # Two marks that fall together do not add up to more than a high brow.
    return {"browInnerUp": np.tanh(inner), "browOuterUp": np.tanh(outer)}


def gaze(turn: NDArray[np.float64]) -> Columns:
    """The eyeLook actions [n] that keep the eyes on the listener while the head turns by [n, 3] radians."""
    left, up = -_LOOK_KEPT * np.degrees(turn[:, 0]), -_LOOK_KEPT * np.degrees(turn[:, 1])
    to_left, to_right = left.clip(0.0) / _LOOK_SIDEWAYS, (-left).clip(0.0) / _LOOK_SIDEWAYS
    return {
        "eyeLookOutLeft": to_left,
        "eyeLookInRight": to_left,
        "eyeLookInLeft": to_right,
        "eyeLookOutRight": to_right,
        "eyeLookUp": up.clip(0.0) / _LOOK_UP,
        "eyeLookDown": (-up).clip(0.0) / _LOOK_DOWN,
    }


def _bump(times: NDArray[np.float64], middle: float, width: float) -> NDArray[np.float64]:
    """A smooth rise to 1 at ``middle`` and back, ``width`` seconds of standard deviation."""
    return np.exp(-0.5 * ((times - middle) / width) ** 2)
