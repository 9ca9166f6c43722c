# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons do. Operators read properties and start tasks; what comes back is applied by `scene/`."""

import bpy

from . import (
    animate,
    bake,
    bake_mesh,
    create,
    engine,
    face,
    farm,
    job,
    models,
    person,
    picture,
    pose_assets,
    setup,
    speak,
    track,
    variations,
)

CLASSES = (
    *create.CLASSES,
    *variations.CLASSES,
    *person.CLASSES,
    *picture.CLASSES,
    *bake.CLASSES,
    *bake_mesh.CLASSES,
    *animate.CLASSES,
    *pose_assets.CLASSES,
    *speak.CLASSES,
    *track.CLASSES,
    *engine.CLASSES,
    *face.CLASSES,
    *setup.CLASSES,
    *models.CLASSES,
    *job.CLASSES,
    *farm.CLASSES,
)


def register() -> None:
    """Make this part known to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Take it back."""
    variations.forget()
    bake_mesh.stop_building()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
