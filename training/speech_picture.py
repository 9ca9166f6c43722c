# SPDX-License-Identifier: Apache-2.0
"""A picture of speech: the spectrogram, and beneath it what the mouth does, told and true."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neural_core.audio.lipsync import CLOSE, JAW, MOUTH

_BAND = 3  # pixels of a band of the spectrogram
_ROW = 90  # pixels of a row of curves
_FRAME = 4  # pixels of a frame of the mouth, which is two of the spectrogram
_RANGE = 70.0  # dB from white to black
_TOLD, _TRUE = (0.85, 0.1, 0.1), (0.1, 0.1, 0.1)


def speech_picture(mel: Tensor, told: Tensor, truth: Tensor) -> Tensor:
    """Return colours [3, h, w] in 0..1: loud is dark; below, curves that are told in red over true ones in black.

    The rows show jawOpen; the opening that is left of it by mouthClose; mouthPucker; mouthStretch.

    Args:
        mel: [frames, BANDS] dB.
        told: [t, len(MOUTH)].
        truth: [t, len(MOUTH)]; of different lengths the shorter one counts.
    """
    count = min(len(told), len(truth), len(mel) // 2)
    grey = ((mel.max() - mel[: 2 * count]) / _RANGE).clamp(0, 1).T.flip(0)
    grey = grey.repeat_interleave(_BAND, 0).repeat_interleave(_FRAME // 2, 1)
    rows = [grey.expand(3, -1, -1)]
    for name in ("jawOpen", "opening", "mouthPucker", "mouthStretch"):
        row = torch.ones(3, _ROW, count * _FRAME)
        row[:, -1] = 0.6
        true, found = (_curve(values[:count], name) for values in (truth, told))
        top = max(float(true.max()), float(found.max()), 1e-3)
        for values, colour in ((true, _TRUE), (found, _TOLD)):
            _draw(row, values / top, colour)
        rows.append(row)
    return torch.cat(rows, dim=1)


def _curve(values: Tensor, name: str) -> Tensor:
    """Return a curve [t] of mouths [t, len(MOUTH)]."""
    return values[:, JAW] - values[:, CLOSE] if name == "opening" else values[:, MOUTH.index(name)]


def _draw(row: Tensor, values: Tensor, colour: tuple[float, float, float]) -> None:
    """Draw a curve [t] in 0..1 into a row [3, h, w], as a line without gaps."""
    height, width = row.shape[1:]
    at = (np.arange(width) + 0.5) / _FRAME - 0.5
    ys = (height - 2) * (1 - np.interp(at, np.arange(len(values)), values.numpy()))
    ys = ys.round().astype(int).clip(0, height - 2)
    for x in range(width):
        low, high = sorted((ys[max(x - 1, 0)], ys[x]))
        row[:, low : high + 2, x] = torch.tensor(colour)[:, None]
