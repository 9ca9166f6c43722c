# SPDX-License-Identifier: Apache-2.0
"""Cameras: EG3D's, around a head that stands still, with their framings and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from neural_core.records import HEAD_TO_MODEL, JOINTS
from training.synthetic.figure import Pose
from training.synthetic.plan import Plan

RADIUS = 2.7  # distance of the cameras from what they look at, model units
FOCAL = 4.2647  # EG3D's focal length, image widths
BUST_FOCAL = 2.18  # a picture of head and shoulders is 0.62 m wide at the head
CLOSE_UP = 2.2  # how much longer the lens of a close-up is
_BUST = np.array([0.0, -0.125, 0.0])  # what a bust's camera looks at, head space: a little above the collar bones
_FACE = np.array([0.0, -0.022, 0.085])  # between eyes and mouth, head space
_FRONT = 10.0  # degrees: the first of several views is near-frontal
_SIDE = 60.0  # degrees: ``frontal_share`` of the other views lie within


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

    def project(self, points: NDArray) -> NDArray[np.float64]:
        """Places (u, v) in the picture [n, 2], 0..1 from the top left, of points [n, 3] in head space (metres)."""
        in_camera = (HEAD_TO_MODEL * points - self.cam2world[:3, 3]) @ self.cam2world[:3, :3]
        pixels = in_camera @ self.intrinsics.T
        return pixels[:, :2] / pixels[:, 2:]


def sample_views(rng: np.random.Generator, plan: Plan) -> tuple[View, ...]:
    """Cameras of an instant: of several the first is near-frontal, and the last ``close_ups`` are close-ups."""
    cameras = [_near_frontal(rng, plan)] if plan.views > 1 else []
    cameras += [_all_round(rng, plan) for _ in range(plan.views - plan.close_ups - len(cameras))]
    cameras += [_close_up(rng, plan) for _ in range(plan.close_ups)]
    return tuple(cameras)


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


def framed(yaw: float, pitch: float, framing: str = "head") -> View:
    """A view of the whole head, or of head and shoulders; degrees."""
    pose = orbit(yaw, pitch)
    if framing == "head":
        return View(pose, intrinsics(FOCAL))
    pose[:3, 3] += HEAD_TO_MODEL * _BUST
    return View(pose, intrinsics(BUST_FOCAL))


def follow(view: View, pose: Pose) -> View:
    """The camera that stands still while the head turns, seen from the head; the crop follows the head.

    In a record the head is what stands still: its turning moves the camera around it.
    """
    cam2world = view.cam2world.copy()
    cam2world[:3] = seen_from_head(pose) @ view.cam2world[:3]
    return View(cam2world, view.intrinsics, view.close_up)


def seen_from_head(pose: Pose) -> NDArray[np.float64]:
    """Rotation [3, 3] that takes directions in the room to directions in head space while the head is turned."""
    turns = [Rotation.from_rotvec(pose.joints[JOINTS.index(name)]) for name in ("root", "neck", "head")]
    return (turns[0] * turns[1] * turns[2]).inv().as_matrix()


def _pitch(rng: np.random.Generator, plan: Plan) -> float:
    return float(np.clip(rng.normal(0.0, 10.0), -plan.max_pitch, plan.max_pitch))


def _near_frontal(rng: np.random.Generator, plan: Plan) -> View:
    widest = min(_FRONT, plan.max_yaw)
    return framed(rng.uniform(-widest, widest), _pitch(rng, plan), plan.framing)


def _all_round(rng: np.random.Generator, plan: Plan) -> View:
    widest = min(_SIDE, plan.max_yaw)
    if rng.random() < plan.frontal_share or plan.max_yaw <= _SIDE:
        yaw = rng.uniform(-widest, widest)
    else:
        yaw = rng.choice([-1.0, 1.0]) * rng.uniform(_SIDE, plan.max_yaw)
    return framed(float(yaw), _pitch(rng, plan), plan.framing)


def _close_up(rng: np.random.Generator, plan: Plan) -> View:
    """An off-centre crop of a camera of the same kind, around a point between eyes and mouth."""
    widest = min(45.0, plan.max_yaw)
    pose = orbit(rng.uniform(-widest, widest), _pitch(rng, plan))
    target = HEAD_TO_MODEL * (_FACE + rng.normal(0.0, 1.0, 3) * np.array([0.012, 0.02, 0.0]))
    x, y, z = pose[:3, :3].T @ (target - pose[:3, 3])
    focal = FOCAL * CLOSE_UP
    return View(pose, intrinsics(focal, 0.5 - focal * x / z, 0.5 - focal * y / z), close_up=True)
