# SPDX-License-Identifier: Apache-2.0
"""Spoken text with the time of every phoneme, from eSpeak NG in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_core.errors import PortraitError, UsageError

from . import espeak_process

_SECONDS = 60.0
_INSTALL = "Install it: apt-get install espeak-ng (Debian, Ubuntu), brew install espeak-ng (macOS)."


@dataclass(frozen=True)
class Request:
    """What is said, and by what voice."""

    text: str
    voice: str
    """A voice of eSpeak's, with a variant: ``de+f3``."""
    rate: int = 160
    """Words a minute, 80..450."""
    pitch: int = 50
    """0..100."""
    pitch_range: int = 50
    """0 (monotone) .. 100."""


@dataclass(frozen=True)
class Utterance:
    """Sound, and what sounds when."""

    audio: NDArray[np.int16]
    """[n] samples."""
    sample_rate: int
    phonemes: tuple[tuple[str, int], ...]
    """IPA symbol and first sample of each, in order; an empty symbol is a pause."""
    words: tuple[tuple[int, int, int], ...]
    """First character, length in characters and first sample of each word."""
    transcription: str
    """IPA of the whole text with the stress marks ˈ and ˌ before the stressed syllables."""


def speak(request: Request) -> Utterance:
    """Return the sound of a text; the same request gives the same samples.

    Raises:
        PortraitError: eSpeak NG is not installed, or ended unexpectedly.
        UsageError: it has no such voice.
    """
    try:
        # -I: only the standard library, whatever lies in the working directory.
        process = subprocess.run(
            [sys.executable, "-I", str(Path(espeak_process.__file__))],
            input=json.dumps(asdict(request)).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PortraitError(
            f"eSpeak NG did not finish a sentence of {len(request.text)} characters in {_SECONDS:.0f} s.", _INSTALL
        ) from error
    if process.returncode == espeak_process.MISSING:
        raise PortraitError("Speech needs the library of eSpeak NG, and it was not found.", _INSTALL)
    if process.returncode == espeak_process.NO_VOICE:
        raise UsageError(
            f'eSpeak NG has no voice "{request.voice}".', "The command espeak-ng --voices lists what it has."
        )
    if process.returncode != 0:
        last = (process.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise PortraitError(f"eSpeak NG ended with code {process.returncode} ({last}).", _INSTALL)
    line, _, samples = process.stdout.partition(b"\n")
    header = json.loads(line)
    return Utterance(
        audio=np.frombuffer(samples, "<i2").astype(np.int16),
        sample_rate=header["sample_rate"],
        phonemes=tuple((symbol, sample) for symbol, sample in header["phonemes"]),
        words=tuple((first, length, sample) for first, length, sample in header["words"]),
        transcription=header["transcription"],
    )


@cache
def available() -> bool:
    """Say whether eSpeak NG can speak here."""
    try:
        return len(speak(Request("a", "en")).audio) > 0
    except PortraitError:
        return False
