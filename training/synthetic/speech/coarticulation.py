# SPDX-License-Identifier: Apache-2.0
"""From phonemes to the motion of the mouth: goals that blend into each other, and contacts that must be made.

*Goals* blend as in Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993). Segment s dominates
articulator a at time t by

    D_sa(t) = alpha_sa exp(-|tau| / T_a),      F_a(t) = sum_s D_sa(t) goal_sa / sum_s D_sa(t)

with alpha the strength of ``visemes.py`` and tau the distance in time from the segment's core (its middle part, where
tau = 0). T is longer before a segment than after it: lips round ahead of an "oo" that is still to come.

*Contacts* are not blended: a blended /p/ stops short of closing, and a /p/ with open lips is no /p/. Lips (p b m) and
lip and teeth (f v) follow a curve that is 1 for the whole time of the contact, with raised-cosine flanks that leave a
vowel between two contacts time to open. mouthClose is then jawOpen times that curve, which takes back exactly the
opening that the jaw makes, and every action that parts the lips is taken back with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neural_core.curves import as_actions

from .phonemes import VOWELS, Phoneme
from .visemes import ARTICULATORS, CLOSING, LIP_TO_TEETH, viseme_of

Interval = tuple[float, float]

_CORE = 0.3  # share of a segment where it dominates fully
# Time constants before and after the core, seconds.
_REACH: Mapping[str, tuple[float, float]] = {
    "jaw": (0.030, 0.026),
    "rounding": (0.075, 0.035),
    "corners": (0.050, 0.040),
    "lips": (0.032, 0.028),
    "tongue": (0.020, 0.016),
}
_SMOOTHING = 0.016  # seconds, standard deviation: takes the corners off the exponentials
_GRID = 400.0  # samples a second on which goals are blended
_SHORTEST_CONTACT = 0.060  # seconds: longer than one frame at 25 a second, whatever the phase
_APPROACH, _RELEASE = 0.075, 0.065  # seconds, the flanks of a contact
_FLANK = 0.4  # of the time between two contacts: each flank takes no more, so that what is between can open
_VOICED_CLOSURE = {"m": 0.75, "b": 0.6, "β": 0.6}  # share of the sound before its lips part
_UNSTRESSED, _SECONDARY = 0.8, 0.92  # size of the goals of a vowel, where 1 is stressed
_PARTING = ("mouthFunnel", "mouthUpperUp", "mouthLowerDown")


def mouth(phonemes: Sequence[Phoneme], times: NDArray[np.float64], effort: float = 1.0) -> NDArray[np.float64]:
    """What the mouth does, [n, 52] in 0..1.

    Args:
        phonemes: Of the whole clip, without gaps.
        times: [n] seconds.
        effort: Size of the movements; 1 is ordinary, loud speech above, mumbling below.
    """
    goals = blended_goals(phonemes, times, effort)
    closed = contact_curve(lip_contacts(phonemes), times)
    bitten = contact_curve(teeth_contacts(phonemes), times) * (1 - closed)
    for action in _PARTING:
        goals[action] *= 1 - closed
    goals["mouthLowerDown"] *= 1 - bitten
    goals["mouthFunnel"] *= 1 - 0.6 * bitten
    goals["jawOpen"] *= 1 - 0.35 * bitten
    goals["mouthClose"] = goals["jawOpen"] * closed
    for share, contact in ((closed, CLOSING), (bitten, LIP_TO_TEETH)):
        for action, value in contact.items():
            goals[action] = goals.get(action, 0.0) + value * share
    # The lower lip is pulled up to the teeth by as much as the jaw has left it open, but for the teeth's edge.
    goals["mouthClose"] = goals["mouthClose"] + 0.6 * bitten * goals["jawOpen"]
    return as_actions(goals, len(times))


def blended_goals(
    phonemes: Sequence[Phoneme], times: NDArray[np.float64], effort: float
) -> dict[str, NDArray[np.float64]]:
    """F_a(t) of every action that visemes have goals for, smoothed, [n] each."""
    start, end = phonemes[0].start, phonemes[-1].end
    grid = np.arange(start - 0.1, end + 0.1, 1 / _GRID)
    visemes = [viseme_of(p.symbol) for p in phonemes]
    sizes = effort * np.array([_size(p) for p in phonemes])
    half_core = _CORE / 2 * np.array([p.end - p.start for p in phonemes])
    late = grid[:, None] - np.array([p.middle for p in phonemes])
    before, after = (-late - half_core).clip(0.0), (late - half_core).clip(0.0)
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / (_SMOOTHING * _GRID)) ** 2)
    kernel /= kernel.sum()
    goals: dict[str, NDArray[np.float64]] = {}
    for articulator, actions in ARTICULATORS.items():
        reach_before, reach_after = _REACH[articulator]
        strength = np.array([v.strength.get(articulator, 1.0) for v in visemes])
        exponent = np.log(strength) - before / reach_before - after / reach_after
        # In long pauses all of D is tiny; their ratio is what counts.
        dominance = np.exp(exponent - exponent.max(1, keepdims=True))
        dominance /= dominance.sum(1, keepdims=True)
        for action in actions:
            curve = dominance @ (sizes * [v.goals.get(action, 0.0) for v in visemes])
            smooth = np.convolve(np.pad(curve, 20, mode="edge"), kernel, mode="valid")
            goals[action] = np.interp(times, grid, smooth)
    return goals


def lip_contacts(phonemes: Sequence[Phoneme]) -> list[tuple[Interval, float]]:
    """When the lips must meet or come near, and how near.

    For p from the start of its silence to its burst; for b and m while their murmur lasts; always as long as another
    such sound follows at once.
    """
    contacts = []
    for phoneme, following in zip(phonemes, [*phonemes[1:], None], strict=True):
        near = viseme_of(phoneme.symbol).lips_closed
        if near:
            contacts.append(((phoneme.start, _parting(phoneme, following)), near))
    return contacts


def teeth_contacts(phonemes: Sequence[Phoneme]) -> list[tuple[Interval, float]]:
    """When lip and teeth must meet (f v)."""
    return [((p.start, p.end), 1.0) for p in phonemes if viseme_of(p.symbol).lip_to_teeth]


def contact_curve(contacts: Sequence[tuple[Interval, float]], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the contacts are made, [n]: 1 (or what was asked for) while each lasts, 0 far from all of them."""
    intervals = [_long_enough(interval) for interval, _ in contacts]
    open_share = np.ones(len(times))
    for index, ((start, end), (_, near)) in enumerate(zip(intervals, contacts, strict=True)):
        free_before = start - intervals[index - 1][1] if index else np.inf
        free_after = intervals[index + 1][0] - end if index + 1 < len(intervals) else np.inf
        approach = float(np.clip(_FLANK * free_before, 1e-3, _APPROACH))
        release = float(np.clip(_FLANK * free_after, 1e-3, _RELEASE))
        away = np.maximum((start - times) / approach, (times - end) / release).clip(0.0, 1.0)
        open_share *= 1 - near * 0.5 * (1 + np.cos(np.pi * away))
    return 1 - open_share


def _parting(phoneme: Phoneme, following: Phoneme | None) -> float:
    """When the lips part again, seconds."""
    if following is not None and viseme_of(following.symbol).lips_closed:
        return phoneme.end
    if phoneme.symbol in _VOICED_CLOSURE:
        sound = phoneme.start if phoneme.burst is None else phoneme.burst
        return sound + _VOICED_CLOSURE[phoneme.symbol] * (phoneme.end - sound)
    return phoneme.start if phoneme.burst is None else phoneme.burst


def _long_enough(interval: Interval) -> Interval:
    """The interval, widened on both sides where a frame might miss it."""
    start, end = interval
    missing = max(0.0, _SHORTEST_CONTACT - (end - start)) / 2
    return start - missing, end + missing


def _size(phoneme: Phoneme) -> float:
    """How large the goals of a segment are: unstressed vowels are reduced, consonants are not."""
    return (_UNSTRESSED, _SECONDARY, 1.0)[phoneme.stress] if phoneme.symbol in VOWELS else 1.0
