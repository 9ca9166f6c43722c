# SPDX-License-Identifier: Apache-2.0
"""The rhythm of what is said, from its phonemes: where pauses are and which vowels are stressed."""

from __future__ import annotations

from collections.abc import Sequence

from neural_core.audio.rhythm import PHRASE_PAUSE, Rhythm, Stress

from .phonemes import PAUSE, VOWELS, Phoneme


def rhythm_of(phonemes: Sequence[Phoneme], question: bool = False) -> Rhythm:
    """The rhythm of a clip."""
    stresses = tuple(Stress(vowel.start, vowel.middle) for vowel in stressed(phonemes))
    return Rhythm(phonemes[-1].end, stresses, tuple(phrase_ends(phonemes)), question)


def stressed(phonemes: Sequence[Phoneme]) -> list[Phoneme]:
    """The vowels that carry primary stress, one for a diphthong."""
    found = [p for p in phonemes if p.stress == 2 and p.symbol in VOWELS]
    return [p for index, p in enumerate(found) if index == 0 or p.start > found[index - 1].end + 1e-6]


def phrase_ends(phonemes: Sequence[Phoneme]) -> list[float]:
    """When a pause begins, seconds; the silence before the first sound is none."""
    return [p.start for p in phonemes[1:] if p.symbol == PAUSE and p.end - p.start >= PHRASE_PAUSE]
