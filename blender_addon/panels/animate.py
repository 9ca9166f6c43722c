# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's sliders."""

import bpy

from .. import expressions
from ..operators.animate import PORTRAIT_OT_key_expression, PORTRAIT_OT_reset_expression
from ..scene import find
from .common import PortraitPanel


class PORTRAIT_PT_animate(PortraitPanel, bpy.types.Panel):
    """The rig's sliders."""

    bl_label = "Animate"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.part(find.current(context), "RIG") is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        rig = find.part(find.current(context), "RIG")
        assert rig is not None  # see poll
        row = layout.row(align=True)
        row.scale_y = 1.4
        row.operator(PORTRAIT_OT_key_expression.bl_idname, text="Key All", icon="KEY_HLT").changed_only = False
        row.operator(PORTRAIT_OT_key_expression.bl_idname, text="Key Changed").changed_only = True
        row.operator(PORTRAIT_OT_reset_expression.bl_idname, icon="LOOP_BACK")
        layout.prop(settings, "search", text="", icon="VIEWZOOM")
        found = expressions.matching(settings.search)
        if not found:
            layout.label(text="No slider has these words")
        for group, names in found.items():
            header, body = layout.panel(f"portrait_{group}", default_closed=not settings.search and group != "Jaw")
            header.label(text=group)
            if body is None:
                continue
            body.use_property_split = True
            column = body.column(align=True)
            for name in names:
                if name in rig:
                    column.prop(rig, f'["{name}"]', text=expressions.label(name), slider=True)
