# SPDX-License-Identifier: Apache-2.0
"""Who is photographed and from where: codes and cameras, a pure function of (seed, index)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neural_core.human.appearance import CODE_SIZE

HEAD_TO_MODEL = 2.0  # model space = 2 x head space (metres); the EG3D unit box is half a metre
RADIUS = 2.7  # distance of the cameras from the origin, model units
FOCAL = 4.2647  # EG3D's focal length, image widths
CLOSE_UP = 2.2  # how much longer the lens of a close-up is
_FRONTAL_SHARE = 0.55  # of the views that lie within +-60 degrees
_FACE = np.array([0.0, -0.022, 0.085])  # between eyes and mouth, head space


@dataclass(frozen=True)
class View:
    """One camera.

    Attributes:
        cam2world: [4, 4], OpenCV axes (x right, y down, z forward), model space.
        intrinsics: [3, 3], normalised by the image size.
        close_up: Whether only a part of the face fills the picture.
    """

    cam2world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    close_up: bool = False

    def label(self) -> NDArray[np.float32]:
        """EG3D's 25 numbers: cam2world row by row, then intrinsics row by row."""
        return np.concatenate([self.cam2world.ravel(), self.intrinsics.ravel()]).astype(np.float32)


@dataclass(frozen=True)
class Person:
    """A code and the views of the person who has it."""

    index: int
    code: NDArray[np.float32]
    views: tuple[View, ...]


def sample_person(seed: int, index: int, views: int = 8, close_ups: int = 2) -> Person:
    """The person ``index`` of the data set ``seed``: the same code whatever the number of views."""
    code = np.random.default_rng([seed, index, 0]).standard_normal(CODE_SIZE).astype(np.float32)
    rng = np.random.default_rng([seed, index, 1])
    cameras = [_near_frontal(rng)]
    cameras += [_all_round(rng) for _ in range(views - close_ups - 1)]
    cameras += [_close_up(rng) for _ in range(close_ups)]
    return Person(index, code, tuple(cameras[:views]))


def orbit(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Pose [4, 4] on the sphere of radius 2.7 looking at the origin, model space; degrees.

    Yaw 0 is in front of the face (+Z), positive yaw towards the subject's left (+X), positive pitch from above.
    """
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    outwards = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    forward = -outwards
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    pose[:3, 3] = RADIUS * outwards
    return pose


def intrinsics(focal: float, cx: float = 0.5, cy: float = 0.5) -> NDArray[np.float64]:
    """Intrinsic matrix [3, 3] normalised by the image size."""
    return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])


def _pitch(rng: np.random.Generator) -> float:
    return float(np.clip(rng.normal(0.0, 10.0), -25.0, 25.0))


def _near_frontal(rng: np.random.Generator) -> View:
    return View(orbit(rng.uniform(-10.0, 10.0), _pitch(rng)), intrinsics(FOCAL))


def _all_round(rng: np.random.Generator) -> View:
    if rng.random() < _FRONTAL_SHARE:
        yaw = rng.uniform(-60.0, 60.0)
    else:
        yaw = rng.choice([-1.0, 1.0]) * rng.uniform(60.0, 180.0)
    return View(orbit(float(yaw), _pitch(rng)), intrinsics(FOCAL))


def _close_up(rng: np.random.Generator) -> View:
    """An off-centre crop of a camera of the same kind, around a point between eyes and mouth."""
    pose = orbit(rng.uniform(-45.0, 45.0), _pitch(rng))
    target = HEAD_TO_MODEL * (_FACE + rng.normal(0.0, 1.0, 3) * np.array([0.012, 0.02, 0.0]))
    x, y, z = pose[:3, :3].T @ (target - pose[:3, 3])
    focal = FOCAL * CLOSE_UP
    return View(pose, intrinsics(focal, 0.5 - focal * x / z, 0.5 - focal * y / z), close_up=True)
