# SPDX-License-Identifier: Apache-2.0
"""From MediaPipe's landmarks to what a record keeps: cameras, who it is, what the face does, where the eyes look.

The face model is fitted to the 478 landmarks of one or many pictures of a person: the camera first, with the mean face,
then everything together (``landmark_problem.py``), against what FaceMesh is known to make of a face (``measured.py``).
Landmarks alone do not say how the head sits on the neck: the joints stay at rest, the jaw opens by its actions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..cameras import EG3D_FOCAL, EG3D_RADIUS
from ..errors import InputError
from ..human.anny import NAME
from ..human.landmarks import LEFT_EYE_CORNERS, MEDIAPIPE_COUNT, RIGHT_EYE_CORNERS
from ..human.model import FaceModel
from ..records import HEAD_TO_MODEL, JOINTS
from .landmark_problem import Array, Frame, Problem
from .measured import LandmarkModel, landmark_model, shipped_calibration
from .patches import Evidence

LARGEST_YAW = 75.0
"""Degrees: further to the side half of the face is guessed, and the fit with it."""
LARGEST_ERROR = 0.12
"""Mean distance between fitted and detected landmarks, in distances between the eyes, above which nothing is right."""

_POSE_STEPS, _STEPS = 6, 12
_SETTLED = 1e-4  # change of all unknowns below which the fit has ended
_LENS_ROUNDS = 3
_FACE_HEIGHT = 2.6  # distances between the eyes from the top of the forehead to the chin


@dataclass(frozen=True)
class FaceFit:
    """What n pictures of one person show; the arrays are a ``Record``'s."""

    cameras: NDArray[np.float32]
    """[n, 25] EG3D's labels: cam2world in model space (head at the origin), normalised intrinsics."""
    shape: NDArray[np.float32]
    """[K] identity coefficients, standard deviations."""
    actions: NDArray[np.float32]
    """[n, 52] in 0..1."""
    joints: NDArray[np.float32]
    """[n, 10, 3] at rest: landmarks do not show how the head sits on the neck."""
    gaze: NDArray[np.float32]
    """[n, 2, 2] yaw and pitch of left and right eye relative to the head, radians."""
    landmarks_68: NDArray[np.float32]
    """[n, 68, 3] head space."""
    landmarks_478: NDArray[np.float32]
    """[n, 478, 3] head space."""
    points_68: NDArray[np.float32]
    """[n, 68, 2] where the fitted face has them in the picture, 0..1."""
    points_478: NDArray[np.float32]
    """[n, 478, 2]."""
    error: NDArray[np.float32]
    """[n] mean distance between detected and expected landmarks, in distances between the eyes."""
    angles: NDArray[np.float32]
    """[n, 3] degrees: yaw of the camera towards the subject's left, pitch upwards, roll about its axis."""
    notes: tuple[str, ...] = ()
    """Sentences for the user."""


def fit_face(
    model: FaceModel,
    points: NDArray[np.floating],
    size: tuple[float, float] = (1.0, 1.0),
    focal: float | None = EG3D_FOCAL,
    shape: NDArray[np.floating] | None = None,
    landmarks: LandmarkModel | None = None,
    names: Sequence[str] | None = None,
    evidence: Sequence[Evidence | None] = (),
) -> FaceFit:
    """Fit the face model to the landmarks of pictures of one person.

    Args:
        model: The face model.
        points: [n, 478, 2] as ``capture.detect`` finds them, 0..1 of the picture's width and height.
        size: Width and height of the pictures, in any unit.
        focal: Focal length in picture widths; None takes the one with which the head is as far away as in EG3D's
            pictures (2.7 model units), because landmarks alone say little about it.
        shape: [K] identity coefficients that are known already; found by default.
        landmarks: How landmarks depend on the person; by default as FaceMesh's were measured for the default model.
        names: n names of the pictures for messages.
        evidence: What the pixels of each picture say about the actions (``patches.py``), or None; nothing by default.

    Returns:
        The fit. Deterministic; about a tenth of a second for a picture.

    Raises:
        InputError: A face is turned too far to the side, or the landmarks are none of a face.
    """
    points = np.asarray(points, np.float64)
    _check(points, size)
    if landmarks is None:
        landmarks = landmark_model(model, shipped_calibration() if model.name == NAME else None)
    scale = np.array([1.0, size[1] / size[0]])
    problem, frames, identity = _solve(landmarks, (points - 0.5) * scale, focal, shape, evidence)
    found = _described(model, landmarks, problem, frames, identity, points, scale)
    for index, (yaw, error) in enumerate(zip(found.angles[:, 0], found.error, strict=True)):
        name = "this picture" if names is None else f'"{names[index]}"'
        if abs(yaw) > LARGEST_YAW:
            raise InputError(
                f"The face in {name} is turned {abs(yaw):.0f} degrees to the side.",
                f"Use a picture in which it is turned {LARGEST_YAW:.0f} degrees at most.",
            )
        if not error < LARGEST_ERROR:
            raise InputError(
                f"The face in {name} cannot be fitted: it is off by {100 * error:.0f} % of the distance of the eyes.",
                "Use a picture that shows the face clearly.",
            )
    return found


