# SPDX-License-Identifier: Apache-2.0
"""What eyes and mouth do, read from their pixels: FaceMesh's landmarks alone see lids and lips too vaguely.

Around each eye and the mouth a small patch is cut out of the picture, in a frame that the face's rigid points span: the
corners of the eyes, and where the nose meets the lip. It turns and shrinks with the head, so that a patch shows what
the face does rather than how it is turned. Edges by direction (Dalal & Triggs 2005), coarse brightness and where
FaceMesh has its points go through a linear reading, one number for each action that moves this part of the face. How
a reading answers to the true actions, and how far it errs, was measured on people who were not among those it was
learnt from (``python -m training.synthetic.calibrate_fit``):

    reading = response @ actions + bias + noise,        noise ~ N(0, covariance)

So it is no verdict but a measurement, which the face fit weighs against landmarks and what is likely.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ..errors import InputError
from ..files import ARCHIVE_DAMAGE
from ..human.arkit import ACTIONS
from ..human.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS

Array = NDArray[np.float64]

NAME = "facemesh_patches.npz"
SHIPPED = Path(__file__).parents[2] / "assets" / "face" / NAME

SEEN_AT = 256
"""Side of the upright crop that patches are cut from, in pixels: details finer than that are left out everywhere."""

_SMALLEST = 0.12  # distance of the outer corners of the eyes, in widths of the crop; a face in it has about 0.28
_NOSE_BASE = 2
_LIPS = (61, 291, 0, 17)  # corners, upper and lower edge

# FaceMesh's points about an eye (lids, iris, brow, cheek) and the mouth (lips; then nose, chin and cheeks), and where
# each lies on the other side of the face.
_EYE_POINTS = {
    "Right": (
        *(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        *(468, 469, 470, 471, 472, 70, 63, 105, 66, 107, 230, 119, 118),
    ),
    "Left": (
        *(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
        *(473, 476, 475, 474, 477, 300, 293, 334, 296, 336, 450, 348, 347),
    ),
}
_RIGHT_LIPS = (61, 146, 91, 181, 84, 185, 40, 39, 37, 78, 95, 88, 178, 87, 191, 80, 81, 82, 50)
_LEFT_LIPS = (291, 375, 321, 405, 314, 409, 270, 269, 267, 308, 324, 318, 402, 317, 415, 310, 311, 312, 280)
_MIDDLE = (0, 17, 13, 14, 152, 2, 1)
_MOUTH_POINTS = {False: _RIGHT_LIPS + _LEFT_LIPS + _MIDDLE, True: _LEFT_LIPS + _RIGHT_LIPS + _MIDDLE}
_CELL = 4  # pixels of a patch along the side of a cell, in which edges are counted by direction
_DIRECTIONS = 8
_EVEN = 0.1  # of a patch's contrast: noise below it makes no edges
_SUPER = 2  # samples along the side of a patch's pixel

EYE_ACTIONS = (
    *("eyeBlink", "eyeSquint", "eyeWide", "eyeLookDown", "eyeLookUp", "eyeLookIn", "eyeLookOut", "cheekSquint"),
    "browDown",
)
"""What an eye's patch tells, of its own side."""
MOUTH_ACTIONS = tuple(name for name in ACTIONS if name.startswith(("jaw", "mouth")) or name == "cheekPuff")


@dataclass(frozen=True)
class Window:
    """Where a patch lies: lengths in the face's own frame (:func:`frame`), across and down."""

    low: tuple[float, float]
    high: tuple[float, float]
    size: tuple[int, int]
    """Width and height in pixels; multiples of a cell."""


EYE = Window((-0.28, -0.36), (0.28, 0.36), (24, 24))
MOUTH = Window((-0.42, -0.75), (0.42, 0.75), (28, 24))


