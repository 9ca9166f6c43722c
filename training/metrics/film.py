# SPDX-License-Identifier: Apache-2.0
"""Films of somebody who talks, as SyncNet wants them: 25 frames and 16,000 samples a second that begin together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int16, UInt8

from neural_core.errors import InputError
from neural_core.media import Frame, read_clip

from .faces import detect
from .sync import FRAME_RATE, SAMPLE_RATE, Sync, SyncNet, mouth_crops, sync

_FEWEST_FACES = 0.5
"""Share of a film's frames in which a face has to be found; between them its place is interpolated."""


@dataclass(frozen=True)
class TalkingFilm:
    """Pictures and sound that begin at the same instant."""

    frames: UInt8[np.ndarray, "t h w 3"]
    """At 25 a second."""
    sound: Int16[np.ndarray, " n"]
    """One channel at 16 kHz."""


def read_talking_film(path: Path) -> TalkingFilm:
    """Return a film's pictures and sound at SyncNet's rates, whatever rates it has.

    The frame at an instant is the one that a player would be showing then.

    Raises:
        InputError: if the file is damaged, or has no pictures or no sound.
    """
    sound = _read_sound(path)
    chosen: list[np.ndarray] = []
    for frame, until in _shown_until(read_clip(path)):
        # Half a millisecond is for times that were rounded.
        while len(chosen) / FRAME_RATE < until - 5e-4:
            chosen.append(frame.picture)
    return TalkingFilm(np.stack(chosen), sound)


def film_sync(network: SyncNet, path: Path) -> Sync:
    """Return how well sound and lips of a film agree.

    Raises:
        InputError: if the film cannot be read, is too short, or shows no face in half of its frames or more.
        UsageError: if mediapipe or python_speech_features is not installed.
    """
    film = read_talking_film(path)
    corners = torch.from_numpy(face_tracks(detect(film.frames), path.name)).float()
    frames = torch.from_numpy(film.frames).movedim(-1, 1).float() / 255
    return sync(network, mouth_crops(frames, corners), film.sound)


def face_tracks(found: Sequence[np.ndarray | None], name: str) -> np.ndarray:
    """Return the face's upper left and lower right corner in each frame, [t, 2, 2], interpolated where it was lost.

    Args:
        found: landmarks [p, 2] of each frame, or None.
        name: of the film, for messages.

    Raises:
        InputError: if there are too few.
    """
    seen = [index for index, points in enumerate(found) if points is not None]
    if len(seen) <= _FEWEST_FACES * len(found):
        raise InputError(f'"{name}" shows a face in only {len(seen)} of {len(found)} frames.', "Sync needs one face.")
    corners = np.array([[*points.min(0), *points.max(0)] for points in found if points is not None])
    tracks = [np.interp(np.arange(len(found)), seen, values) for values in corners.T]
    return np.stack(tracks, axis=1).reshape(-1, 2, 2)


def _shown_until(frames: Iterable[Frame]) -> Iterator[tuple[Frame, float]]:
    """Yield frames with the time at which the next one follows; the last stays as long as the one before it."""
    last, length = None, 1 / FRAME_RATE
    for frame in frames:
        if last is not None:
            length = frame.time - last.time
            yield last, frame.time
        last = frame
    if last is not None:
        yield last, last.time + length


def _read_sound(path: Path) -> Int16[np.ndarray, " n"]:
    """Return a film's sound from the instant of its first picture on."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as film:
            if not film.streams.audio or not film.streams.video:
                raise InputError(f'"{path}" has no sound, or no pictures.', "Sync compares the two.")
            stream, pictures = film.streams.audio[0], film.streams.video[0]
            resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
            pieces, start = [], None
            for frame in film.decode(stream):
                start = frame.time if start is None else start
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
            begins = float((pictures.start_time or 0) * (pictures.time_base or 0))
    except (FFmpegError, OSError) as error:
        raise InputError(f'Cannot read the sound of "{path}": it is damaged.', "MP4, MOV and WebM work.") from error
    if not pieces:
        raise InputError(f'"{path}" has no sound.', "Sync compares it with the pictures.")
    early = round(((start or 0.0) - begins) * SAMPLE_RATE)
    sound = np.concatenate(pieces)
    return sound[-early:] if early < 0 else np.concatenate([np.zeros(early, np.int16), sound])
