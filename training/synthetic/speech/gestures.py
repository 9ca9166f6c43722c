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

from .phonemes import PAUSE, VOWELS, Phoneme

_PHRASE_PAUSE = 0.09  # seconds: a shorter one is a breath between two words

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

Curves = dict[str, NDArray[np.float64]]


def stressed(phonemes: Sequence[Phoneme]) -> list[Phoneme]:
    """The vowels that carry primary stress, one for a diphthong."""
    found = [p for p in phonemes if p.stress == 2 and p.symbol in VOWELS]
    return [p for index, p in enumerate(found) if index == 0 or p.start > found[index - 1].end + 1e-6]


def phrase_ends(phonemes: Sequence[Phoneme]) -> list[float]:
    """When a pause begins, seconds; the silence before the first sound is none."""
    return [p.start for p in phonemes[1:] if p.symbol == PAUSE and p.end - p.start >= _PHRASE_PAUSE]


def blinks(phonemes: Sequence[Phoneme], rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Blinks as four times each: lids start down, are shut, start up, are open again; seconds."""
    end = phonemes[-1].end
    pauses = np.array([*phrase_ends(phonemes), end + 10.0])
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


def head(
    phonemes: Sequence[Phoneme], times: NDArray[np.float64], question: bool, effort: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Yaw, pitch and roll of the head [n, 3], radians: a slow sway, nods at stress, the end of a question."""
    turn = np.zeros((len(times), 3))
    for axis, degrees in enumerate(_DRIFT_DEGREES):
        hertz, phases = rng.uniform(*_DRIFT_HERTZ, 4), rng.uniform(0, 2 * np.pi, 4)
        turn[:, axis] = degrees / np.sqrt(2) * np.sin(2 * np.pi * hertz * times[:, None] + phases).sum(1) / 2**0.5
    for vowel in stressed(phonemes):
        nods, depth, width = rng.random() < _NOD_SHARE, rng.uniform(*_NOD_DEGREES), rng.uniform(*_NOD_SECONDS)
        if nods:
            # A nod gets its swing from a smaller move the other way.
            swing = _bump(times, vowel.middle, width) - 0.3 * _bump(times, vowel.start - 0.25, width)
            turn[:, 1] -= effort * depth * swing
    lift, tilt = rng.uniform(*_QUESTION_DEGREES), rng.uniform(-1.0, 1.0)
    if question:
        speech_end = phrase_ends(phonemes)[-1] if phrase_ends(phonemes) else phonemes[-1].end
        turn[:, 1:] += lift * _bump(times, speech_end, 0.28)[:, None] * np.array([1.0, tilt])
    return np.radians(turn)


def brows(
    phonemes: Sequence[Phoneme], times: NDArray[np.float64], question: bool, effort: float, rng: np.random.Generator
) -> Curves:
    """Brows that rise at some stressed syllables and at the end of a question, [n] each in 0..1."""
    inner, outer = np.zeros(len(times)), np.zeros(len(times))
    for vowel in stressed(phonemes):
        rises, height, width = rng.random() < _BROW_SHARE, rng.uniform(0.2, 0.55), rng.uniform(0.14, 0.26)
        if rises:
            bump = effort * height * _bump(times, vowel.middle, width)
            inner, outer = inner + bump, outer + 0.7 * bump
    if question:
        speech_end = phrase_ends(phonemes)[-1] if phrase_ends(phonemes) else phonemes[-1].end
        rise = 0.45 * _bump(times, speech_end - 0.15, 0.3)
        inner, outer = inner + rise, outer + rise
    # Two marks that fall together do not add up to more than a high brow.
    return {"browInnerUp": np.tanh(inner), "browOuterUp": np.tanh(outer)}


def gaze(turn: NDArray[np.float64]) -> Curves:
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
