# SPDX-License-Identifier: Apache-2.0
"""Faces in pictures: MediaPipe's detectors and FaceMesh, networks that ship inside its wheel and work offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, PortraitError
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
_MOST = 6  # candidates that are looked at closely


def available() -> bool:
    """Say whether mediapipe is installed."""
    return find_spec("mediapipe") is not None


def check_available() -> None:
    """Raise PortraitError if mediapipe is not installed."""
    if not available():
        raise PortraitError(
            "Photos cannot be captured, because mediapipe is not installed.", 'pip install "neural-portrait[capture]"'
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
        for level in _TILES:
            boxes = _distinct([box for tile in _tiles(photo.shape, level) for box in self._boxes(photo, tile)])
            found = [face for box in boxes[:_MOST] if (face := self.look_closely(photo, box)) is not None]
            if found:
                return sorted(_without_twins(found), key=lambda face: -face.width)
        return []

    def look_closely(self, photo: NDArray[np.uint8], box: NDArray[np.float64]) -> Face | None:
        """Return the face around a box [left, top, right, bottom] in pixels, or None if FaceMesh sees none there."""
        side = _AROUND * (box[2:] - box[:2]).max()
        corner = (box[:2] + box[2:]) / 2 - side / 2
        points = self.landmarks(window(photo, corner, side, _SQUARE))
        return None if points is None else Face(points * side + corner)

    def landmarks(self, picture: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Return FaceMesh's landmarks [478, 2] in 0..1 of a picture [h, w, 3] that a face fills, or None."""
        with quiet():
            return _landmarks(self._mesh, picture)

    def follow(self, photo: NDArray[np.uint8], before: Face) -> Face | None:
        """Return the face near where it was a frame ago; the largest one if it is not there; None without any."""
        box = np.concatenate([before.points.min(0), before.points.max(0)])
        near = self.look_closely(photo, box)
        if near is not None:
            return near
        return next(iter(self.faces(photo)), None)

    def _boxes(self, photo: NDArray[np.uint8], tile: tuple[int, int, int]) -> Iterator[NDArray[np.float64]]:
        """Yield [left, top, right, bottom] in pixels of what the detectors take for faces in a square tile."""
        corner, side = np.array(tile[:2], float), float(tile[2])
        seen = window(photo, corner, side, min(_SQUARE, round(side)))
        for detector in self._detectors:
            with quiet():
                found = getattr(detector.process(seen), "detections")  # noqa: B009 (made at run time)
            for detection in found or []:
                box = detection.location_data.relative_bounding_box
                low = np.array([box.xmin, box.ymin])
                yield np.concatenate([low, low + np.array([box.width, box.height])]) * side + np.tile(corner, 2)


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


def _distinct(boxes: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return boxes whose centres do not lie in a larger one, the largest first."""
    kept: list[NDArray[np.float64]] = []
    for box in sorted(boxes, key=lambda box: -float(box[2] - box[0])):
        centre = (box[:2] + box[2:]) / 2
        if not any((other[:2] < centre).all() and (centre < other[2:]).all() for other in kept):
            kept.append(box)
    return kept


def _without_twins(faces: list[Face]) -> list[Face]:
    """Return the faces without those that two boxes led to."""
    kept: list[Face] = []
    for face in faces:
        if all(np.linalg.norm(face.points.mean(0) - other.points.mean(0)) > 0.3 * other.width for other in kept):
            kept.append(face)
    return kept
