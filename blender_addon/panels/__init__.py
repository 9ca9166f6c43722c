# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab "Portrait", a module for each part of it. Every button that is shown works."""

import bpy

from .animate import PORTRAIT_PT_animate, PORTRAIT_PT_expression, PORTRAIT_PT_motion
from .clip import PORTRAIT_PT_clip
from .create import PORTRAIT_PT_create, PORTRAIT_PT_make, PORTRAIT_PT_style
from .face import PORTRAIT_PT_face
from .models import PORTRAIT_PT_models
from .person import PORTRAIT_PT_person
from .render import (
    PORTRAIT_PT_elsewhere,
    PORTRAIT_PT_frames,
    PORTRAIT_PT_picture,
    PORTRAIT_PT_render,
    PORTRAIT_PT_surface,
)
from .speak import PORTRAIT_PT_speak
from .status import PORTRAIT_PT_status
from .system import PORTRAIT_PT_system

CLASSES = (
    PORTRAIT_PT_status,
    PORTRAIT_PT_create,
    PORTRAIT_PT_make,
    PORTRAIT_PT_style,
    PORTRAIT_PT_face,
    PORTRAIT_PT_person,
    PORTRAIT_PT_animate,
    PORTRAIT_PT_expression,
    PORTRAIT_PT_motion,
    PORTRAIT_PT_speak,
    PORTRAIT_PT_clip,
    PORTRAIT_PT_render,
    PORTRAIT_PT_picture,
    PORTRAIT_PT_surface,
    PORTRAIT_PT_frames,
    PORTRAIT_PT_elsewhere,
    PORTRAIT_PT_system,
    PORTRAIT_PT_models,
)
"""In the order in which they are drawn; a panel comes after the one that it is part of."""


def register() -> None:
    """Make this part known to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Take it back."""
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
