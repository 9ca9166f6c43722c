# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that goes around a head once."""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .. import sentences
from . import curves, find, pose

NAME = "turntable"


def add(
    root: bpy.types.Object,
    scene: bpy.types.Scene,
    frames: int,
    first: int | None = None,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
) -> bpy.types.Object:
    """Make a camera that turns once about the vertical axis through the head's centre, and return it.

    It starts where the scene's camera is, and becomes the scene's camera. The preview range is set to the turn, whose
    last frame is a step before the first again. Matrices must be up to date.

    Args:
        root: the portrait.
        scene: its scene.
        frames: of the turn.
        first: frame of the turn; None: that of the scene.
        yaw_deg: how far to each side, towards the subject's left first; 0: all the way round.
        pitch_deg: how much higher than the scene's camera.

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
    # A negative turn about its own right lifts a camera that looks at the pivot.
    right = source.matrix_world.to_quaternion() @ Vector((1.0, 0.0, 0.0))
    higher = Matrix.Rotation(-math.radians(pitch_deg), 4, right)
    camera.matrix_local = higher @ Matrix.Translation(-pivot.location) @ source.matrix_world
    first = int(scene.frame_start) if first is None else first
    steps = np.arange(frames + 1, dtype=np.float64)
    turn = 2 * math.pi * steps / frames
    angles = np.sin(turn) * math.radians(yaw_deg) if yaw_deg else turn
    curves.set_curve(pivot, "rotation_euler", first + steps, angles, 2)
    pivot.update_tag()
    scene.camera = camera
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = first, first + frames - 1
    return camera
