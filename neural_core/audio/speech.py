# SPDX-License-Identifier: Apache-2.0
"""From a recording of speech to the curves of a face that says it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .. import models
from ..curves import FPS, Curves, as_actions
from ..errors import UsageError
from ..progress import Report, silent
from . import gestures
from .features import HOP, log_mel, loudness
from .io import SAMPLE_RATE, Sound, read_sound
from .lipsync import DEFAULT_MODEL, MOUTH, RATE, LipSync, load, mouth
from .rhythm import Rhythm, hear

FPS_RANGE = (10.0, 120.0)
MOST = 3.0
"""Largest strength of mouth and gestures."""

_REST = 0.4  # seconds at both ends over which the head comes from rest and goes back


@dataclass(frozen=True)
class Manner:
    """How a face speaks."""

    fps: float = FPS
    """Frames a second of the curves."""
    strength: float = 1.0
    """Size of the mouth's movements."""
    gestures: float = 1.0
    """Size of the movements of brows and head; 0 leaves out the blinks, too."""
    seed: int = 0
    """Of when somebody blinks, nods and raises the brows."""

    def __post_init__(self) -> None:
        """Raise UsageError for what makes no sense."""
        if not FPS_RANGE[0] <= self.fps <= FPS_RANGE[1]:
            raise UsageError(f"{self.fps:g} frames a second are not between {FPS_RANGE[0]:g} and {FPS_RANGE[1]:g}.")
        for name in ("strength", "gestures"):
            if not 0 <= getattr(self, name) <= MOST:
                raise UsageError(f"A {name} of {getattr(self, name):g} is not between 0 and {MOST:g}.")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"There is no seed {self.seed}.", "Seeds are whole numbers from 0.")


def speak(
    path: Path,
    manner: Manner | None = None,
    model: str = DEFAULT_MODEL,
    device: torch.device | str = "cpu",
    report: Report = silent,
) -> Curves:
    """Return the curves of a face that says what a sound file holds.

    The same file and manner give the same curves.

    Args:
        path: what `io.read_sound` reads.
        manner: how; None for the ordinary manner.
        model: name of an installed lip-sync model, or a file.
        device: where the network computes.
        report: told of progress.

    Raises:
        InputError: the file cannot be read as sound.
        ModelError: there is no such model, or it is damaged.
    """
    report("Listening", 0, 3)
    sound = read_sound(path)
    network = load(models.find(model), device)
    report("Listening", 1, 3)
    curves = curves_of(sound, network, manner or Manner(), device, report)
    report("Listening", 3, 3)
    return curves


def curves_of(
    sound: Sound,
    network: LipSync,
    manner: Manner,
    device: torch.device | str = "cpu",
    report: Report = silent,
) -> Curves:
    """Return the curves of a face that says what is heard in `sound`; arguments as those of `speak`."""
    mel = log_mel(torch.from_numpy(sound).to(device)[None])[0]
    report("Listening", 2, 3)
    told = mouth(network, mel).double().cpu().numpy()
    count = max(1, round(len(sound) / SAMPLE_RATE * manner.fps))
    times = np.arange(count) / manner.fps
    at = np.arange(len(told)) / RATE
    lips = {name: manner.strength * np.interp(times, at, told[:, k]) for k, name in enumerate(MOUTH)}
    actions = as_actions(lips, count)
    if not manner.gestures:
        return Curves(manner.fps, actions, np.zeros((count, 3)))
    rhythm = hear(loudness(mel[None])[0].double().cpu().numpy(), SAMPLE_RATE / HOP)
    others, head = _accompany(rhythm, times, manner)
    return Curves(manner.fps, (actions + others).clip(0.0, 1.0), head)


def _accompany(
    rhythm: Rhythm, times: NDArray[np.float64], manner: Manner
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what goes with speech beside the mouth: actions [n, 52], and turns of the head [n, 3]."""
    rng = np.random.default_rng(manner.seed)
    lids = gestures.lids(gestures.blinks(rhythm, rng), times)
    head = gestures.head(rhythm, times, manner.gestures, rng)
    brows = gestures.brows(rhythm, times, manner.gestures, rng)
    # A strip of speech begins and ends at rest, so that the head does not jump where others take over.
    rest = np.minimum(times, rhythm.seconds - times).clip(0.0, _REST) / _REST
    head *= (0.5 - 0.5 * np.cos(math.pi * rest))[:, None]
    others = as_actions({"eyeBlink": lids, **brows, **gestures.gaze(head)}, len(times))
    return others, head
