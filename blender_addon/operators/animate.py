# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves the rig: keys on its sliders, and what its eyes follow."""

import bpy
from bpy.props import BoolProperty

from ..scene import curves, find, rig
from . import common


class PORTRAIT_OT_key_expression(bpy.types.Operator):
    """Set a key on the expression sliders at this frame"""

    bl_idname = "portrait.key_expression"
    bl_label = "Key Expression"
    bl_options = {"REGISTER", "UNDO"}

    changed_only: BoolProperty(
        name="Changed only",
        description="Key only the sliders that differ from their curve at this frame",
        default=False,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_rig(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = find.part(find.current(context), "RIG")
        frame = context.scene.frame_current
        names = rig.expressions(armature)
        if self.changed_only:
            names = curves.changed(armature, names, frame)
        for name in names:
            curves.key(armature, name, frame)
        armature.update_tag()
        self.report({"INFO"}, f"Keyed {len(names)} of {len(rig.expressions(armature))} sliders at frame {frame}.")
        return {"FINISHED"}


class PORTRAIT_OT_reset_expression(bpy.types.Operator):
    """Set all expression sliders to 0; keys stay, and with auto-keying on the reset is keyed"""

    bl_idname = "portrait.reset_expression"
    bl_label = "Reset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_rig(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = find.part(find.current(context), "RIG")
        for name in rig.expressions(armature):
            armature[name] = 0.0
            if context.scene.tool_settings.use_keyframe_insert_auto:
                curves.key(armature, name, context.scene.frame_current)
        armature.update_tag()
        return {"FINISHED"}


class PORTRAIT_OT_look_at(bpy.types.Operator):
    """Let the eyes follow the bone "look_at", or let go of it, without a jump; with auto-keying on this is keyed"""

    bl_idname = "portrait.look_at"
    bl_label = "Look At"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not common.has_rig(cls, context):
            return False
        if rig.LOOK_AT not in find.part(find.current(context), "RIG"):
            cls.poll_message_set("This rig has no eyes, or it was made before they could follow anything")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = find.part(find.current(context), "RIG")
        context.view_layer.update()
        rig.set_look_at(armature, follow=armature[rig.LOOK_AT] < 0.5)
        if context.scene.tool_settings.use_keyframe_insert_auto:
            frame = context.scene.frame_current
            curves.key(armature, rig.LOOK_AT, frame)
            for bone in (*rig.TARGETS, rig.LOOK_AT, *rig.TARGETS.values()):
                curves.key_bone(armature.pose.bones[bone], frame)
        armature.update_tag()
        return {"FINISHED"}


CLASSES = (PORTRAIT_OT_key_expression, PORTRAIT_OT_reset_expression, PORTRAIT_OT_look_at)