def _check(points: Array, size: tuple[float, float]) -> None:
    if points.ndim != 3 or points.shape[1:] != (MEDIAPIPE_COUNT, 2) or not len(points):
        raise InputError(
            f"A face is fitted to landmarks of shape [n, {MEDIAPIPE_COUNT}, 2], not {list(points.shape)}.",
            "Take them from MediaPipe's FaceMesh with refined landmarks.",
        )
    if not np.isfinite(points).all() or min(size) <= 0:
        raise InputError("The landmarks of the face are not finite numbers.", "Use another picture.")


def _solve(
    landmarks: LandmarkModel,
    points: Array,
    focal: float | None,
    shape: NDArray[np.floating] | None,
    evidence: Sequence[Evidence | None],
) -> tuple[Problem, list[Frame], Array]:
    """Return the problem with its focal length, a solution for each picture, and the identity.

    Args:
        landmarks: How landmarks depend on the person.
        points: [n, 478, 2] picture widths from the middle.
        focal: Focal length, or None.
        shape: [K] the identity if it is known.
        evidence: About the actions of each picture, or none at all.
    """
    problem = Problem(landmarks, points, EG3D_FOCAL if focal is None else focal, evidence)
    identity = np.zeros(landmarks.identity.shape[2]) if shape is None else np.asarray(shape, np.float64)
    frames = [problem.begin(index) for index in range(len(points))]
    for _ in range(1 if focal is not None else _LENS_ROUNDS):
        for _ in range(_POSE_STEPS):
            frames, _ = problem.improve(frames, identity, pose_only=True)
        if focal is None:
            problem, frames = _at_usual_distance(problem, frames)
    for _ in range(_STEPS):
        before = frames, identity
        frames, identity = problem.improve(frames, identity, free_shape=shape is None)
        if _change(before, (frames, identity)) < _SETTLED:
            break
    return problem, frames, identity


def _at_usual_distance(problem: Problem, frames: list[Frame]) -> tuple[Problem, list[Frame]]:
    """Return the problem with the lens that puts the median head at EG3D's distance, and the frames for it."""
    usual = np.log(EG3D_RADIUS / HEAD_TO_MODEL)
    nearer = usual - float(np.median([frame.place[2] for frame in frames]))
    problem = problem.through(problem.focal * float(np.exp(nearer)))
    return problem, [replace(frame, place=frame.place + np.array([0, 0, nearer])) for frame in frames]


def _change(before: tuple[list[Frame], Array], after: tuple[list[Frame], Array]) -> float:
    """Return the largest change of any unknown."""
    changes = [np.abs(before[1] - after[1]).max()]
    for old, new in zip(before[0], after[0], strict=True):
        changes += [np.abs(old.rotation - new.rotation).max(), np.abs(old.place - new.place).max()]
        changes += [np.abs(old.actions - new.actions).max()]
    return float(max(changes))


