# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's sliders, poses, gaze, and motion in layers."""

import bpy

from .. import expressions
from ..operators.animate import (
    PORTRAIT_OT_apply_pose,
    PORTRAIT_OT_import_arkit_csv,
    PORTRAIT_OT_key_expression,
    PORTRAIT_OT_look_at,
    PORTRAIT_OT_mirror_expression,
    PORTRAIT_OT_random_motion,
    PORTRAIT_OT_reset_expression,
    PORTRAIT_OT_search_pose,
)
from ..operators.pose_assets import PORTRAIT_OT_add_pose_assets, PORTRAIT_OT_save_pose
from ..scene import find
from ..scene.rig import LOOK_AT
from .common import PortraitPanel


class PORTRAIT_PT_animate(PortraitPanel, bpy.types.Panel):
    """The rig's sliders, poses, gaze, and motion in layers."""

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
        _draw_pose(layout, settings)
        if LOOK_AT in rig:
            row = layout.row(align=True)
            row.operator(PORTRAIT_OT_look_at.bl_idname, icon="TRACKER", depress=rig[LOOK_AT] > 0.5)
            row.prop(rig, f'["{LOOK_AT}"]', text="", slider=True)


class PORTRAIT_PT_expression(PortraitPanel, bpy.types.Panel):
    """The sliders of the face, in groups."""

    bl_label = "Expression"
    bl_parent_id = PORTRAIT_PT_animate.__name__

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        rig = find.part(find.current(context), "RIG")
        assert rig is not None  # else there is no panel above this one
        layout.prop(settings, "search", text="", icon="VIEWZOOM")
        found = expressions.matching(settings.search)
        if not found:
            layout.label(text="No slider has these words")
        for group, names in found.items():
            if settings.search:  # a group that was closed would hide what was found
                body = layout.column()
                body.label(text=group)
            else:
                header, body = layout.panel(f"portrait_{group}", default_closed=group != "Jaw")
                header.label(text=group)
            if body is None:
                continue
            body.use_property_split = True
            column = body.column(align=True)
            for name in names:
                if name in rig:
                    column.prop(rig, f'["{name}"]', text=expressions.label(name), slider=True)


class PORTRAIT_PT_motion(PortraitPanel, bpy.types.Panel):
    """Motion in layers over what is keyed by hand."""

    bl_label = "Motion"
    bl_parent_id = PORTRAIT_PT_animate.__name__
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.operator(PORTRAIT_OT_random_motion.bl_idname, icon="NLA")
        column.operator(PORTRAIT_OT_import_arkit_csv.bl_idname, icon="IMPORT")


def _draw_pose(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw the library of poses: choose or search one, how much of it, and apply it."""
    column = layout.column(align=True)
    row = column.row(align=True)
    row.operator(PORTRAIT_OT_search_pose.bl_idname, text="", icon="VIEWZOOM")
    row.prop(settings, "pose", text="")
    row.prop(settings, "pose_strength", text="", slider=True)
    row = column.row(align=True)
    row.prop(settings, "pose_on_top", toggle=True)
    row.operator(PORTRAIT_OT_mirror_expression.bl_idname, icon="MOD_MIRROR")
    apply = row.operator(PORTRAIT_OT_apply_pose.bl_idname, text="Apply", icon="POSE_HLT")
    apply.pose, apply.strength, apply.add = settings.pose, settings.pose_strength, settings.pose_on_top
    row = column.row(align=True)
    row.operator(PORTRAIT_OT_save_pose.bl_idname, text="Save...", icon="ADD")
    row.operator(PORTRAIT_OT_add_pose_assets.bl_idname, text="To Assets", icon="ASSET_MANAGER")
