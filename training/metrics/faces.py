# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's FaceMesh as a judge that we did not train: does it see a face, with its features where the rig's are?"""

from __future__ import annotations

import numpy as np

from neural_core.capture._quiet import quiet
from neural_core.capture.detect import available, face_landmarks
from neural_core.errors import UsageError

STABLE_POINTS = (33, 133, 362, 263, 4, 2, 98, 327, 61, 291, 0, 17, 152, 70, 300)
"""FaceMesh indices compared with the rig: eye corners, nose tip and base, wings of the nose, mouth corners, lips,
chin, outer brows. Chosen by anatomy, before any portrait was looked at."""

LEFT_EYE, RIGHT_EYE = (362, 263), (33, 133)


def check_available() -> None:
    """Raise UsageError if mediapipe is not installed."""
    if not available():
        raise UsageError("FaceMesh needs mediapipe.", "Install it: pip install 'neural-portrait[capture]'.")


def detect(pictures: np.ndarray) -> list[np.ndarray | None]:
    """Return each picture's 478 landmarks in pixels, [478, 2], or None where no face was found.

    Args:
        pictures: [n, h, w, 3] uint8, sRGB.

    Raises:
        UsageError: mediapipe is not installed.
    """
    check_available()
    height, width = pictures.shape[1:3]
    with quiet():
        found = face_landmarks(pictures)
    return [None if points is None else points * [width, height] for points in found]


def landmark_distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance over `STABLE_POINTS` between two sets of 478 landmarks [478, 2], in inter-ocular distances.

    The inter-ocular distance is that between the eyes' centres in `expected`.
    """
    eyes = expected[list(LEFT_EYE)].mean(0) - expected[list(RIGHT_EYE)].mean(0)
    chosen = list(STABLE_POINTS)
    return float(np.linalg.norm(found[chosen] - expected[chosen], axis=1).mean() / np.linalg.norm(eyes))
