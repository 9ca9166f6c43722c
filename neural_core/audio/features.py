# SPDX-License-Identifier: Apache-2.0
"""What the networks of this package hear: log-mel spectrograms."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .io import SAMPLE_RATE

BANDS = 80
HOP = 160
"""Samples between two frames: 10 ms, so 100 frames a second. Frame k is centred on sample k * HOP."""

_WINDOW = 400  # samples, 25 ms, of a Hann window
_TRANSFORM = 1024  # zeros added, else the lowest filters would lie between two frequencies
_LOWEST, _HIGHEST = 60.0, 7600.0  # Hz
_SILENCE = 1e-10  # power that counts as none: -100 dB
_CHUNK = 400  # frames that are transformed at a time: few enough for a processor's cache

_RANGE = 60.0  # dB below the loud frames; what is softer is silence
_QUIETEST = -55.0  # dB: no recording is taken for speech whose loud frames are below this
_SPEAKING = 25.0  # dB below the loud frames: frames above this say what the voice and the room sound like on average
_UNIT = 20.0  # dB


def mel_filters(stretch: float = 1.0) -> Tensor:
    """Return triangular filters [BANDS, 513] with a peak of 1, evenly spaced in mel = 2595 log10(1 + f / 700).

    Args:
        stretch: their centres are at this multiple of where they belong: a voice seems to come from a head that is so
            much larger (of training's augmentation; above 1 the highest bands may hear nothing).
    """
    mel = torch.linspace(_mel(_LOWEST), _mel(_HIGHEST), BANDS + 2, dtype=torch.float64)
    edges = stretch * 700 * (10 ** (mel / 2595) - 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz = torch.arange(_TRANSFORM // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / _TRANSFORM
    return torch.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)).clamp(min=0).float()


def log_mel(sound: Tensor, filters: Tensor | None = None) -> Tensor:
    """Return the log-mel spectrogram in dB, [b, frames, BANDS] of sound [b, n]: a full-scale sine has 0 to 5.

    There are n // HOP + 1 frames; before and after the sound there is silence. Differentiable.

    Args:
        sound: [b, n], SAMPLE_RATE a second, full scale 1.
        filters: as `mel_filters` makes them; None for its default.
    """
    window = torch.hann_window(_WINDOW, periodic=True, device=sound.device)
    # The sum of the window's samples is what a sine's amplitude of 1 becomes, half of it for -f.
    filters = (mel_filters() if filters is None else filters).to(sound.device) * (2 / window.sum()) ** 2
    frames = F.pad(sound, (_WINDOW // 2, _WINDOW // 2)).unfold(1, _WINDOW, HOP)
    parts = []
    for part in frames.split(_CHUNK, dim=1):
        spectrum = torch.view_as_real(torch.fft.rfft(part * window, _TRANSFORM)).square().sum(-1)
        parts.append(spectrum @ filters.T)
    return 10 * torch.cat(parts, 1).clamp(min=_SILENCE).log10()


def loudness(mel: Tensor) -> Tensor:
    """Return the level of each frame in dB, [b, frames], of a log-mel spectrogram in dB."""
    return 10 * (10 ** (mel / 10)).sum(-1).log10()


def levelled(mel: Tensor) -> Tensor:
    """Return a spectrogram [b, frames, BANDS] that says what is spoken rather than by whom, into what and how loudly.

    Levels are told against the loud frames of the recording (their 95th percentile), silence is cut off 60 dB below
    them, and of each band its mean over the frames in which somebody speaks is taken away, which takes microphone, room
    and part of the voice with it. One is 20 dB. A recording in which nobody speaks becomes constant.
    """
    level = loudness(mel)
    loud = level.quantile(0.95, dim=1, keepdim=True).clamp(min=_QUIETEST)
    values = (mel - loud[..., None]).clamp(min=-_RANGE) / _UNIT
    speaking = (level > loud - _SPEAKING).to(mel)[..., None]
    mean = (values * speaking).sum(1, keepdim=True) / speaking.sum(1, keepdim=True).clamp(min=1)
    return values - mean


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)
