# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that goes around a head once."""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix

from .. import sentences
from . import curves, find, pose

NAME = "turntable"


def add(root: bpy.types.Object, scene: bpy.types.Scene, frames: int) -> bpy.types.Object:
    """Make a camera that turns once about the vertical axis through the head's centre, and return it.

    It starts where the scene's camera is, at the first frame of the scene, and becomes the scene's camera. The preview
    range is set to the turn, whose last frame is a step before the first again.

    Raises:
        UsageError: if the scene has no camera.
    """
    source = scene.camera or find.part(root, "CAMERA")
    if source is None:
        raise sentences.no_camera()
    collection = root.users_collection[0]
    pivot = bpy.data.objects.new(f"{collection.name} {NAME}", None)
    pivot.empty_display_size = 0.1
    pivot.location = pose.head_space(root).translation
    camera = bpy.data.objects.new(f"{collection.name} {NAME} camera", source.data.copy())
    for ob in (pivot, camera):
        collection.objects.link(ob)
    camera.parent = pivot
    camera.matrix_local = Matrix.Translation(-pivot.location) @ source.matrix_world
    first = scene.frame_start
    ends = np.array([first, first + frames], np.float64)
    curves.set_curve(pivot, "rotation_euler", ends, np.array([0.0, 2 * math.pi]), 2)
    pivot.update_tag()
    scene.camera = camera
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = first, first + frames - 1
    return camera
