# SPDX-License-Identifier: Apache-2.0
"""A short clip of a person of ours, of whom every action and turn is known."""

from pathlib import Path

import numpy as np

from neural_core import media
from neural_core.audio.io import Track
from neural_core.curves import Curves
from neural_core.human.appearance import CODE_SIZE
from neural_core.human.arkit import ACTIONS

FPS = 25.0
FRAMES = 12
JAW, YAW = 0.7, 0.45
"""The jaw opens and shuts once; the head goes from one side to the other, radians."""
RATE = 16000


def acted() -> Curves:
    """What the person does."""
    share = np.arange(FRAMES) / (FRAMES - 1)
    actions = np.zeros((FRAMES, len(ACTIONS)))
    actions[:, ACTIONS.index("jawOpen")] = JAW * np.sin(np.pi * share) ** 2
    head = np.zeros((FRAMES, 3))
    head[:, 0] = YAW * (2 * share - 1)
    return Curves(FPS, actions, head)


def write_clip(path: Path, size: int = 192, before: int = 0) -> Curves:
    """Write the clip with a tone, after some frames of nothing, and return what the person does in it."""
    from training.synthetic.figure import Attire
    from training.synthetic.speech.film import BACKGROUND, pictures

    curves = acted()
    bald = Attire(hair="bald")  # hair takes longest
    shown = pictures(np.zeros(CODE_SIZE), curves, range(FRAMES), size, still_head=False, attire=bald)
    empty = [np.full((size, size, 3), BACKGROUND, np.uint8)] * before
    frames = empty + [media.over(picture, BACKGROUND) for picture in shown]
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(round(RATE * len(frames) / FPS)) / RATE)
    media.write_mp4(path, frames, FPS, {"system": "test"}, Track(tone[None].astype(np.float32), RATE))
    return curves


def write_faceless(path: Path, frames: int = 8) -> None:
    """Write a clip of noise."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    media.write_mp4(path, [noise] * frames, FPS, {"system": "test"})