@dataclass(frozen=True)
class Reader:
    """The linear reading of one kind of patch, and what it is worth; m readings of d features."""

    mean: Array
    """[d] of the features."""
    scale: Array
    """[d] their standard deviations."""
    weights: Array
    """[d, m]."""
    offset: Array
    """[m]."""
    response: Array
    """[m, m] how the readings answer to the actions."""
    bias: Array
    """[m]."""
    covariance: Array
    """[m, m] of the readings' errors."""
    usual: Array
    """[] mean square of standardised features beyond which a patch is unlike those that were learnt from."""

    def evidence(self, features: Array) -> tuple[Array, Array]:
        """Return precision [m, m] and information [m] of the actions: what :class:`Evidence` is made of."""
        standard = (features - self.mean) / self.scale
        reading = standard @ self.weights + self.offset
        # What looks like nothing that was learnt from (a hand, a veil, a drawing) is trusted less.
        trust = float(self.usual / max(self.usual, np.mean(standard**2))) ** 2
        weighted = trust * np.linalg.solve(self.covariance, self.response).T
        return weighted @ self.response, weighted @ (reading - self.bias)


@dataclass(frozen=True)
class Evidence:
    """What is known of the actions a [E] of a picture: a normal distribution, a'Pa/2 - i'a its negative logarithm."""

    precision: Array
    """P [E, E]."""
    information: Array
    """i [E]."""


@dataclass(frozen=True)
class Patches:
    """The readers of eyes and mouths."""

    eye: Reader
    mouth: Reader

    def evidence(self, picture: NDArray[np.uint8], points: Array) -> Evidence | None:
        """Return what the pixels of a picture say about the actions; None if the face is too small in it.

        Args:
            picture: [h, h, 3] sRGB, the upright crop about a face.
            points: [478, 2] FaceMesh's landmarks, 0..1 of it.
        """
        if np.linalg.norm(frame(points)[0]) < _SMALLEST:
            return None
        precision, information = np.zeros((len(ACTIONS), len(ACTIONS))), np.zeros(len(ACTIONS))
        parts = [(self.eye, eye_features(picture, points, side), eye_actions(side)) for side in ("Left", "Right")]
        for reader, features, actions in (*parts, (self.mouth, mouth_features(picture, points), mouth_actions())):
            part = reader.evidence(features)
            precision[np.ix_(actions, actions)] += part[0]
            information[actions] += part[1]
        return Evidence(precision, information)

    def save(self, path: Path) -> None:
        """Write the readers, in single precision."""
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [(part, name) for part in ("eye", "mouth") for name in Reader.__dataclass_fields__]
        arrays = {f"{part}_{name}": getattr(getattr(self, part), name).astype(np.float32) for part, name in names}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Patches:
        """Read readers. Raises InputError if the file is damaged or something else."""
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                eye, mouth = (
                    Reader(**{n: file[f"{part}_{n}"].astype(np.float64) for n in Reader.__dataclass_fields__})
                    for part in ("eye", "mouth")
                )
                return cls(eye, mouth)
        except ARCHIVE_DAMAGE as error:
            raise InputError(f"{path} is no calibration of patches ({error}).", "Install again.") from error


@cache
def shipped_patches() -> Patches | None:
    """The readers that come with the default face model; None where the project has none (before they are made)."""
    packaged = Path(str(resources.files("neural_core"))) / "assets" / "face" / NAME
    path = next((path for path in (SHIPPED, packaged) if path.is_file()), None)
    return None if path is None else Patches.load(path)


def eye_actions(side: str) -> list[int]:
    """Indices of ``EYE_ACTIONS`` of a side."""
    return [ACTIONS.index(name + side) for name in EYE_ACTIONS]


def mouth_actions() -> list[int]:
    """Indices of ``MOUTH_ACTIONS``."""
    return [ACTIONS.index(name) for name in MOUTH_ACTIONS]


def frame(points: Array) -> tuple[Array, Array]:
    """Return the axes across [2] and down [2] of a face in a picture, in the picture's unit.

    Across goes from the right eye's outer corner to the left eye's, down is as long as it is from the eyes to the
    nose's base, at a right angle: the expression moves none of them, and each shrinks as the head turns.

    Args:
        points: [478, 2] FaceMesh's landmarks.
    """
    (right, inner_right), (inner_left, left) = points[list(RIGHT_EYE_CORNERS)], points[list(LEFT_EYE_CORNERS)]
    across = left - right
    to_nose = points[_NOSE_BASE] - (right + inner_right + inner_left + left) / 4
    return across, to_nose - across * (to_nose @ across) / (across @ across)


