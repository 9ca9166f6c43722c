# SPDX-License-Identifier: Apache-2.0
"""Faces in pictures: MediaPipe's detectors and FaceMesh, networks that ship inside its wheel and work offline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, PortraitError
from ..human.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from ._quiet import quiet

if TYPE_CHECKING:
    from mediapipe.python.solutions.face_mesh import FaceMesh

SMALLEST_FACE = 64
"""Pixels that a face has to be wide, brow to chin or cheek to cheek, to tell who it is."""

_AROUND = 2.2  # side of the square that FaceMesh sees, in widths of the detector's box
_SQUARE = 448  # its side in pixels
_CONFIDENCE = 0.5
_TILES = (1, 2, 4, 8)  # how finely a picture is searched: all of it, then squares of its shorter side, half, quarter
_SMALLEST_TILE = 192  # pixels: the detector looks at no more
_SURE, _CLEARLY = 0.75, 0.05  # scores: a face that needs no turned photo, and by how much a turned one must be better
_MOST = 6  # candidates that are looked at closely


def available() -> bool:
    """Say whether mediapipe is installed."""
    return find_spec("mediapipe") is not None


def check_available() -> None:
    """Raise PortraitError if mediapipe is not installed."""
    if not available():
        raise PortraitError(
            "Photos and clips cannot be used, because the engine's Python lacks mediapipe.",
            'Install it there: pip install "neural-portrait[capture]"',
        )


def face_landmarks(pictures: NDArray[np.uint8]) -> list[NDArray[np.float64] | None]:
    """Return the 478 landmarks of the face in each picture, or None where there is no face.

    Each is [478, 2]: x in picture widths from the left edge, y in picture heights from the top edge. The first 468 are
    FaceMesh's points, the last 10 the irises.

    Args:
        pictures: [n, h, w, 3] sRGB.

    Raises:
        ImportError: mediapipe is not installed (see :func:`available`).
    """
    from mediapipe.python.solutions.face_mesh import FaceMesh

    with FaceMesh(static_image_mode=True, refine_landmarks=True, min_detection_confidence=_CONFIDENCE) as mesh:
        return [_landmarks(mesh, picture) for picture in pictures]


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        points: [478, 2] landmarks in pixels of the photo, x to the right, y down; a pixel's centre is at half numbers.
    """

    points: NDArray[np.float64]

    @property
    def width(self) -> float:
        """Longer side of the box around the face, without the irises, in pixels."""
        return float(np.ptp(self.points[:468], axis=0).max())


@dataclass(frozen=True)
class Box:
    """Where a face may be in a photo.

    Attributes:
        centre: [2] pixels.
        size: [2] width and height in pixels.
        quarter: by how many quarter turns counter-clockwise the photo must be turned for the face to be upright.
        score: how sure the detector is, 0..1.
    """

    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    quarter: int
    score: float = 0.0


