# SPDX-License-Identifier: Apache-2.0
"""Faces in pictures: MediaPipe's FaceMesh, a network that ships inside its wheel and works offline."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray


def available() -> bool:
    """Say whether mediapipe is installed."""
    return find_spec("mediapipe") is not None


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

    found: list[NDArray[np.float64] | None] = []
    with FaceMesh(static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.5) as detector:
        for picture in pictures:
            faces = getattr(detector.process(np.ascontiguousarray(picture)), "multi_face_landmarks")  # noqa: B009 (made at run time)
            found.append(np.array([[point.x, point.y] for point in faces[0].landmark]) if faces else None)
    return found