def eye_features(picture: NDArray[np.uint8], points: Array, side: str) -> Array:
    """Return the features [d] of an eye's patch; a left eye's is mirrored, so that all are right eyes.

    Args:
        picture: [h, w, 3] sRGB.
        points: [478, 2] in 0..1.
        side: Left or Right, of the subject.
    """
    across, down = frame(points)
    corners = LEFT_EYE_CORNERS if side == "Left" else RIGHT_EYE_CORNERS
    axes = np.stack([-across if side == "Left" else across, down])
    return _features(picture, points[list(corners)].mean(0), axes, points[list(_EYE_POINTS[side])], EYE)


def mouth_features(picture: NDArray[np.uint8], points: Array, *, mirrored: bool = False) -> Array:
    """Return the features [d] of the mouth's patch, as it is or in the mirror; arguments as of `eye_features`."""
    across, down = frame(points)
    axes = np.stack([-across if mirrored else across, down])
    return _features(picture, points[list(_LIPS)].mean(0), axes, points[list(_MOUTH_POINTS[mirrored])], MOUTH)


def _features(picture: NDArray[np.uint8], origin: Array, axes: Array, points: Array, window: Window) -> Array:
    """Return edges by cell and direction, coarse brightness, where landmarks lie, and how far the head is turned.

    Args:
        picture: [h, w, 3].
        origin: [2] of the patch's frame, 0..1.
        axes: [2, 2] across and down, 0..1.
        points: [k, 2] FaceMesh's landmarks about it, 0..1.
        window: the patch in the frame.
    """
    grey = _patch(picture, origin, axes, window)
    grey = np.clip((grey - grey.mean()) / (grey.std() + 2.0), -2.5, 2.5)
    vertical, horizontal = np.gradient(grey)
    strength, angle = np.hypot(vertical, horizontal), np.arctan2(vertical, horizontal) * _DIRECTIONS / (2 * np.pi)
    lower = np.floor(angle)
    share = angle - lower
    edges = np.zeros((*grey.shape, _DIRECTIONS))
    rows, columns = np.indices(grey.shape)
    first = lower.astype(int) % _DIRECTIONS
    edges[rows, columns, first] += strength * (1 - share)
    edges[rows, columns, (first + 1) % _DIRECTIONS] += strength * share
    cells = _cells(edges, _CELL)
    length = np.sqrt((cells**2).sum(-1, keepdims=True) + _EVEN**2)
    places = (points - origin) @ np.linalg.inv(axes)
    turned = [np.linalg.norm(axes[1]) / np.linalg.norm(axes[0])]
    return np.concatenate([(cells / np.sqrt(length)).ravel(), _cells(grey, _CELL).ravel(), places.ravel(), turned])


def _cells(values: Array, side: int) -> Array:
    """Means over squares of pixels [h / side, w / side, ...]."""
    height, width = values.shape[:2]
    return values.reshape(height // side, side, width // side, side, -1).mean((1, 3))


def _patch(picture: NDArray[np.uint8], origin: Array, axes: Array, window: Window) -> Array:
    """Return a patch in grey [h, w], 0..255; beyond the picture its edge goes on."""
    width, height = window.size
    u, v = (
        low + (high - low) * (np.arange(_SUPER * count) + 0.5) / (_SUPER * count)
        for low, high, count in zip(window.low, window.high, window.size, strict=True)
    )
    places = origin + u[None, :, None] * axes[0] + v[:, None, None] * axes[1]
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    rows, columns = places[..., 1] * grey.shape[0] - 0.5, places[..., 0] * grey.shape[1] - 0.5
    samples = map_coordinates(grey, [rows, columns], order=1, mode="nearest")
    return _cells(samples, _SUPER)[..., 0].reshape(height, width)
