# SPDX-License-Identifier: Apache-2.0
"""Animation curves: what speech, tracking and job files say about a face over time.

A file is ``{"format": "portrait-curves/1", "fps": 25, "curves": {"jawOpen": [0.0, ...], ...}}``: lists of equal length,
of which value k belongs to the time k / fps seconds. A curve is named after one of the 52 actions (``human/arkit.py``,
0..1) or one of ``HEAD``. What a file does not name stays at 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .files import write_bytes
from .human.arkit import ACTIONS, stem
from .records import JOINTS

FORMAT = "portrait-curves/1"
FPS = 25.0
"""Frames a second of the curves that we make."""

HEAD = ("headYaw", "headPitch", "headRoll")
"""Turn of the head against the shoulders, radians: yaw towards the subject's left, then pitch upwards, then roll of the
crown towards the subject's left shoulder. All three are 0 when the subject looks straight ahead."""

NAMES = (*ACTIONS, *HEAD)

Columns = dict[str, NDArray[np.float64]]
"""Curves [n] by name; the name of an action without Left or Right stands for both sides."""

_DECIMALS = 4
_LARGEST_TURN = math.pi / 2


@dataclass(frozen=True)
class Curves:
    """What a face does, frame by frame."""

    fps: float
    """Frames a second."""
    actions: NDArray[np.float64]
    """[n, 52] the facial actions in the order of ``ACTIONS``, 0..1."""
    head: NDArray[np.float64]
    """[n, 3] yaw, pitch and roll as in ``HEAD``, radians."""

    def __len__(self) -> int:
        return len(self.actions)

    def joints(self) -> NDArray[np.float64]:
        """Rotations [n, 10, 3] of ``records.JOINTS``, axis-angle: neck and head take half of the turn each."""
        from scipy.spatial.transform import Rotation

        yaw, pitch, roll = self.head.T
        # About +Y (up) a positive angle turns the face to the subject's left; about +X it would look down, about +Z
        # the crown would go to the right.
        turn = Rotation.from_euler("YXZ", np.stack([yaw, -pitch, -roll], 1)).as_rotvec()
        joints = np.zeros((len(self), len(JOINTS), 3))
        joints[:, [JOINTS.index("neck"), JOINTS.index("head")]] = turn[:, None] / 2
        return joints


def as_actions(values: Columns, count: int) -> NDArray[np.float64]:
    """Return columns of actions [count] as [count, 52] in 0..1."""
    actions = np.zeros((count, len(ACTIONS)))
    for column, action in enumerate(ACTIONS):
        for name in {action, stem(action)} & values.keys():
            actions[:, column] += values[name]
    return actions.clip(0.0, 1.0)


def columns(curves: Curves) -> Columns:
    """Return the curves [n] that move, by name; of a face that never moves one at rest, so that it has a length."""
    both = np.concatenate([curves.actions, curves.head], 1).round(_DECIMALS) + 0.0  # + 0.0 makes -0.0 a plain 0
    moving = {name: column for name, column in zip(NAMES, both.T, strict=True) if column.any()}
    return moving or {"jawOpen": np.zeros(len(curves))}


def write_curves(path: Path, curves: Curves) -> None:
    """Write curves, those that never move left out; equal curves give equal files. Raises PortraitError."""
    moving = {name: column.tolist() for name, column in columns(curves).items()}
    write_bytes(path, json.dumps({"format": FORMAT, "fps": curves.fps, "curves": moving}).encode())


def read_curves(path: Path) -> Curves:
    """Read a file of curves.

    Raises:
        InputError: the file cannot be read, is of another format, or holds a curve or value that makes no sense.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f'Cannot read "{path}" as curves ({error}).', f"A {FORMAT} file is needed.") from error
    try:
        return parse_curves(content)
    except InputError as error:
        raise InputError(f'"{path}": {error.message}', error.hint) from error


def parse_curves(content: object) -> Curves:
    """Return the curves in parsed JSON. Raises InputError."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise InputError("These are no curves of ours.", f'They begin with "format": "{FORMAT}".')
    fps, values = content.get("fps"), content.get("curves")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not (math.isfinite(fps) and fps > 0):
        raise InputError(f'"fps" is {fps!r}.', "Give frames a second, a number above 0.")
    if not isinstance(values, Mapping) or not values:
        raise InputError('"curves" names no curve.', 'Give at least one, as {"jawOpen": [0.0, 0.1]}.')
    found = {name: _column(name, values[name]) for name in values}
    lengths = {len(column): name for name, column in found.items()}
    if len(lengths) > 1:
        (short, one), (long, other) = sorted(lengths.items())[:2]
        raise InputError(f'"{one}" has {short} values and "{other}" {long}.', "All curves have the same length.")
    none = np.zeros(next(iter(lengths)))
    actions, head = (np.stack([found.get(name, none) for name in names], 1) for names in (ACTIONS, HEAD))
    return Curves(float(fps), actions, head)


def _column(name: str, values: object) -> NDArray[np.float64]:
    """One curve [n], checked."""
    if name not in NAMES:
        near = get_close_matches(name, NAMES, 1)
        hint = f'Did you mean "{near[0]}"?' if near else "Curves are the 52 ARKit actions and " + ", ".join(HEAD) + "."
        raise InputError(f'There is no curve "{name}".', hint)
    low, high = (-_LARGEST_TURN, _LARGEST_TURN) if name in HEAD else (0.0, 1.0)
    if not isinstance(values, list) or not values or not all(type(value) in (int, float) for value in values):
        raise InputError(f'"{name}" is no list of numbers.', "Give one number for each frame.")
    column = np.array(values, np.float64)
    wrong = np.flatnonzero(~((column >= low) & (column <= high)))  # written so that NaN is wrong too
    if len(wrong):
        raise InputError(
            f'"{name}" is {values[wrong[0]]} at frame {wrong[0]}.', f"It must lie between {low:.4g} and {high:.4g}."
        )
    return column
