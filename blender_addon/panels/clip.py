# SPDX-License-Identifier: GPL-3.0-or-later
"""Video: which clip, from where on, how strongly."""

import bpy

from ..operators.track import PORTRAIT_OT_track
from .animate import PORTRAIT_PT_animate
from .common import PortraitPanel, draw_main_action


class PORTRAIT_PT_clip(PortraitPanel, bpy.types.Panel):
    """The portrait does what somebody does in a clip."""

    bl_label = "Video"
    bl_parent_id = PORTRAIT_PT_animate.__name__
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(settings, "clip")
        draw_placing(layout, settings)
        draw_main_action(layout, PORTRAIT_OT_track, icon="TRACKING")


def draw_placing(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw how the motion of a clip goes into the scene."""
    column = layout.column(align=True)
    column.prop(settings, "clip_start")
    column.prop(settings, "clip_frames")
    column = layout.column(align=True)
    column.prop(settings, "clip_strength", slider=True)
    column.prop(settings, "clip_smoothing", slider=True)
    column = layout.column()
    column.prop(settings, "clip_head")
    column.prop(settings, "clip_sound")
