# SPDX-License-Identifier: Apache-2.0
"""FLAME (Li et al. 2017) in our layout, from the files that the user has registered for.

FLAME 2020 and 2023 come as pickles, which are read without chumpy; an ``.npz`` of the same arrays is read too. The
files are non-commercial and are never shipped. Their layout is SMPL's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .model import FaceModel
from .model_files import read_model_file
from .smpl import from_published

# Facts about the published files: five joints in this order; 400 blend shapes, of which the first 300 are identity.
JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
IDENTITY_SHAPES = 300
LICENCE = "FLAME licence: non-commercial, no redistribution"


def read_flame(path: Path) -> FaceModel:
    """Return FLAME as a face model in head space; its expressions are unnamed principal components.

    FLAME's axes are ours (+X the subject's left, +Y up, +Z out of the face, metres); its origin is moved to the height
    of the eyes, 0.104 m behind the tip of the nose. Texture coordinates and landmarks are in other files and stay
    empty.

    Raises:
        InputError: The file is missing, damaged, or no FLAME file.
    """

    def eye_height(vertices: NDArray[np.float64], joints: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        return float(joints[-2:, 1].mean())

    return from_published("flame", read_model_file(path), JOINTS, LICENCE, eye_height, IDENTITY_SHAPES)
