# SPDX-License-Identifier: Apache-2.0
"""The only place that reads sound."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Sound = NDArray[np.float32]
"""[n] samples of one channel, full scale is 1."""

SAMPLE_RATE = 16000
"""Samples a second of everything in this package: speech has little above 8 kHz that lips would show."""

LONGEST = 600.0
"""Seconds of sound that are taken at once."""

_FILM_RATE = 48000
_FORMATS = "WAV, FLAC, MP3, M4A and OGG files work."
_UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # what programs write who do not know yet how long a WAV will be


@dataclass(frozen=True)
class Track:
    """The sound of a film."""

    samples: NDArray[np.float32]
    """[channels, n], one channel or two, full scale is 1."""
    rate: int
    """Samples a second."""


def read_sound(path: Path) -> Sound:
    """Return the sound of a file, or of a film's first sound track: mixed to one channel, SAMPLE_RATE a second.

    Raises:
        InputError: the file is missing, cut, damaged, empty, has no sound, or is longer than LONGEST.
    """
    return _decode(path, SAMPLE_RATE).mean(0)


def read_track(path: Path) -> Track:
    """Return the same sound to be listened to, 48,000 samples a second; more than two channels are mixed to one.

    Raises InputError as `read_sound` does.
    """
    channels = _decode(path, _FILM_RATE)
    return Track(channels if len(channels) <= 2 else channels.mean(0, keepdims=True), _FILM_RATE)


def _decode(path: Path, rate: int) -> NDArray[np.float32]:
    """Return the sound of a file with all of its channels, [channels, n]."""
    import av
    from av.error import FFmpegError

    blocks: list[NDArray[np.float32]] = []
    try:
        _check_length(path)
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(f'"{path}" has no sound.', "Give a recording of somebody who speaks.")
            resampler = av.AudioResampler(format="fltp", rate=rate)
            for frame in container.decode(container.streams.audio[0]):
                blocks += [np.asarray(part.to_ndarray(), np.float32) for part in resampler.resample(frame)]
                if _length(blocks) > LONGEST * rate:
                    raise InputError(
                        f'"{path}" is longer than {LONGEST / 60:.0f} minutes.', "Cut it, and give the pieces in turn."
                    )
            if blocks:
                blocks += [np.asarray(part.to_ndarray(), np.float32) for part in resampler.resample(None)]
    except (FFmpegError, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise InputError(f'Cannot read "{path}": {error.strerror}.', _FORMATS) from error
        if blocks:
            hint = "Export it again from where it was recorded."
            raise InputError(f'"{path}" is damaged after {_length(blocks) / rate:.1f} s.', hint) from error
        raise InputError(f'"{path}" is no sound file, or a damaged one.', _FORMATS) from error
    if not blocks:
        raise InputError(f'"{path}" is a sound file of length 0.', "Record it again.")
    sound = np.concatenate(blocks, axis=1)
    if not np.isfinite(sound).all():  # possible in files of floating-point numbers
        raise InputError(f'"{path}" holds numbers that are no sound.', "Export it again, with 16 or 24 bits.")
    return sound


def _length(blocks: list[NDArray[np.float32]]) -> int:
    return sum(block.shape[1] for block in blocks)


def _check_length(path: Path) -> None:
    """Raise InputError if a WAV has fewer bytes than it says, which decoders overlook."""
    with path.open("rb") as file:
        head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    (promised,) = struct.unpack("<I", head[4:8])
    found = path.stat().st_size - 8
    if promised not in _UNKNOWN_SIZE and found < promised:
        raise InputError(
            f'"{path}" was cut: it has {found / promised:.0%} of the bytes that it says.', "Copy or export it again."
        )
