# SPDX-License-Identifier: Apache-2.0
"""Recordings of speech with the curves of the face that speaks: `x.wav` beside `x.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neural_core.audio.io import SAMPLE_RATE, read_sound
from neural_core.audio.lipsync import MOUTH, RATE
from neural_core.curves import read_curves
from neural_core.errors import InputError
from neural_core.human.arkit import ACTIONS, stem


@dataclass(frozen=True)
class Spoken:
    """Clips in memory."""

    files: list[Path]
    """The curves' files."""
    sounds: list[Tensor]
    """[n] int16 samples, SAMPLE_RATE a second."""
    mouths: list[Tensor]
    """[frames, len(MOUTH)] float32, what the mouth does, RATE times a second."""

    def __len__(self) -> int:
        return len(self.sounds)

    @property
    def minutes(self) -> float:
        """Length of all clips together."""
        return sum(map(len, self.sounds)) / SAMPLE_RATE / 60


def load_spoken(folders: Sequence[Path], limit: int = 0) -> Spoken:
    """Read the clips of some folders.

    What a mouth does all the time of a clip is mood rather than speech, and is taken away.

    Args:
        folders: that are searched, also deeply.
        limit: use at most this many clips; 0 uses all.

    Raises:
        InputError: there are none, or one of them is damaged.
    """
    files = [
        path for folder in folders for path in sorted(folder.rglob("*.json")) if path.with_suffix(".wav").is_file()
    ]
    if not files:
        raise InputError(
            f"There is no speech with curves in {', '.join(map(str, folders))}.",
            "Make some: python -m training.synthesize speech --fps 50 --out DIR.",
        )
    files = files[: limit or None]
    sounds, mouths = [], []
    for file in files:
        sounds.append(torch.from_numpy(np.rint(read_sound(file.with_suffix(".wav")) * 32767).astype(np.int16)))
        mouths.append(read_mouth(file, len(sounds[-1]) / SAMPLE_RATE))
    return Spoken(files, sounds, mouths)


def read_mouth(file: Path, seconds: float) -> Tensor:
    """Return what the mouth does in a curves file, [frames, len(MOUTH)], RATE times a second. Raises InputError."""
    curves = read_curves(file)
    columns = [[place for place, name in enumerate(ACTIONS) if stem(name) == wanted] for wanted in MOUTH]
    told = np.stack([curves.actions[:, places].mean(1) for places in columns], axis=1)
    told -= told.min(0)
    times = np.arange(int(seconds * RATE) + 1) / RATE
    at = np.arange(len(told)) / curves.fps
    return torch.from_numpy(np.stack([np.interp(times, at, column) for column in told.T], axis=1)).float()


@dataclass(frozen=True)
class Piece:
    """Where a piece of a clip lies."""

    clip: int
    start: float
    """Seconds; may lie before the clip's beginning, where there is silence."""
    speed: float
    """How much faster it is played; its pitch and the resonances of the voice rise with it."""


def cut(spoken: Spoken, piece: Piece, frames: int) -> tuple[Tensor, Tensor]:
    """Return sound [n] and mouth [frames, len(MOUTH)] of a piece, as many samples as belong to the frames.

    Before and after a clip there is silence, in which the mouth rests.
    """
    samples = round((frames - 1) / RATE * SAMPLE_RATE)
    sound, mouth = spoken.sounds[piece.clip], spoken.mouths[piece.clip]
    at = piece.start * SAMPLE_RATE + piece.speed * torch.arange(samples, dtype=torch.float64)
    heard = _between(sound.float()[:, None] / 32768, at)[:, 0]
    at = piece.start * RATE + piece.speed * torch.arange(frames, dtype=torch.float64)
    return heard, _between(mouth, at)


def _between(rows: Tensor, at: Tensor) -> Tensor:
    """Return rows [n, c] at places [m] between them, linearly; 0 outside."""
    rows = F.pad(rows, (0, 0, 1, 2))
    at = (at + 1).clamp(0, len(rows) - 2)
    below = at.floor().long()
    share = (at - below).float()[:, None]
    return rows[below] * (1 - share) + rows[below + 1] * share
