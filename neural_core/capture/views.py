# SPDX-License-Identifier: Apache-2.0
"""Which frames of a clip show best who somebody is: one from the front, and one from each side if there are such."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..human.arkit import ACTIONS
from .clip import Followed

ASIDE = 15.0
"""Degrees by which a view from the side must differ from that from the front, to show what that does not."""
FARTHEST = 45.0
"""Degrees of yaw beyond which a view is worth no more: FaceMesh guesses the far side of the face."""

_TURN = 10.0  # degrees of turn that are as bad as an octave of blur or size, or as a strained face
_STRAIN = 0.35  # root of the sum of squared actions of a face that is not at rest
_RELATIVE_ERROR = 0.5  # of the fit, against the median
_ACTS = [index for index, name in enumerate(ACTIONS) if not name.startswith("eyeLook")]

Array = NDArray[np.float64]


def choose_views(followed: Followed) -> list[int]:
    """Return indices of frames of a face that was followed: the front first, then at most one from each side.

    A good frame is sharp and large, the face at rest and fitted well.
    """
    yaw, pitch = followed.fit.angles[:, 0].astype(np.float64), followed.fit.angles[:, 1].astype(np.float64)
    bad = _badness(followed)
    front = int(np.argmin(bad + np.hypot(yaw, pitch) / _TURN))
    chosen = [front]
    for side in (1.0, -1.0):
        turned = side * (yaw - yaw[front])
        candidates = np.flatnonzero(turned >= ASIDE)
        if len(candidates):
            gain = np.minimum(turned[candidates], FARTHEST) / _TURN
            chosen.append(int(candidates[np.argmin(bad[candidates] - gain)]))
    return chosen


def _badness(followed: Followed) -> Array:
    """Return how little the frames [n] are worth apart from their direction: about 1 for each thing that is wrong."""
    strain = np.linalg.norm(followed.fit.actions[:, _ACTS], axis=1) / _STRAIN
    sides = np.array([crop.side for crop in followed.crops])
    blur, smallness, error = (
        -np.log2(followed.sharpness / np.median(followed.sharpness)),
        -np.log2(sides / np.median(sides)),
        (followed.fit.error / np.median(followed.fit.error) - 1) / _RELATIVE_ERROR,
    )
    return strain + blur + smallness + error
