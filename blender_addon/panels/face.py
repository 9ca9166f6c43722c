# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs of the user's own FLAME and SMPL."""

import bpy

from ..operators.face import PORTRAIT_OT_add_face_rig, PORTRAIT_OT_face_pose, PORTRAIT_OT_face_shape
from ..scene import face_rig
from .common import PortraitPanel, draw_text

SHOWN = 10
"""Sliders of a kind that are drawn; the others are among the rig's custom properties."""


class PORTRAIT_PT_face(PortraitPanel, bpy.types.Panel):
    """Rigs of the user's own FLAME and SMPL."""

    bl_label = "FLAME and SMPL"
    bl_parent_id = "PORTRAIT_PT_create"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator(PORTRAIT_OT_add_face_rig.bl_idname, icon="ARMATURE_DATA")
        armature = face_rig.of(context.view_layer.objects.active)
        if armature is None:
            draw_text(layout, "Select the rig of a FLAME or SMPL to shape and pose it here.", icon="INFO")
            return
        draw_text(layout, armature.data["licence"], icon="INFO")
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_face_shape.bl_idname, text="Random").what = "RANDOM"
        row.operator(PORTRAIT_OT_face_shape.bl_idname, text="Mean").what = "MEAN"
        if face_rig.knows_actions(armature):
            layout.operator_menu_enum(PORTRAIT_OT_face_pose.bl_idname, "pose", icon="POSE_HLT")
        for kind in ("shape", "expression"):
            column = layout.column(align=True)
            for name in face_rig.sliders(armature, kind)[:SHOWN]:
                column.prop(armature, f'["{name}"]', text=f"{kind.title()} {int(name[len(kind) :])}", slider=True)
