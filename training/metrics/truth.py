# SPDX-License-Identifier: Apache-2.0
"""Does a portrait show the person, the expression and the view that it was asked for? Our capture reads it and says.

The papers let a network (DECA, Deep3DFaceReconstruction) estimate coefficients of the portrait and compare them with
the driving ones: AED and APD (Next3D, section 4.2; Real3D-Portrait, section 4.2). Of people that we made ourselves the
driving coefficients are known exactly, and the reader is our own face fit, which needs no licensed weights. It errs:
read every figure beside that of the true pictures of the same people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from neural_core.cameras import EG3D_FOCAL
from neural_core.capture.align import first_crop
from neural_core.capture.detect import FaceFinder
from neural_core.capture.fit import FaceFit, fit_face
from neural_core.capture.patches import Evidence
from neural_core.capture.photo import look_again, read_pixels
from neural_core.errors import InputError
from neural_core.human.model import FaceModel


@dataclass(frozen=True)
class Truth:
    """What v pictures of one person should show; the arrays are a ``Record``'s."""

    shape: NDArray[np.floating]
    """[K] identity coefficients, standard deviations."""
    actions: NDArray[np.floating]
    """[v, 52] facial actions in 0..1."""
    cameras: NDArray[np.floating]
    """[v, 25] labels in model space; square pictures, no skew."""


@dataclass(frozen=True)
class TruthDistances:
    """How far what capture reads of one person's v pictures lies from the truth."""

    shape: NDArray[np.float32]
    """[K] identity coefficients read from all pictures together; zeros, the mean person's, if no face was."""
    identity: float
    """`identity_distance` of that shape, millimetres; nan if no face was read."""
    identity_of_mean: float
    """The same of the mean person: what one gets who sees nothing of the person."""
    expression: NDArray[np.float64]
    """[v] `expression_distance`, AED; nan where no face was read."""
    pose: NDArray[np.float64]
    """[v] `pose_distance`, APD, degrees; nan where no face was read."""


def identity_distance(model: FaceModel, shape: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Return how far two people's faces at rest are apart: root mean square over the 478 landmarks, millimetres.

    The one is first moved, turned and scaled to fit the other best (Kabsch 1976, Umeyama 1991): how large a head is,
    and where in it the face lies, no picture tells. Coefficients themselves would count what can hardly be seen as
    much as what can.
    """
    one, other = (model.landmarks(model.vertices(each), "478").astype(np.float64) for each in (shape, truth))
    one, other = one - one.mean(0), other - other.mean(0)
    turned = Rotation.align_vectors(other, one)[0].apply(one)
    scale = (turned * other).sum() / (one**2).sum()
    return float(1e3 * np.sqrt(((scale * turned - other) ** 2).sum(1).mean()))


def recognised(model: FaceModel, shapes: NDArray[np.floating], truths: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return of which of n people the shape [n, K] is nearer to their own true one [n, K] than to all others'.

    By chance about one is.
    """
    distances = np.array([[identity_distance(model, shape, truth) for truth in truths] for shape in shapes])
    return distances.argmin(1) == np.arange(len(shapes))


def expression_distance(actions: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return AED [v]: mean absolute difference of the 52 facial actions [v, 52], each in 0..1.

    Note:
        The papers do not say which distance they average, and take their face model's expression coefficients: the
        figures compare among themselves only.
    """
    return np.abs(np.asarray(actions, np.float64) - truth).mean(1)


def pose_distance(cameras: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return APD [v]: degrees between the head's turns, as the labels [v, 25] of the cameras before it tell them.

    Note:
        The papers average distances of rotation parameters, without a unit; here it is the angle of the one rotation
        that lies between the two turns.
    """
    turns = [label[:, :16].reshape(-1, 4, 4)[:, :3, :3].astype(np.float64) for label in (cameras, truth)]
    between = np.swapaxes(turns[0], 1, 2) @ turns[1]
    # The sine is exact for small angles, where the cosine is not.
    axis = np.stack([between[:, i, j] - between[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=1)
    cosine = np.trace(between, axis1=1, axis2=2) - 1
    return np.degrees(np.arctan2(np.linalg.norm(axis, axis=1), cosine))


def distances_to_truth(
    finder: FaceFinder, model: FaceModel, pictures: NDArray[np.uint8], truth: Truth
) -> TruthDistances:
    """Read v pictures of one person as capture reads photos, and compare with the truth.

    Args:
        finder: MediaPipe's networks.
        model: the face model that the truth is told in.
        pictures: [v, h, h, 3] sRGB.
        truth: what they should show. Only the cameras' lenses help the reader.
    """
    count = len(pictures)
    expression, pose = np.full(count, np.nan), np.full(count, np.nan)
    of_mean = identity_distance(model, np.zeros_like(truth.shape), truth.shape)
    seen, fit = _read(finder, model, pictures, truth.cameras)
    if fit is None:
        return TruthDistances(np.zeros_like(truth.shape, np.float32), float("nan"), of_mean, expression, pose)
    expression[seen] = expression_distance(fit.actions, truth.actions[seen])
    pose[seen] = pose_distance(fit.cameras, truth.cameras[seen])
    identity = identity_distance(model, fit.shape, truth.shape)
    return TruthDistances(fit.shape, identity, of_mean, expression, pose)


def _read(
    finder: FaceFinder, model: FaceModel, pictures: NDArray[np.uint8], cameras: NDArray[np.floating]
) -> tuple[list[int], FaceFit | None]:
    """Return which pictures show a face that can be fitted, and the fit of these with one identity."""
    seen: list[int] = []
    points: list[NDArray[np.float64]] = []
    evidence: list[Evidence | None] = []
    for index, (picture, camera) in enumerate(zip(pictures, cameras, strict=True)):
        faces = finder.faces(picture)
        if not faces:
            continue
        crop = first_crop(faces[0].points, model)
        found = look_again(finder, picture, crop)
        if found is None:
            continue
        lensed = through_usual_lens(found / len(picture), camera)
        says = read_pixels(picture, crop, found)
        try:
            fit_face(model, lensed[None], evidence=[says])
        except InputError:  # what looked like a face is none, or turned too far: it would spoil the others' fit
            continue
        seen.append(index)
        points.append(lensed)
        evidence.append(says)
    if not seen:
        return [], None
    try:
        return seen, fit_face(model, np.stack(points), evidence=evidence)
    except InputError:  # each was a face, but they are not one person's
        return [], None


def through_usual_lens(points: NDArray[np.float64], camera: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where points [n, 2] of a picture, 0..1, appear through EG3D's lens at the same place.

    So pictures of several lenses can be fitted together.

    Args:
        points: in the picture of ``camera``.
        camera: [25] a label.
    """
    lens = camera[16:].reshape(3, 3).astype(np.float64)
    return (points - lens[:2, 2]) * EG3D_FOCAL / lens[[0, 1], [0, 1]] + 0.5
