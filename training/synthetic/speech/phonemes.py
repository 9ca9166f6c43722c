# SPDX-License-Identifier: Apache-2.0
"""From eSpeak's events to a table of phonemes: when each one lasts, which word it is in, how it is stressed.

eSpeak's events need four corrections, each seen in its waveforms:

- A stop's event comes at its burst; the silence of its closure, which is counted to the phoneme before, is the stop's.
- Diphthongs and affricates are one event; they are cut into their parts, since the mouth has another goal in each.
- An event without a name is a pause, or the sound between two others (the glide in "maria", the onset of a rolled r);
  the sound tells which. What sounds goes to a neighbour.
- The events carry no stress; it is taken from the transcription, whose vowels are aligned with those of the events.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from .espeak import Utterance

PAUSE = "_"
VOWELS = frozenset("aeiouyøœɐɑɒɔəɛɜɚɪʊʌæʉᵻɯɨɘɤɞɵʏɶ")
STOPS = frozenset("pbtdkgɡɟcqɢʈɖ")

_Event = tuple[tuple[str, ...], int]  # letters and first sample

_PRIMARY, _SECONDARY = "ˈ", "ˌ"
_QUIET = 0.04  # of the loudest sample: pauses are zeros, but some voices have an echo
_SOUNDING = 0.09  # of the loudest sample: echoes in pauses reach 0.05, nameless sounds begin at 0.14
_WINDOW = 0.0025  # seconds, over which quiet is judged
_LONGEST_CLOSURE = 0.110  # seconds; what is longer is a pause followed by a closure
_KEPT = 0.4  # what the phoneme before a closure keeps of its time, at least (a soft f is as quiet as a closure)
_HEAD_SHARE = {True: 0.6, False: 0.4}  # of the first part of a diphthong, and of an affricate


@dataclass(frozen=True)
class Phoneme:
    """One sound, or a pause."""

    symbol: str
    """One IPA letter without diacritics, or ``PAUSE``."""
    start: float
    """Seconds."""
    end: float
    word: int
    """Index of the word; -1 in pauses before the first."""
    stress: int
    """0 none, 1 secondary, 2 primary; of vowels only."""
    burst: float | None = None
    """When the closure of a stop ends, seconds; None for everything else."""

    @property
    def middle(self) -> float:
        """Half-way between start and end, seconds."""
        return (self.start + self.end) / 2


def letters(symbol: str) -> tuple[str, ...]:
    """The IPA letters in the name of an event: aɪ -> a, ɪ; ɔ̃ -> ɔ; tʃ -> t, ʃ; (en), which is no sound -> nothing."""
    if symbol.startswith("("):
        return ()
    plain = unicodedata.normalize("NFD", symbol)
    found = [letter for letter in plain if unicodedata.category(letter) == "Ll" or letter in "ᵻ"]
    # A letter twice is a long one (Italian ss, Caribbean aa).
    return tuple(letter for index, letter in enumerate(found) if index == 0 or letter != found[index - 1])


def table(utterance: Utterance) -> tuple[Phoneme, ...]:
    """The phonemes of an utterance: without gaps from its first sample to its last, in order, none of length 0."""
    length = len(utterance.audio)
    events = [(letters(symbol), sample) for symbol, sample in utterance.phonemes if not symbol.startswith("(")]
    events = list(_named(events, utterance.audio))
    if not events or events[0][1] > 0:
        events = [((), 0), *events]
    # One pause instead of several in a row.
    events = [event for index, event in enumerate(events) if index == 0 or event[0] or events[index - 1][0]]
    bursts = [sample for _, sample in events]
    starts = _with_closures(events, utterance.audio, utterance.sample_rate)
    ends = [*starts[1:], length]
    stresses = _stresses(events, utterance.transcription)
    word_starts = np.array([sample for _, _, sample in utterance.words])
    phonemes: list[Phoneme] = []
    for (parts, _), start, end, burst, stress in zip(events, starts, ends, bursts, stresses, strict=True):
        if end <= start:
            continue
        # A stop's word begins at its burst or before, never after.
        word = int(np.searchsorted(word_starts, burst, side="right")) - 1
        for part, first, last in _cut(parts or (PAUSE,), start, end):
            phonemes.append(
                Phoneme(
                    symbol=part,
                    start=first / utterance.sample_rate,
                    end=last / utterance.sample_rate,
                    word=word,
                    stress=stress if part in VOWELS else 0,
                    burst=max(burst, first) / utterance.sample_rate if part in STOPS else None,
                )
            )
    return tuple(phonemes)


def _named(events: list[_Event], audio: NDArray) -> Iterator[_Event]:
    """The events without nameless sounds: the next consonant begins with it, else the sound before lasts longer."""
    loudness = np.abs(audio.astype(np.int32))
    limit = _SOUNDING * loudness.max(initial=1)
    earlier: int | None = None
    for (parts, sample), (following, end) in zip(events, [*events[1:], ((), len(audio))], strict=True):
        quarter = (end - sample) // 4
        if not parts and loudness[sample + quarter : end - quarter].max(initial=0) > limit:
            continues = bool(following) and following[0] not in VOWELS | STOPS
            earlier = sample if continues else None
        else:
            yield parts, sample if earlier is None else earlier
            earlier = None


def _with_closures(events: list[_Event], audio: NDArray, sample_rate: int) -> list[int]:
    """First sample of each event, that of a stop moved back over the silence before its burst."""
    window = max(1, round(_WINDOW * sample_rate))
    loudness = np.abs(audio.astype(np.int32))
    limit = _QUIET * loudness.max(initial=1)
    starts = [sample for _, sample in events]
    for index in range(1, len(events)):
        parts, burst = events[index]
        if not parts or parts[0] not in STOPS:
            continue
        kept = _KEPT if events[index - 1][0] else 0.0
        earliest = max(starts[index - 1] + kept * (burst - starts[index - 1]), burst - _LONGEST_CLOSURE * sample_rate)
        while starts[index] - window >= earliest and loudness[starts[index] - window : starts[index]].max() <= limit:
            starts[index] -= window
    return starts


def _cut(parts: tuple[str, ...], start: int, end: int) -> Iterator[tuple[str, float, float]]:
    """Share the time of an event among its letters: the first gets its share, the others the rest evenly."""
    if len(parts) == 1:
        yield parts[0], start, end
        return
    first = start + (end - start) * _HEAD_SHARE[parts[0] in VOWELS]
    edges = [float(start), *np.linspace(first, end, len(parts)).tolist()]
    yield from zip(parts, edges[:-1], edges[1:], strict=True)


def _stresses(events: list[_Event], transcription: str) -> list[int]:
    """Stress of each event: that of the vowel of the transcription which it is aligned with."""
    marked: list[tuple[str, int]] = []
    pending = 0
    for letter in unicodedata.normalize("NFD", transcription):
        if letter in (_PRIMARY, _SECONDARY):
            pending = 2 if letter == _PRIMARY else 1
        elif letter == " ":
            pending = 0
        elif letter in VOWELS:
            marked.append((letter, pending))
            pending = 0
    spoken = [(index, part) for index, (parts, _) in enumerate(events) for part in parts if part in VOWELS]
    matcher = SequenceMatcher(None, [v for v, _ in marked], [v for _, v in spoken], autojunk=False)
    stresses = [0] * len(events)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            index = spoken[block.b + offset][0]
            stresses[index] = max(stresses[index], marked[block.a + offset][1])
    return stresses
