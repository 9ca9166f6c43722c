# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera labels (25 numbers, OpenCV axes, head space) <-> Blender's cameras. The only place that knows both.

A label holds cam2world row by row, then intrinsics normalised by the side of a square picture.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..neural_core import errors

SENSOR_MM = 36.0
HEAD_SIDE_M = 0.275
"""Side of the cube about head space's origin that holds a head with its hair."""
CROP_MARGIN = 1.15
"""How much larger a crop is than what it must show: hair stands out. 0.275 m then become the 0.316 m that the creation
camera of all our systems sees at the head's centre (1.35 m away, focal length 4.2647)."""
NEAR_M = 0.02
"""A cube that comes nearer to the camera than so many metres is not before it."""
_CV_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y down, z forward -> x right, y up, z backward


def split_label(label: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return cam2world [4, 4] and intrinsics [3, 3] of a label."""
    numbers = np.asarray(label, np.float64)
    return numbers[:16].reshape(4, 4), numbers[16:].reshape(3, 3)


def join_label(cam2world: np.ndarray, intrinsics: np.ndarray) -> tuple[float, ...]:
    """Return the label of a camera."""
    return tuple(float(number) for number in (*cam2world.ravel(), *intrinsics.ravel()))


def with_intrinsics(label: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    """Return the label of a camera that stands as `label` says, with the intrinsics of `other`."""
    return (*label[:16], *other[16:])


def local_matrix(label: tuple[float, ...]) -> Matrix:
    """Return the matrix of a Blender camera under a portrait's root."""
    cam2world, _ = split_label(label)
    return Matrix((cam2world @ _CV_TO_BLENDER).tolist())


def write(camera: bpy.types.Object, label: tuple[float, ...]) -> None:
    """Set a camera that is a child of a portrait's root to a label.

    The sensor is fitted to the height, so that a wide frame shows the network's square in its middle.
    """
    _, intrinsics = split_label(label)
    data = camera.data
    data.type = "PERSP"
    data.sensor_fit = "VERTICAL"
    data.sensor_width = data.sensor_height = SENSOR_MM
    data.lens = float(intrinsics[1, 1]) * SENSOR_MM
    data.shift_x = 0.5 - float(intrinsics[0, 2])
    data.shift_y = float(intrinsics[1, 2]) - 0.5
    data.clip_start = 0.01  # metres; a head is 0.3 m wide
    camera.matrix_local = local_matrix(label)


def read_own(camera: bpy.types.Object, space: Matrix) -> tuple[float, ...]:
    """Return the label, in the space with the matrix `space`, of a camera as `write` sets it: the square of its sensor.

    Unlike what `read` returns, it does not depend on the shape of the scene's frame.
    """
    data = camera.data
    focal = data.lens / data.sensor_height
    centre_x, centre_y = 0.5 - data.shift_x, 0.5 + data.shift_y
    return join_label(_seen_from(camera, space), _intrinsics(focal, centre_x, centre_y))


def crop(label: tuple[float, ...]) -> tuple[float, ...]:
    """Return the label of the part of a picture that shows the head: a square about the projection of its cube.

    The label is in head space. The crop may reach beyond the picture that it is taken from.

    Raises:
        UsageError: if the head is behind the camera, or the camera inside the head.
    """
    cam2world, intrinsics = split_label(label)
    half = HEAD_SIDE_M / 2
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-half, half)])
    in_camera = (corners - cam2world[:3, 3]) @ cam2world[:3, :3]
    if in_camera[:, 2].min() < NEAR_M:
        raise errors.UsageError(
            "The camera does not see the head: it is behind the camera, or too near.", "Move the camera away."
        )
    seen = in_camera @ intrinsics.T
    seen = seen[:, :2] / seen[:, 2:]
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = (high - low).max() * CROP_MARGIN
    centre_x, centre_y = (intrinsics[:2, 2] - (low + high) / 2) / side + 0.5
    return join_label(cam2world, _intrinsics(intrinsics[0, 0] / side, centre_x, centre_y))


def read(camera: bpy.types.Object, space: Matrix, scene: bpy.types.Scene) -> tuple[float, ...]:
    """Return the label, in the space with the matrix `space`, of the square in the middle of the camera's frame.

    The square's side is the shorter side of the frame. Matrices must be up to date (`view_layer.update()`).

    Raises:
        UsageError: if the camera is no perspective camera.
    """
    data, render = camera.data, scene.render
    if data.type != "PERSP":
        raise errors.UsageError(
            f'The camera "{camera.name}" is not a perspective camera.', "Set its type to Perspective in the camera tab."
        )
    width = render.resolution_x * render.pixel_aspect_x
    height = render.resolution_y * render.pixel_aspect_y
    fitted = {"HORIZONTAL": width, "VERTICAL": height, "AUTO": max(width, height)}[data.sensor_fit]
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    side = min(width, height)
    focal = data.lens / sensor * fitted / side
    centre_x = 0.5 - data.shift_x * fitted / side
    centre_y = 0.5 + data.shift_y * fitted / side
    return join_label(_seen_from(camera, space), _intrinsics(focal, centre_x, centre_y))


def _seen_from(camera: bpy.types.Object, space: Matrix) -> np.ndarray:
    """Return cam2world [4, 4] of a camera in a space; a scaled camera object still looks without scale.

    Raises:
        UsageError: if the space is mirrored, or it or the camera is scaled to nothing.
    """
    if space.determinant() <= 0.0:
        raise errors.UsageError(
            "The portrait is mirrored or scaled to nothing: no picture shows that.", "Give it a scale above 0."
        )
    if camera.matrix_world.determinant() == 0.0:
        raise errors.UsageError(f'The camera "{camera.name}" is scaled to nothing.', "Give it a scale above 0.")
    location, rotation, _ = (space.inverted() @ camera.matrix_world).decompose()
    return np.array(Matrix.LocRotScale(location, rotation, None)) @ _CV_TO_BLENDER


def _intrinsics(focal: float, centre_x: float, centre_y: float) -> np.ndarray:
    return np.array([[focal, 0.0, centre_x], [0.0, focal, centre_y], [0.0, 0.0, 1.0]])
