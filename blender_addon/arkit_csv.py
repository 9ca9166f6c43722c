# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of a face by a phone: CSV files as Live Link Face writes them, with ARKit's names. Pure.

A file has a line of names and a line a frame::

    Timecode,BlendShapeCount,EyeBlinkLeft,...,TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,...
    14:03:52:28.207,61,0.0123,...

A time is hours:minutes:seconds:frames, with frames counted in the recording's own rate. Gaze is in the actions, so the
columns of the eyes' angles are not used. Lines without numbers are those where the phone had lost the face.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .expressions import NAMES
from .neural_core.errors import InputError

HEAD = ("headYaw", "headPitch", "headRoll")
"""Signs are ours: towards the subject's left, upwards, the crown towards the subject's left shoulder."""
UNITS = {"HALF_TURNS": math.pi, "RADIANS": 1.0, "DEGREES": math.pi / 180.0}
"""Radians in 1 of the head's angles. Unreal's plug-in keeps half turns: 1 is 180 degrees."""

_KNOWN = {name.lower(): name for name in (*NAMES, *HEAD)}
_TIME = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)")
_RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 120.0)
_USUAL_RATE = 60.0
_DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Recording:
    """What a face did."""

    fps: float
    """Frames a second that the timecode counts in."""
    times: np.ndarray
    """[n] seconds since the first frame, increasing; frames may be missing."""
    tracks: Mapping[str, np.ndarray]
    """Values [n] by the name of an action, or of one of HEAD (in the file's unit)."""

    def resampled(self, fps: float) -> tuple[int, dict[str, np.ndarray]]:
        """Return a number of frames at `fps` a second and the tracks at them; between frames lies a straight line."""
        count = math.floor(self.times[-1] * fps + 1e-6) + 1
        wanted = np.arange(count) / fps
        return count, {name: np.interp(wanted, self.times, values) for name, values in self.tracks.items()}


def read(path: Path, fps: float | None = None) -> Recording:
    """Return a recording; `fps` is what its timecode counts in, None to find it out from the largest frame number.

    Raises:
        InputError: with one sentence that says in which line what is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), start=1) if any(line)]
    except OSError as error:
        raise InputError(f'The recording "{path}" cannot be read: {error.strerror}.') from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'"{path.name}" is no CSV file.', "Live Link Face writes one beside each video.") from error
    if not lines:
        raise InputError(f'"{path.name}" is empty.')
    columns = _columns(path.name, lines[0][1])
    stamps, rows = [], []
    for number, line in lines[1:]:
        if len(line) != len(lines[0][1]):
            raise InputError(
                f'Line {number} of "{path.name}" has {len(line)} columns, the first line {len(lines[0][1])}.',
                "Is the file cut off?",
            )
        cells = [line[column].strip() for column in columns.values()]
        if any(cells):
            stamps.append(_stamp(path.name, number, line[0].strip()))
            rows.append([_number(path.name, number, *cell) for cell in zip(columns, cells, strict=True)])
    if not rows:
        raise InputError(f'"{path.name}" has no frame in which a face was seen.')
    fps = fps or _rate(stamps)
    times, kept = _seconds(path.name, stamps, fps)
    values = np.array(rows)[kept]
    return Recording(fps, times, {name: values[:, index] for index, name in enumerate(columns)})


def _columns(name: str, header: list[str]) -> dict[str, int]:
    """Return where each known curve stands."""
    names = [cell.strip().lower() for cell in header]
    if names[0] != "timecode":
        raise InputError(f'"{name}" does not begin with a column "Timecode".', "Export the CSV of Live Link Face.")
    columns = {_KNOWN[cell]: index for index, cell in enumerate(names) if cell in _KNOWN}
    if not set(columns) & set(NAMES):
        close = [match for cell in names[1:] for match in difflib.get_close_matches(cell, list(_KNOWN), 1)]
        hint = f'Did you mean "{_KNOWN[close[0]]}"?' if close else "They must have ARKit's names, as EyeBlinkLeft."
        raise InputError(f'"{name}" has no column of a facial action.', hint)
    return columns


def _stamp(name: str, number: int, text: str) -> tuple[int, float]:
    """Return whole seconds and frames of a timecode."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise InputError(f'Line {number} of "{name}" has no time: "{text}".', "Times look like 14:03:52:28.207.")
    hours, minutes, seconds = (int(part) for part in match.groups()[:3])
    return 3600 * hours + 60 * minutes + seconds, float(match.group(4))


def _number(name: str, number: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f'Line {number} of "{name}" has no number in column "{column}": "{text}".')
    return value


def _rate(stamps: list[tuple[int, float]]) -> float:
    """Return the smallest usual rate that counts as far as these frames, if a whole second is there to tell."""
    whole = stamps[-1][0] - stamps[0][0] >= 2
    largest = max(frame for _, frame in stamps)
    return next((rate for rate in _RATES if largest < rate), _RATES[-1]) if whole else _USUAL_RATE


def _seconds(name: str, stamps: list[tuple[int, float]], fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds since the first frame, and which frames are kept: of those of one time the first."""
    times = np.array([second + frame / fps for second, frame in stamps])
    midnights = np.cumsum(np.diff(times, prepend=times[0]) < -_DAY_S / 2)
    times = times + _DAY_S * midnights - times[0]
    steps = np.diff(times, prepend=-1.0)
    if (steps < -1e-6).any():
        raise InputError(
            f'"{name}" goes back in time at frame {int(np.argmax(steps < -1e-6)) + 1}.',
            f"Are its times counted in other than {fps:g} frames a second?",
        )
    kept = np.flatnonzero(steps > 1e-6)
    return times[kept], kept
