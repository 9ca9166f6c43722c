# SPDX-License-Identifier: Apache-2.0
"""What makes a portrait move over time: curves, speech, a record, or a clip of somebody, read into one form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .controls import Plain
from .curves import read_curves
from .errors import InputError, UsageError
from .human.arkit import ACTIONS
from .media import is_clip
from .progress import Report, silent
from .records import JOINTS, Record

SPEECH = (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".opus")
MOST_FRAMES = 10_000


@dataclass(frozen=True)
class Drive:
    """n frames of what a face does.

    Attributes:
        fps: frames a second.
        actions: [n, 52] facial actions.
        joints: [n, 10, 3] rotations of `records.JOINTS`, axis-angle, radians.
        cameras: [n, 25] labels in model space, as records keep them; None if nobody was filmed.
    """

    fps: float
    actions: NDArray[np.floating]
    joints: NDArray[np.floating]
    cameras: NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return len(self.actions)

    def controls(self, frame: int) -> Plain:
        """Return the plain controls of a frame."""
        actions = dict(zip(ACTIONS, self.actions[frame].tolist(), strict=True))
        joints = dict(zip(JOINTS, self.joints[frame].tolist(), strict=True))
        return {
            "actions": {name: value for name, value in actions.items() if value},
            "joints": {name: turn for name, turn in joints.items() if any(turn)},
        }


def read(path: Path, most: int = MOST_FRAMES, report: Report = silent) -> Drive:
    """Return what drives a portrait; the file's ending says what it is.

    Args:
        path: curves (.json), a record (.npz), speech (.wav), or a clip, which is captured.
        most: how many frames at most, from the start.
        report: told of progress.

    Raises:
        InputError: if the file is missing, damaged, or shows no face that moves.
        UsageError: if nothing can be driven by such a file.
    """
    readers = {"curves": _of_curves, "record": _of_record, "speech": _of_speech, "clip": _of_clip}
    drive = readers[kind_of(path)](path, most, report)
    cameras = None if drive.cameras is None else drive.cameras[:most]
    return Drive(drive.fps, drive.actions[:most], drive.joints[:most], cameras)


def kind_of(path: Path) -> str:
    """Return "curves", "record", "speech" or "clip", by the file's name. Raises UsageError for any other."""
    kinds = {".json": "curves", ".npz": "record", **dict.fromkeys(SPEECH, "speech")}
    kind = "clip" if is_clip(path) else kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f'Nothing can be driven by "{path}".',
            "Give curves (.json), speech (.wav), a record (.npz) or a clip (.mp4).",
        )
    return kind


def of_record(record: Record, name: str) -> Drive:
    """Return what the person of a record does.

    Args:
        record: of a clip, with actions, joints, cameras and times.
        name: what to call it in messages.

    Raises:
        InputError: if it does not say what the face does, or its pictures are no film.
    """
    if not len(record.actions) or len(record.joints) != len(record.actions):
        raise InputError(
            f'"{name}" does not say what the face does.', "Make it from a clip: `neural-portrait capture`."
        )
    steps = np.diff(record.time.astype(np.float64))
    if not len(steps) or not (steps > 0).all():
        raise InputError(f'"{name}" is no film: its pictures have no times.', "Make it from a clip with `capture`.")
    return Drive(float(1 / np.median(steps)), record.actions, record.joints, record.cameras)


def _of_curves(path: Path, most: int, report: Report) -> Drive:
    curves = read_curves(path)
    return Drive(curves.fps, curves.actions, curves.joints())


def _of_speech(path: Path, most: int, report: Report) -> Drive:
    from .audio.speech import speak

    curves = speak(path, report=report)
    return Drive(curves.fps, curves.actions, curves.joints())


def _of_record(path: Path, most: int, report: Report) -> Drive:
    return of_record(Record.load(path, only=("actions", "joints", "cameras", "time")), str(path))


def _of_clip(path: Path, most: int, report: Report) -> Drive:
    """Capture the person in a clip."""
    report("Starting the face finder", 0, 1)
    from .capture.clip import capture_clip
    from .capture.labels import Tools

    with Tools() as tools:
        record = capture_clip(tools, path, most=most, report=report).record
    return of_record(record, str(path))
