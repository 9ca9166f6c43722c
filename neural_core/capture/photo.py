# SPDX-License-Identifier: Apache-2.0
"""From a photo to a record: the face found, aligned as in EG3D's pictures, fitted, and cut out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import media
from ..progress import Report, silent
from .align import CROP_SIZE, Crop, cut, first_crop, framing_head
from .detect import Face, the_face
from .fit import FaceFit, fit_face
from .labels import Captured, Shot, Tools, captured

_ROUNDS = 2  # the fitted head moves the crop a little; the second time by less than a tenth of a pixel
_MOST_OUTSIDE = 0.2  # share of the crop that may lie outside the photo before it is said


def capture_photo(
    tools: Tools, photo: Path | NDArray[np.uint8], size: int = CROP_SIZE, report: Report = silent
) -> Captured:
    """Return the person in a photo, one frame.

    Args:
        tools: the networks and the face model.
        photo: a file, or [h, w, 3] sRGB.
        size: side of the crop in pixels.
        report: told of the stages.

    Raises:
        InputError: the file is no picture; there is no face, or it is too small, or turned too far to the side.
    """
    name = photo.name if isinstance(photo, Path) else "the picture"
    picture = media.read_photo(photo) if isinstance(photo, Path) else photo
    report("Looking for the face", 0, 4)
    face, notes = the_face(tools.finder.faces(picture), picture, name)
    report("Fitting the face", 1, 4)
    shot, fit = _align(tools, picture, face, name)
    report("Cutting the person out", 2, 4)
    result = captured(tools, [shot], fit, size, {"file": name}, (*notes, *fit.notes))
    report("Cutting the person out", 4, 4)
    return result


def _align(tools: Tools, photo: NDArray[np.uint8], face: Face, name: str) -> tuple[Shot, FaceFit]:
    """Return the shot in which the fitted head stands as in EG3D's pictures, and the fit in its crop."""
    crop = first_crop(face.points, tools.model)
    points = look_again(tools, photo, crop, face)
    for _ in range(_ROUNDS):
        fit = fit_face(tools.model, crop.from_photo(points)[None], names=[name])
        crop = framing_head(crop, fit.cameras[0])
    fit = fit_face(tools.model, crop.from_photo(points)[None], names=[name])
    return Shot(photo, crop, points), fit


def look_again(tools: Tools, photo: NDArray[np.uint8], crop: Crop, face: Face) -> NDArray[np.float64]:
    """Return the landmarks [478, 2] in pixels of the photo as FaceMesh finds them in the upright crop.

    There a head is as large and as upright as in every other crop, so that its errors are those that the fit knows.
    """
    points = tools.finder.landmarks(cut(photo, crop, CROP_SIZE)[0])
    return face.points if points is None else crop.to_photo(points)
