# SPDX-License-Identifier: Apache-2.0
"""What is said: sentences in eight languages, written for this project (CC0-1.0), and patterns that make more.

``corpus/<language>.txt`` has sections in brackets; a line is one entry. ``voice`` lists eSpeak's voices of the
language, ``sentences`` are said as they stand, and a line of ``patterns`` like ``{who} {does} {where}.`` takes an entry
of the section for each name. Every language fills more than 100,000 sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from neural_core.errors import UsageError

_FOLDER = Path(__file__).with_name("corpus")
_WHOLE_SENTENCES = 0.35  # share of the texts that are written out rather than made from patterns
_HELD_OUT_EVERY = 5  # of the sentences that are written out

Texts = Literal["all", "training", "held-out"]
"""Held-out texts are every fifth of the sentences that are written out; training texts are all others."""

VARIANTS = (*(f"m{n}" for n in range(1, 9)), *(f"f{n}" for n in range(1, 6)), "Andy", "Annie", "linda", "steph")
"""eSpeak's variants that sound like people; it has robots, croaks and whispers too."""

LANGUAGES: tuple[str, ...] = tuple(sorted(path.stem for path in _FOLDER.glob("*.txt")))


@cache
def sections(language: str) -> Mapping[str, tuple[str, ...]]:
    """The entries of each section of a language. Raises UsageError if we have no such language."""
    if language not in LANGUAGES:
        raise UsageError(f'There are no texts in "{language}".', f"We have {', '.join(LANGUAGES)}.")
    found: dict[str, list[str]] = {}
    entries: list[str] = []
    for line in (_FOLDER / f"{language}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            entries = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            entries.append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def sample_text(language: str, rng: np.random.Generator, texts: Texts = "all") -> str:
    """One or two sentences of a language."""
    entries = {**sections(language), "sentences": sentences(language, texts)}

    def pick(section: str) -> str:
        return entries[section][rng.integers(len(entries[section]))]

    if rng.random() < _WHOLE_SENTENCES or texts == "held-out":
        first = pick("sentences")
        return f"{first} {pick('sentences')}" if rng.random() < 0.3 else first
    text = re.sub(r"\{(\w+)\}", lambda slot: pick(slot[1]), pick("patterns"))
    # Sentences begin with a capital letter, also after a full stop within the pattern.
    return re.sub(r"(^|[.?!] )([¿¡]?)(\w)", lambda m: m[1] + m[2] + _capital(m[3], language), text)


def sentences(language: str, texts: Texts = "all") -> tuple[str, ...]:
    """The sentences of a language that are written out."""
    written = sections(language)["sentences"]
    if texts == "all":
        return written
    held_out = written[::_HELD_OUT_EVERY]
    return held_out if texts == "held-out" else tuple(line for line in written if line not in held_out)


def sample_voice(language: str, rng: np.random.Generator, variants: Sequence[str] = VARIANTS) -> str:
    """A voice of the language with one of eSpeak's variants of its timbre."""
    voices = sections(language)["voice"]
    return f"{voices[rng.integers(len(voices))]}+{variants[rng.integers(len(variants))]}"


def is_question(text: str) -> bool:
    """Whether a text ends as a question."""
    return text.rstrip().endswith("?")


def _capital(letter: str, language: str) -> str:
    return "İ" if language == "tr" and letter == "i" else letter.upper()