class FaceFinder:
    """Finds faces of any size in photos of any size. A context manager: it holds MediaPipe's networks.

    The detectors see a picture at 128 or 192 pixels, where a face must be about a tenth of the picture. So the whole
    picture is searched first, then ever smaller overlapping tiles of it until a face is found; FaceMesh looks at every
    candidate closely, and what it does not take for a face is none.
    """

    def __init__(self) -> None:
        check_available()
        from mediapipe.python.solutions.face_detection import FaceDetection
        from mediapipe.python.solutions.face_mesh import FaceMesh

        with quiet():
            self._detectors = [FaceDetection(_CONFIDENCE, model_selection=range_) for range_ in (1, 0)]
            self._mesh = FaceMesh(static_image_mode=True, refine_landmarks=True, min_detection_confidence=_CONFIDENCE)
            for network in (*self._detectors, self._mesh):  # the first picture, too, makes them talk
                network.process(np.zeros((_SQUARE, _SQUARE, 3), np.uint8))

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for network in (*self._detectors, self._mesh):
            network.close()

    def faces(self, photo: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in a photo [h, w, 3], the largest first; [] if there is none."""
        turns = self._upright(photo)
        faces = self._faces(np.rot90(photo, turns))
        return [Face(_turned_back(face.points, turns, photo.shape[1::-1])) for face in faces]

    def _upright(self, photo: NDArray[np.uint8]) -> int:
        """Return how many quarter turns counter-clockwise bring the photo up; only clear cases count."""
        scores = [0.0] * 4
        for turns in range(4):
            turned = np.rot90(photo, turns)
            (tile,) = _tiles(turned.shape, 1)
            scores[turns] = max((box.score for box in self._boxes(turned, tile) if box.quarter == 0), default=0.0)
            if scores[0] >= _SURE:
                return 0
        return int(np.argmax(scores)) if max(scores) > scores[0] + _CLEARLY else 0

    def _faces(self, photo: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in a photo that is nearly upright, the largest first."""
        for level in _TILES:
            seen = _distinct([box for tile in _tiles(photo.shape, level) for box in self._boxes(photo, tile)])
            found = [face for box in seen[:_MOST] if (face := self.look_closely(photo, box)) is not None]
            if found:
                return sorted(_without_twins(found), key=lambda face: -face.width)
        return []

    def look_closely(self, photo: NDArray[np.uint8], box: Box) -> Face | None:
        """Return the face in a box, or None if FaceMesh sees none there. It sees it upright, to half a quarter turn."""
        side = _AROUND * box.size.max()
        corner = box.centre - side / 2
        points = self.landmarks(np.rot90(window(photo, corner, side, _SQUARE), box.quarter))
        if points is None:
            return None
        return Face(_turned_back(points, box.quarter, (1, 1)) * side + corner)

    def landmarks(self, picture: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Return FaceMesh's landmarks [478, 2] in 0..1 of a picture [h, w, 3] that a face fills, or None."""
        with quiet():
            return _landmarks(self._mesh, picture)

    def follow(self, photo: NDArray[np.uint8], before: Face) -> Face | None:
        """Return the face near where it was a frame ago; the largest one if it is not there; None without any."""
        low, high = before.points.min(0), before.points.max(0)
        eyes = (before.points[list(corners)].mean(0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS))
        near = self.look_closely(photo, Box((low + high) / 2, high - low, _quarter(*eyes)))
        if near is not None:
            return near
        return next(iter(self.faces(photo)), None)

    def _boxes(self, photo: NDArray[np.uint8], tile: tuple[int, int, int]) -> Iterator[Box]:
        """Yield what the detectors take for faces in a square tile of a photo."""
        corner, side = np.array(tile[:2], float), float(tile[2])
        seen = window(photo, corner, side, min(_SQUARE, round(side)))
        for detector in self._detectors:
            with quiet():
                found = getattr(detector.process(seen), "detections")  # noqa: B009 (made at run time)
            for detection in found or []:
                place = detection.location_data
                box = place.relative_bounding_box
                extent = np.array([box.width, box.height])
                eyes = [np.array([eye.x, eye.y]) for eye in place.relative_keypoints[:2]]
                centre = (np.array([box.xmin, box.ymin]) + extent / 2) * side + corner
                yield Box(centre, extent * side, _quarter(*eyes), float(detection.score[0]))


def the_face(faces: Sequence[Face], photo: NDArray[np.uint8], name: str) -> tuple[Face, tuple[str, ...]]:
    """Return the largest face, and a sentence if there are others.

    Args:
        faces: as ``FaceFinder.faces`` gives them.
        photo: [h, w, 3] where they were found.
        name: what the user calls the photo.

    Raises:
        InputError: there is no face, or it is too small.
    """
    height, width = photo.shape[:2]
    if not faces:
        if min(height, width) < SMALLEST_FACE:
            raise InputError(
                f'"{name}" is too small: it has {width} x {height} pixels, and a face needs at least {SMALLEST_FACE}.',
                "Use a larger picture.",
            )
        raise InputError(
            f'No face was found in "{name}".',
            "It must show a face that is not covered and looks less than 75 degrees to the side.",
        )
    face = faces[0]
    if face.width < SMALLEST_FACE:
        raise InputError(
            f'The face in "{name}" is too small: it is {face.width:.0f} pixels wide, and {SMALLEST_FACE} are needed.',
            "Use a larger picture.",
        )
    notes = (f'"{name}" shows {len(faces)} faces; the largest was taken.',) if len(faces) > 1 else ()
    return face, notes


def window(photo: NDArray[np.uint8], corner: NDArray[np.float64], side: float, size: int) -> NDArray[np.uint8]:
    """Return a square of a photo as [size, size, 3]; black where it leaves the photo.

    Args:
        photo: [h, w, 3].
        corner: [2] its left and top in pixels of the photo.
        side: its width in pixels of the photo.
        size: its width in pixels of the result.
    """
    from PIL import Image

    low = np.floor(corner).astype(int)
    high = np.ceil(corner + side).astype(int)
    extent = photo.shape[1::-1]
    inside = photo[max(low[1], 0) : max(high[1], 0), max(low[0], 0) : max(high[0], 0)]
    padding = [(max(-low[i], 0), max(high[i] - max(extent[i], low[i]), 0)) for i in (1, 0)]
    padded = np.pad(inside, (*padding, (0, 0)))[: high[1] - low[1], : high[0] - low[0]]
    start = corner - low
    box = (start[0], start[1], start[0] + side, start[1] + side)
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BICUBIC, box=box))


