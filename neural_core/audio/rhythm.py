# SPDX-License-Identifier: Apache-2.0
"""The rhythm of speech: where it pauses, and which syllables stand out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PHRASE_PAUSE = 0.09
"""Seconds: a shorter pause is a breath between two words, or the closure of a "p"."""

_SMOOTHING = 0.04  # seconds, standard deviation: syllables remain, single periods of a deep voice do not
_ABOVE_NOISE, _SOFTEST, _LOUDEST_PAUSE = 8.0, 35.0, 15.0  # dB: over the noise; below the loud frames, at most, at least
_PROMINENCE = 4.0  # dB that a stressed syllable is louder than what parts it from a louder one
_STRONG = 6.0  # dB below the loud frames, at most
_APART = 0.22  # seconds between two stressed syllables
_ONSET = 0.05  # seconds from the beginning of a stressed vowel to its loudest moment


@dataclass(frozen=True)
class Stress:
    """A stressed vowel, in seconds."""

    start: float
    middle: float


@dataclass(frozen=True)
class Rhythm:
    """When what of a recording happens."""

    seconds: float
    """Length of the recording."""
    stresses: tuple[Stress, ...]
    phrase_ends: tuple[float, ...]
    """When a pause begins, seconds; the silence before the first sound is none."""
    question: bool = False
    """Whether it is one."""

    @property
    def speech_end(self) -> float:
        """When the last phrase ends, seconds."""
        return self.phrase_ends[-1] if self.phrase_ends else self.seconds


def hear(level: NDArray[np.floating], rate: float) -> Rhythm:
    """Return the rhythm of a recording: pauses are soft, and stressed syllables louder than those around them.

    Loudness is one of the signs of stress, and the only one that is looked at; a question is not recognised.

    Args:
        level: [n] loudness in dB (`features.loudness`).
        rate: of its frames, a second.
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    loud = float(np.quantile(level, 0.95))
    noise = float(np.quantile(level, 0.05))
    sounds = level > np.clip(noise + _ABOVE_NOISE, loud - _SOFTEST, loud - _LOUDEST_PAUSE)
    # What comes before the first sound is no pause between phrases.
    pauses = [start / rate for start, end in _runs(~sounds) if start and end - start >= PHRASE_PAUSE * rate]
    smooth = gaussian_filter1d(level.clip(loud - _SOFTEST), _SMOOTHING * rate)
    peaks, _ = find_peaks(smooth, height=loud - _STRONG, distance=max(1, round(_APART * rate)), prominence=_PROMINENCE)
    stresses = tuple(Stress(max(0.0, peak / rate - _ONSET), peak / rate) for peak in peaks)
    return Rhythm(len(level) / rate, stresses, tuple(pauses))


def _runs(true: NDArray[np.bool_]) -> list[list[int]]:
    """Return where each stretch that is true begins, and where it has ended."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], true, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).tolist()
