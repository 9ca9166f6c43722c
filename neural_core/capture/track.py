# SPDX-License-Identifier: Apache-2.0
"""From a clip to curves: what the face that is followed in it does, and how the head turns, at even steps of time.

The camera is taken to stand still, and the shoulders with it. Nobody knows where the camera stood: the direction in
which the head looks most (the median) is what counts as straight ahead. So it is with the eyes in the head, whose
direction is found with a steady error of some degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..curves import Curves
from ..errors import UsageError
from ..human.arkit import ACTIONS
from .align import Crop
from .clip import Followed
from .smoothing import smooth

MOST_FRAMES = 3000
"""Two minutes; filters over time need the square of it."""
LARGEST_SMOOTHING = 1.0
"""Seconds."""

_TO_PICTURE = np.diag([1.0, -1.0, -1.0])
"""From axes as the head has them (x to the right of the picture, y up, z towards the viewer) to a camera's."""
_ORDER = "YXZ"
_GAZE = [
    (ACTIONS.index(f"eyeLook{way}{side}"), ACTIONS.index(f"eyeLook{back}{side}"))
    for side in ("Left", "Right")
    for way, back in (("In", "Out"), ("Up", "Down"))
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tracked:
    """What somebody does in a clip.

    Attributes:
        curves: at even steps of time, as many a second as the clip has frames.
        start: seconds from the clip's start to the first of them.
        notes: sentences for the user.
    """

    curves: Curves
    start: float
    notes: tuple[str, ...]


def check(most: int, smoothing: float = 0.0) -> None:
    """Raise UsageError for numbers that make no sense."""
    if not 1 <= most <= MOST_FRAMES:
        raise UsageError(f"{most} frames cannot be followed.", f"Give 1 to {MOST_FRAMES}.")
    if not 0.0 <= smoothing <= LARGEST_SMOOTHING:
        raise UsageError(f"A smoothing of {smoothing:g} s is not possible.", f"Give 0 to {LARGEST_SMOOTHING:g}.")


def curves_of(followed: Followed, smoothing: float = 0.0) -> Tracked:
    """Return the curves of a face that was followed; over frames that were dropped they go in a straight line.

    Args:
        followed: the face.
        smoothing: deviation in seconds of a filter over time, beside the one that landmarks go through; 0 for none.
    """
    first, last = followed.times[0], followed.times[-1]
    count = math.floor((last - first) * followed.fps + 1e-6) + 1
    times = first + np.arange(count) / followed.fps
    measured = np.concatenate(
        [eyes_ahead(followed.fit.actions), head_turns(followed.fit.cameras, followed.crops)], axis=1
    )
    values = np.stack([np.interp(times, followed.times, column) for column in measured.T], axis=1)
    if smoothing:
        values = smooth(values, times, smoothing)
    actions, head = values[:, :-3].clip(0.0, 1.0), values[:, -3:]
    return Tracked(Curves(followed.fps, actions, head), float(first), followed.notes)


def eyes_ahead(actions: NDArray[np.floating]) -> Array:
    """Return actions [n, 52] in which the eyes look straight ahead where they look most."""
    found = actions.astype(np.float64)
    for way, back in _GAZE:
        turn = found[:, way] - found[:, back]
        turn -= np.median(turn)
        found[:, way], found[:, back] = turn.clip(min=0.0), (-turn).clip(min=0.0)
    return found


def head_turns(cameras: NDArray[np.floating], crops: tuple[Crop, ...]) -> Array:
    """Return yaw, pitch and roll [n, 3] of the head as `curves.HEAD` has them, against its usual direction.

    Args:
        cameras: [n, 25] labels of the crops' cameras, which stand still relative to the head.
        crops: how they are turned in the pictures.
    """
    to_camera = cameras[:, :16].reshape(-1, 4, 4)[:, :3, :3].transpose(0, 2, 1).astype(np.float64)
    upright = Rotation.from_euler("z", [[crop.angle] for crop in crops]).as_matrix()
    heads = Rotation.from_matrix(_TO_PICTURE @ upright @ to_camera)
    usual = Rotation.from_euler(_ORDER, np.median(heads.as_euler(_ORDER), axis=0))
    yaw, down, right = (usual.inv() * heads).as_euler(_ORDER).T
    return np.stack([yaw, -down, -right], axis=1)