def _described(
    model: FaceModel,
    landmarks: LandmarkModel,
    problem: Problem,
    frames: list[Frame],
    identity: Array,
    points: Array,
    scale: Array,
) -> FaceFit:
    """Return what a record keeps of a solution; points [n, 478, 2] in 0..1, scale [2] to picture widths."""
    intrinsics = np.array([[problem.focal, 0, 0.5], [0, problem.focal / scale[1], 0.5], [0, 0, 1]])
    neutral = model.vertices(identity)
    rows: dict[str, list[NDArray]] = defaultdict(list)
    for frame, detected in zip(frames, points, strict=True):
        acted = model.vertices(identity, frame.actions)
        rotation, origin = frame.rotation, frame.translation(problem.focal)

        def seen(places: NDArray, rotation: Array = rotation, origin: Array = origin) -> Array:
            in_picture = (places @ rotation.T + origin) @ intrinsics.T
            return in_picture[:, :2] / in_picture[:, 2:]

        expected = seen(landmarks.points(frame.towards(problem.focal), identity, frame.actions, frame.mistakes))
        rows["cameras"].append(_label(rotation, origin, intrinsics))
        rows["actions"].append(frame.actions)
        rows["joints"].append(np.zeros((len(JOINTS), 3)))
        rows["gaze"].append(gaze(model, neutral, acted))
        for which in ("68", "478"):
            places = model.landmarks(acted, which).astype(np.float64)
            rows[f"landmarks_{which}"].append(places)
            rows[f"points_{which}"].append(seen(places))
        rows["error"].append(np.array(_error(detected * scale, expected * scale)))
        rows["angles"].append(view_angles(rotation, origin))
    arrays = {name: np.stack(values).astype(np.float32) for name, values in rows.items()}
    return FaceFit(shape=identity.astype(np.float32), notes=(), **arrays)


def gaze(model: FaceModel, neutral: NDArray, acted: NDArray) -> Array:
    """Return yaw and pitch [2, 2] of the left and the right eye, radians, positive to the subject's left and up.

    Args:
        model: The face model, whose eyes look straight ahead at rest.
        neutral: [V, 3] vertices at rest.
        acted: [V, 3] vertices with actions: the eyes take their best rigid rotation (Kabsch 1976).
    """
    angles = np.zeros((2, 2))
    for side, name in enumerate(("left_eye", "right_eye")):
        eye = np.unique(model.faces[model.parts[name]])
        before, after = (vertices[eye].astype(np.float64) for vertices in (neutral, acted))
        turn = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))[0].as_matrix()
        x, y, z = turn[:, 2]
        angles[side] = np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))
    return angles


def view_angles(rotation: Array, origin: Array) -> Array:
    """Return yaw, pitch and roll [3] in degrees of a camera relative to the head.

    Yaw and pitch say where the camera stands (positive towards the subject's left, and above); roll how it is turned
    about the line from it to the head, clockwise, against a camera that keeps the head's vertical upright.

    Args:
        rotation: [3, 3] head to camera axes.
        origin: [3] the head in the camera.
    """
    place = -rotation.T @ origin
    x, y, z = place / np.linalg.norm(place)
    upright = rotation @ np.array([0.0, 1.0, 0.0])
    towards = origin / np.linalg.norm(origin)
    upright = upright - towards * (upright @ towards)
    return np.degrees([np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1)), np.arctan2(-upright[0], -upright[1])])


def _label(rotation: Array, origin: Array, intrinsics: Array) -> Array:
    """Return EG3D's 25 numbers of a camera; the translation becomes model units."""
    cam2world = np.eye(4)
    cam2world[:3, :3] = rotation.T
    cam2world[:3, 3] = HEAD_TO_MODEL * (-rotation.T @ origin)
    return np.concatenate([cam2world.ravel(), intrinsics.ravel()])


def _error(detected: Array, expected: Array) -> float:
    """Return the mean distance of landmarks [478, 2] over that between the eyes, the longer of detected and upright.

    A face in profile shows its eyes close together; the height of the face, known in these distances, stays.
    """
    eyes = [detected[list(corners)].mean(0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    between = max(np.linalg.norm(eyes[1] - eyes[0]), np.linalg.norm(detected[10] - detected[152]) / _FACE_HEIGHT)
    return float(np.linalg.norm(detected - expected, axis=1).mean() / between)
