# SPDX-License-Identifier: Apache-2.0
"""From a photo to a record: the face found, aligned as in EG3D's pictures, fitted, and cut out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import media
from ..errors import InputError
from ..progress import Report, silent
from .align import CROP_SIZE, Crop, cut, first_crop, framing_head
from .detect import Face, FaceFinder, the_face
from .fit import FaceFit, fit_face
from .labels import Captured, Shot, Tools, captured
from .patches import SEEN_AT, Evidence, shipped_patches

_LOOKS = ((1.0, 0.0), (1.3, 0.0), (1.15, 0.3), (1.15, -0.3))  # size of the crop, and radians by which it is turned
_LOOK = 256  # pixels of them: what FaceMesh sees
_ROUNDS = 2  # the fitted head moves the crop a little; the second time by less than a tenth of a pixel
_MOST_OUTSIDE = 0.15  # share of the crop that may lie outside the photo before it is said


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
    missing = 1 - result.record.source["inside"][0]
    if missing > _MOST_OUTSIDE:
        note = f'{missing:.0%} of the crop lies outside "{name}" and was filled by mirroring.'
        result = replace(result, notes=(*result.notes, note))
    return result


def _align(tools: Tools, photo: NDArray[np.uint8], face: Face, name: str) -> tuple[Shot, FaceFit]:
    """Return the shot in which the fitted head stands as in EG3D's pictures, and the fit in its crop."""
    crop = first_crop(face.points, tools.model)
    points = look_again(tools.finder, photo, crop)
    if points is None:
        raise InputError(f'What looked like a face in "{name}" is none at a second look.', "Use another photo.")
    evidence = [read_pixels(photo, crop, points)]
    for _ in range(_ROUNDS):
        fit = fit_face(tools.model, crop.from_photo(points)[None], names=[name], evidence=evidence)
        crop = framing_head(crop, fit.cameras[0])
    fit = fit_face(tools.model, crop.from_photo(points)[None], names=[name], evidence=evidence)
    return Shot(photo, crop, points), fit


def look_again(finder: FaceFinder, photo: NDArray[np.uint8], crop: Crop) -> NDArray[np.float64] | None:
    """Return the landmarks [478, 2] in pixels of the photo as FaceMesh finds them in the upright crop.

    There a head is as large and as upright as in every other crop, so that its errors are those that the fit knows. A
    face is seen there, or in a crop a little larger or turned; what is seen in none of them (a cat's face is not) is no
    face, and None is returned.
    """
    for zoom, turn in _LOOKS:
        around = crop.inner(np.array([0.5, 0.5]), zoom, turn)
        points = finder.landmarks(cut(photo, around, _LOOK)[0])
        if points is not None:
            return around.to_photo(points)
    return None


def read_pixels(photo: NDArray[np.uint8], crop: Crop, points: NDArray[np.float64]) -> Evidence | None:
    """Return what the pixels about eyes and mouth say, or None if they say nothing.

    Args:
        photo: [h, w, 3].
        crop: upright, about the face.
        points: [478, 2] landmarks in pixels of the photo.
    """
    patches = shipped_patches()
    return patches and patches.evidence(cut(photo, crop, SEEN_AT)[0], crop.from_photo(points))
