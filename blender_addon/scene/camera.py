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
_CV_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y down, z forward -> x right, y up, z backward


def split_label(label: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return cam2world [4, 4] and intrinsics [3, 3] of a label."""
    numbers = np.asarray(label, np.float64)
    return numbers[:16].reshape(4, 4), numbers[16:].reshape(3, 3)


def join_label(cam2world: np.ndarray, intrinsics: np.ndarray) -> tuple[float, ...]:
    """Return the label of a camera."""
    return tuple(float(number) for number in (*cam2world.ravel(), *intrinsics.ravel()))


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
    intrinsics = np.array([[focal, 0.0, centre_x], [0.0, focal, centre_y], [0.0, 0.0, 1.0]])
    # A scaled camera object still looks without scale.
    location, rotation, _ = (space.inverted() @ camera.matrix_world).decompose()
    in_space = Matrix.LocRotScale(location, rotation, None)
    return join_label(np.array(in_space) @ _CV_TO_BLENDER, intrinsics)
