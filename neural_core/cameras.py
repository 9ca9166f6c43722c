# SPDX-License-Identifier: Apache-2.0
"""Cameras: where they stand, what they see, and the 25 numbers that EG3D labels pictures with.

OpenCV axes: x to the right of the picture, y down, z forward. World axes: +X the subject's left, +Y up, +Z out of the
face. Intrinsics are normalised by the picture's size: focal length and centre in image widths (x) and heights (y).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EG3D_FOCAL = 4.2647
"""Focal length of FFHQ's camera labels in image widths (EG3D's data preparation): a field of view of 13.4 degrees."""
EG3D_RADIUS = 2.7
"""Distance of EG3D's cameras from the origin, in units of its model space."""


@dataclass(frozen=True)
class Camera:
    """A batch of pinhole cameras.

    Attributes:
        cam2world: rigid transformation from camera to world coordinates.
        intrinsics: [[fx, skew, cx], [0, fy, cy], [0, 0, 1]], normalised by the picture's size.
    """

    cam2world: Float[Tensor, "b 4 4"]
    intrinsics: Float[Tensor, "b 3 3"]

    def label(self) -> Float[Tensor, "b 25"]:
        """Return EG3D's camera label: cam2world (16 numbers, by rows), then the intrinsics (9, by rows)."""
        return torch.cat([self.cam2world.flatten(1), self.intrinsics.flatten(1)], dim=1)

    @classmethod
    def from_label(cls, label: Float[Tensor, "b 25"]) -> Camera:
        """Return the cameras of some labels."""
        return cls(label[:, :16].reshape(-1, 4, 4), label[:, 16:].reshape(-1, 3, 3))

    def project(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 2"]:
        """Return where points of the world appear: (u, v) in 0..1 from the picture's top left corner.

        Points behind the camera have no meaningful picture.
        """
        rotation, position = self.cam2world[:, :3, :3], self.cam2world[:, None, :3, 3]
        in_picture = (points - position) @ rotation @ self.intrinsics.transpose(1, 2)
        return in_picture[..., :2] / in_picture[..., 2:]

    def scaled(self, scale: float, translation: Sequence[float] = (0.0, 0.0, 0.0)) -> Camera:
        """Return the cameras in a world of x' = scale * x + translation: same pictures, distances times `scale`."""
        cam2world = self.cam2world.clone()
        cam2world[:, :3, 3] = cam2world[:, :3, 3] * scale + cam2world.new_tensor(translation)
        return Camera(cam2world, self.intrinsics)

    def mirrored(self) -> Camera:
        """Return the cameras that see the world, mirrored left to right (x' = -x), as the mirror image of the picture.

        With M = diag(-1, 1, 1) the axes R become M R M, which is a rotation again, and the position M t; in the picture
        u becomes 1 - u, so the centre becomes 1 - cx and the skew changes its sign.
        """
        cam2world, intrinsics = self.cam2world.clone(), self.intrinsics.clone()
        cam2world[:, 0, 1:] *= -1
        cam2world[:, 1:3, 0] *= -1
        intrinsics[:, 0, 1] *= -1
        intrinsics[:, 0, 2] = 1 - intrinsics[:, 0, 2]
        return Camera(cam2world, intrinsics)

    def to(self, target: torch.device | torch.dtype | str) -> Camera:
        """Return the cameras on another device, or in another precision."""
        return Camera(self.cam2world.to(target), self.intrinsics.to(target))

    def __len__(self) -> int:
        return self.cam2world.shape[0]


def look_at(
    position: Float[Tensor, "b 3"], target: Float[Tensor, "b 3"], up: Sequence[float] = (0.0, 1.0, 0.0)
) -> Float[Tensor, "b 4 4"]:
    """Return cam2world of cameras at a position that look at a target, the world's `up` pointing up in the picture.

    Undefined where the view direction is parallel to `up`.
    """
    forward = F.normalize(target - position, dim=1)
    right = F.normalize(torch.linalg.cross(forward, forward.new_tensor(up).expand_as(forward)), dim=1)
    down = torch.linalg.cross(forward, right)
    cam2world = torch.eye(4).to(forward).repeat(len(forward), 1, 1)
    cam2world[:, :3] = torch.stack([right, down, forward, position], dim=2)
    return cam2world


def orbit(
    yaw_deg: float | Float[Tensor, " b"] = 0.0,
    pitch_deg: float | Float[Tensor, " b"] = 0.0,
    radius: float = EG3D_RADIUS,
    target: Sequence[float] = (0.0, 0.0, 0.0),
    focal: float = EG3D_FOCAL,
) -> Camera:
    """Return cameras on a sphere around a target, looking at it.

    Args:
        yaw_deg: 0 is in front of the face (+Z); positive moves the camera towards +X, the subject's left. Degrees.
        pitch_deg: 0 is level with the target; positive moves the camera up. Degrees, within -90..90 exclusive.
        radius: distance from the target, in the world's unit.
        target: centre of the sphere, in the world's unit.
        focal: focal length in image widths.
    """
    yaw = torch.deg2rad(torch.atleast_1d(torch.as_tensor(yaw_deg, dtype=torch.float32)))
    pitch = torch.deg2rad(torch.atleast_1d(torch.as_tensor(pitch_deg, dtype=torch.float32)))
    yaw, pitch = torch.broadcast_tensors(yaw, pitch)
    direction = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], dim=1)
    centre = torch.tensor([target], dtype=torch.float32).expand_as(direction)
    return Camera(look_at(centre + radius * direction, centre), intrinsics_from_focal(focal).repeat(len(yaw), 1, 1))


def intrinsics_from_focal(focal: float) -> Float[Tensor, "1 3 3"]:
    """Return intrinsics of a square picture with its centre in the middle; `focal` in image widths."""
    return torch.tensor([[[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]]])


def focal_from_fov(fov_deg: float) -> float:
    """Return the focal length in image widths of a horizontal field of view in degrees."""
    return 0.5 / math.tan(math.radians(fov_deg) / 2)


def eg3d_focal_from_fov(fov_deg: float) -> float:
    """Return the focal length that EG3D's scripts derive from a field of view, in degrees.

    Note:
        Their field of view is the diagonal one, and they truncate pi to 3.14159 and sqrt(2) to 1.414. Published
        results were made with these numbers (FFHQ's 18.837 degrees become a focal length of 4.2634): they are kept.
    """
    return 1 / (math.tan(fov_deg * 3.14159 / 360) * 1.414)


def eg3d_cam2world(
    yaw: Float[Tensor, " b"], pitch: Float[Tensor, " b"], radius: float, pivot: Sequence[float] = (0.0, 0.0, 0.0)
) -> Float[Tensor, "b 4 4"]:
    """Return cam2world as EG3D's samplers place cameras.

    Args:
        yaw: offset from the frontal view in radians; positive moves the camera towards +X.
        pitch: offset from the level view; positive moves the camera *down*.
        radius: distance from the origin, in model units.
        pivot: what the camera looks at. It orbits the origin whatever the pivot is.

    Note:
        The height is -2 pitch / pi times the radius, not -sin(pitch): EG3D makes uniform offsets uniform on the sphere.
    """
    height = -2 * pitch / math.pi
    around = (1 - height.square()).clamp(min=0).sqrt()
    position = radius * torch.stack([around * yaw.sin(), height, around * yaw.cos()], dim=1)
    return look_at(position, position.new_tensor([pivot]).expand_as(position))
