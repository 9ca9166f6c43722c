# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech: which recording, from where on, how strongly."""

import bpy

from ..operators.speak import PORTRAIT_OT_speak
from .animate import PORTRAIT_PT_animate
from .common import PortraitPanel, draw_main_action


class PORTRAIT_PT_speak(PortraitPanel, bpy.types.Panel):
    """The portrait says what was recorded."""

    bl_label = "Speech"
    bl_parent_id = PORTRAIT_PT_animate.__name__
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(settings, "speech")
        column = layout.column(align=True)
        column.prop(settings, "speech_start")
        column.prop(settings, "speech_strength", slider=True)
        column.prop(settings, "speech_gestures", slider=True)
        layout.prop(settings, "speech_sound")
        draw_main_action(layout, PORTRAIT_OT_speak, icon="SPEAKER")
