# SPDX-License-Identifier: Apache-2.0
"""What FaceMesh's landmarks say of an expression, and of whom they show.

Three of the rig's actions can be read off a frontal picture by two or three distances each. How far they go belongs to
the unit that was chosen, so a model is compared with what the same distances say of true pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from neural_core.human.arkit import ACTIONS
from neural_core.human.landmarks import eye_distance

READ: dict[str, tuple[str, ...]] = {
    "jawOpen": ("jawOpen",),
    "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"),
}
"""What is read, and the actions whose mean it is."""

EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "neutral": (),
    "open mouth": ("jawOpen",),
    "closed eyes": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "raised brows": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
}
"""The expressions in which one person is compared with themselves: these actions, each at `STRENGTH`."""
STRENGTH = 0.7

_UPPER_LIP, _LOWER_LIP, _RIGHT_CORNER, _LEFT_CORNER = 13, 14, 61, 291  # inner lips' middles, corners of the mouth
_LIDS = ((159, 145), (386, 374))  # middles of the upper and the lower lid
_NOSE_ROOT, _NOSE_BASE = 168, 2

STILL = (
    *(168, 6, 197, 195, 5, 4, 2),  # nose
    *(10, 109, 338, 67, 297, 54, 284, 127, 356, 234, 454),  # outline from the hair to the ears
)
"""FaceMesh indices of what expressions hardly move. FaceMesh moves corners of eyes with the lids, and wings of the nose
with smiles: with these, one person's smile and shut eyes are three quarters as far apart as two people."""
PATCHES = (151, 5, 101, 330)
"""FaceMesh indices of forehead, nose and cheeks, where skin is looked at; `skin_and_hair` looks at hair as well."""
_HAIR_LINE = 10  # the topmost point of FaceMesh
_PATCH = 0.2  # side of a patch, in distances between the eyes


def rig_values(actions: Float[NDArray, "n 52"]) -> Float[NDArray, "n 3"]:
    """Return what `READ` names of facial actions."""
    columns = [[ACTIONS.index(action) for action in names] for names in READ.values()]
    return np.stack([actions[:, column].mean(1) for column in columns], axis=1).astype(np.float64)


def named_actions(names: tuple[str, ...]) -> Float[NDArray, " 52"]:
    """Return the 52 actions, 0 but for these, which are at `STRENGTH`."""
    return np.array([STRENGTH if action in names else 0.0 for action in ACTIONS], np.float32)


def read_expression(points: Float[NDArray, "478 2"]) -> Float[NDArray, " 3"]:
    """Return what landmarks (x to the right, y down, of a square picture) say, in the order of `READ`. Rising each.

    * jawOpen: how far the lips are apart, in distances between the eyes;
    * eyeBlink: how little the lids are apart, in lengths of the nose (unlike the eye's width, smiles leave it alone);
    * mouthSmile: how wide the mouth is and, twice, how high its corners stand above its middle, in distances between
      the eyes. On true pictures the sum told smiles better than either (correlations of 0.8, 0.7, 0.6).
    """
    eyes = eye_distance(points)
    nose = points[_NOSE_ROOT] - points[_NOSE_BASE]
    length = np.linalg.norm(nose)
    lips = np.linalg.norm(points[_UPPER_LIP] - points[_LOWER_LIP])
    lids = np.mean([np.linalg.norm(points[upper] - points[lower]) for upper, lower in _LIDS])
    corners, middle = points[[_RIGHT_CORNER, _LEFT_CORNER]], points[[_UPPER_LIP, _LOWER_LIP]].mean(0)
    width = np.linalg.norm(corners[1] - corners[0])
    lift = (corners.mean(0) - middle) @ nose / length
    return np.array([lips / eyes, -lids / length, (width + 2 * lift) / eyes])


@dataclass(frozen=True)
class Line:
    """How one figure follows another."""

    correlation: float
    slope: float


def line_within(cause: Float[NDArray, " n"], effect: Float[NDArray, " n"], person: NDArray[np.integer]) -> Line | None:
    """Return the regression of `effect` on `cause`, each person's own means taken off both; None if nothing varies.

    People differ in their mouths' widths; that is not what an expression moves.
    """
    x, y = (_without_own_means(values, person) for values in (cause, effect))
    variance_x, variance_y = (x**2).sum(), (y**2).sum()
    if min(variance_x, variance_y) <= 1e-12:
        return None
    together = (x * y).sum()
    return Line(float(together / np.sqrt(variance_x * variance_y)), float(together / variance_x))


def _without_own_means(values: Float[NDArray, " n"], person: NDArray[np.integer]) -> Float[NDArray, " n"]:
    _, index = np.unique(person, return_inverse=True)
    return values - (np.bincount(index, values) / np.bincount(index))[index]


def face_shape(points: Float[NDArray, "478 2"]) -> Float[NDArray, "m 2"]:
    """Return the landmarks that expressions hardly move, with their middle at 0 and a sum of squares of 1."""
    still = points[list(STILL)]
    still = still - still.mean(0)
    return still / np.linalg.norm(still)


def shape_distance(a: Float[NDArray, "... m 2"], b: Float[NDArray, "... m 2"]) -> Float[NDArray, "..."]:
    """Return the full Procrustes distance, 0..1, of shapes as `face_shape` gives them: what no turn or size explains.

    With points as complex numbers it is sqrt(1 - |<a, b>|^2) (Kendall 1984).
    """
    first, second = a[..., 0] + 1j * a[..., 1], b[..., 0] + 1j * b[..., 1]
    return np.sqrt(np.clip(1 - np.abs((first.conj() * second).sum(-1)) ** 2, 0, None))


def skin_and_hair(picture: Float[NDArray, "3 h w"], points: Float[NDArray, "478 2"]) -> Float[NDArray, "p 3"]:
    """Return the mean colours, 0..1, of squares of skin at `PATCHES` and of one of hair above the forehead.

    Args:
        picture: 0..1.
        points: landmarks in 0..1 of it.
    """
    height, width = picture.shape[1:]
    side = _PATCH * eye_distance(points * [width, height])
    above = points[_HAIR_LINE] + (points[_HAIR_LINE] - points[_NOSE_ROOT]) * 0.35
    colours = []
    for x, y in np.vstack([points[list(PATCHES)], above]) * [width, height]:
        left, top = (int(np.clip(round(middle - side / 2), 0, size - 1)) for middle, size in ((x, width), (y, height)))
        patch = picture[:, top : top + max(1, round(side)), left : left + max(1, round(side))]
        colours.append(patch.mean((1, 2)))
    return np.stack(colours)


def colour_distance(a: Float[NDArray, "... p 3"], b: Float[NDArray, "... p 3"]) -> Float[NDArray, "..."]:
    """Return the root mean square difference of colours over patches and channels."""
    return np.sqrt(((a - b) ** 2).mean((-2, -1)))