def _landmarks(mesh: FaceMesh, picture: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return FaceMesh's landmarks [478, 2] of one picture in 0..1, or None."""
    faces = getattr(mesh.process(np.ascontiguousarray(picture)), "multi_face_landmarks")  # noqa: B009 (made at run time)
    return np.array([[point.x, point.y] for point in faces[0].landmark]) if faces else None


def _tiles(shape: Sequence[int], level: int) -> list[tuple[int, int, int]]:
    """Return left, top and side of squares that cover a picture, each overlapping the next by half."""
    height, width = shape[:2]
    if level == 1:
        side = max(height, width)
        return [((width - side) // 2, (height - side) // 2, side)]
    side = 2 * min(height, width) // level  # level 2: the shorter side
    if side < _SMALLEST_TILE:
        return []
    starts = [
        np.unique(np.linspace(0, extent - side, max(1, int(np.ceil(2 * extent / side)) - 1)).round().astype(int))
        for extent in (width, height)
    ]
    return [(int(left), int(top), side) for top in starts[1] for left in starts[0]]


def _turned_back(points: NDArray[np.float64], quarters: int, size: tuple[float, ...]) -> NDArray[np.float64]:
    """Return where points [n, 2] of a picture lie that was turned counter-clockwise; size: its width and height before.

    A turned picture's row y is the column w - y of the one before the turn, w that one's width; its column x is row x.
    """
    for quarter in reversed(range(quarters)):
        width = size[quarter % 2]  # of the picture before this turn
        points = np.stack([width - points[:, 1], points[:, 0]], axis=1)
    return points


def _quarter(right_eye: NDArray[np.float64], left_eye: NDArray[np.float64]) -> int:
    """Return how many quarter turns counter-clockwise bring the subject's left eye to the right of the right one."""
    across, down = left_eye - right_eye
    return round(math.atan2(down, across) / (math.pi / 2)) % 4


def _distinct(boxes: list[Box]) -> list[Box]:
    """Return boxes whose centres do not lie in a larger one, the largest first."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -float(box.size.max())):
        if not any((np.abs(box.centre - other.centre) < other.size / 2).all() for other in kept):
            kept.append(box)
    return kept


def _without_twins(faces: list[Face]) -> list[Face]:
    """Return the faces without those that two boxes led to."""
    kept: list[Face] = []
    for face in faces:
        if all(np.linalg.norm(face.points.mean(0) - other.points.mean(0)) > 0.3 * other.width for other in kept):
            kept.append(face)
    return kept
