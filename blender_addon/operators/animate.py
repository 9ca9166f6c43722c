# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves the rig: keys on its sliders, poses, what its eyes follow, and motion in layers of its own."""

from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper  # pyright: ignore[reportMissingImports]  (the stubs leave it out)
from mathutils import Matrix

from .. import poses, random_motion
from ..neural_core import errors
from ..scene import curves, find, performances, pose_assets, rig
from . import common


class RigOperator:
    """What moves the rig of the selected portrait, at once and as one undo step."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_rig(cls, context)


def _armature(context: bpy.types.Context) -> bpy.types.Object:
    armature = find.part(find.current(context), "RIG")
    assert armature is not None  # see poll
    return armature


class PORTRAIT_OT_key_expression(RigOperator, bpy.types.Operator):
    """Set a key on the expression sliders at this frame"""

    bl_idname = "portrait.key_expression"
    bl_label = "Key Expression"

    changed_only: BoolProperty(
        name="Changed only",
        description="Key only the sliders that differ from their curve at this frame",
        default=False,
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature, frame = _armature(context), context.scene.frame_current
        names = rig.expressions(armature)
        if self.changed_only:
            names = curves.changed(armature, names, frame)
        for name in names:
            curves.key(armature, name, frame)
        armature.update_tag()
        self.report({"INFO"}, f"Keyed {len(names)} of {len(rig.expressions(armature))} sliders at frame {frame}.")
        return {"FINISHED"}


class PORTRAIT_OT_reset_expression(RigOperator, bpy.types.Operator):
    """Set all expression sliders to 0; keys stay, and with auto-keying on the reset is keyed"""

    bl_idname = "portrait.reset_expression"
    bl_label = "Reset"

    bones: BoolProperty(name="Bones too", description="Put all bones back as well", default=False)

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature, names = _armature(context), rig.expressions(_armature(context))
        for name in names:
            armature[name] = 0.0
        moved = [bone for bone in armature.pose.bones if self.bones and bone.matrix_basis != Matrix()]
        for bone in moved:
            bone.matrix_basis = Matrix()
        curves.key_if_wanted(context.scene, armature, names, [bone.name for bone in moved])
        return {"FINISHED"}


class PORTRAIT_OT_apply_pose(RigOperator, bpy.types.Operator):
    """Set the sliders to a pose of the library; with auto-keying on, what changes is keyed"""

    bl_idname = "portrait.apply_pose"
    bl_label = "Apply Pose"

    pose: EnumProperty(name="Pose", items=pose_assets.items, default=poses.NUMBERS["SMILE"])
    strength: FloatProperty(
        name="Strength", description="0 changes nothing, 1 is the pose", default=1.0, min=0.0, max=2.0, soft_max=1.0
    )
    add: BoolProperty(name="On top", description="Put the pose on top of what the face shows, not in its place")

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = _armature(context)
        shown = {name: armature[name] for name in rig.expressions(armature)}
        try:
            new = pose_assets.find(self.pose).applied(shown, self.strength, self.add)
        except errors.PortraitError as error:
            return common.refused(self, error)
        for name, value in new.items():
            armature[name] = value
        curves.key_if_wanted(context.scene, armature, list(new), [])
        return {"FINISHED"}


class PORTRAIT_OT_search_pose(RigOperator, bpy.types.Operator):
    """Type a few letters of a pose's name to apply it"""

    bl_idname = "portrait.search_pose"
    bl_label = "Search Pose"
    bl_property = "pose"

    pose: EnumProperty(name="Pose", items=pose_assets.items)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.invoke_search_popup(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.portrait
        settings.pose = self.pose
        return bpy.ops.portrait.apply_pose(pose=self.pose, strength=settings.pose_strength, add=settings.pose_on_top)


class PORTRAIT_OT_mirror_expression(RigOperator, bpy.types.Operator):
    """Let the left side of the face do what the right side does and the other way round, sliders and bones"""

    bl_idname = "portrait.mirror_expression"
    bl_label = "Mirror"

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = _armature(context)
        curves.key_if_wanted(context.scene, armature, *rig.mirror(armature))
        return {"FINISHED"}


class PORTRAIT_OT_random_motion(RigOperator, bpy.types.Operator):
    """Blinks, glances, a head that is never quite still: a new layer over the scene's frames, beside your own keys"""

    bl_idname = "portrait.random_motion"
    bl_label = "Random Motion"

    seed: IntProperty(name="Seed", description="The same seed always gives the same motion", default=0, min=0)
    blinks: FloatProperty(name="Blinks", description="1: about 17 a minute", default=1.0, min=0.0, max=4.0)
    gaze: FloatProperty(name="Gaze", description="How far the eyes wander", default=1.0, min=0.0, max=3.0)
    head: FloatProperty(name="Head", description="How far the head turns", default=1.0, min=0.0, max=5.0)
    micro: FloatProperty(name="Expressions", description="Strength of fleeting ones", default=1.0, min=0.0, max=4.0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, armature = context.scene, _armature(context)
        first, last = scene.frame_start, scene.frame_end
        if scene.use_preview_range:
            first, last = scene.frame_preview_start, scene.frame_preview_end
        frames = np.arange(first, last + 1)
        amounts = random_motion.Amounts(self.blinks, self.gaze, self.head, self.micro)
        performances.add_random(armature, scene, frames, self.seed, amounts)
        scene.frame_set(scene.frame_current)
        return {"FINISHED"}


class PORTRAIT_OT_import_arkit_csv(RigOperator, ImportHelper, bpy.types.Operator):
    """Put a recording of Live Link Face (CSV) on the rig: a new layer from this frame on, beside your own keys"""

    bl_idname = "portrait.import_arkit_csv"
    bl_label = "Import Face Recording"

    filename_ext = ".csv"
    filter_glob: StringProperty(default="*.csv", options={"HIDDEN"})
    fps: FloatProperty(
        name="Recorded at",
        description="Frames a second that the recording's times count in; 0: find out",
        default=0.0,
        min=0.0,
    )
    head: EnumProperty(
        name="Head",
        description="What the head's angles are written in",
        items=[
            ("NONE", "Leave out", "Only the face moves"),
            ("HALF_TURNS", "Half turns", "1 is 180 degrees, as Unreal has it"),
            ("RADIANS", "Radians", ""),
            ("DEGREES", "Degrees", ""),
        ],
        default="HALF_TURNS",
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, armature, path = context.scene, _armature(context), Path(self.filepath)
        try:
            recording, frames = performances.add_recording(
                armature, scene, path, scene.frame_current, self.fps or None, self.head
            )
        except errors.PortraitError as error:
            return common.refused(self, error)
        scene.frame_set(scene.frame_current)
        self.report({"INFO"}, f"Frames {frames[0]} to {frames[-1]}, recorded at {recording.fps:g} frames a second.")
        return {"FINISHED"}


class PORTRAIT_OT_look_at(RigOperator, bpy.types.Operator):
    """Let the eyes follow the bone "look_at", or let go of it, without a jump; with auto-keying on this is keyed"""

    bl_idname = "portrait.look_at"
    bl_label = "Look At"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not common.has_rig(cls, context):
            return False
        if rig.LOOK_AT not in _armature(context):
            cls.poll_message_set("This rig has no eyes, or it was made before they could follow anything")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = _armature(context)
        context.view_layer.update()
        rig.set_look_at(armature, follow=armature[rig.LOOK_AT] < 0.5)
        curves.key_if_wanted(context.scene, armature, [rig.LOOK_AT], [*rig.TARGETS, rig.LOOK_AT, *rig.TARGETS.values()])
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_OT_key_expression,
    PORTRAIT_OT_reset_expression,
    PORTRAIT_OT_apply_pose,
    PORTRAIT_OT_search_pose,
    PORTRAIT_OT_mirror_expression,
    PORTRAIT_OT_random_motion,
    PORTRAIT_OT_import_arkit_csv,
    PORTRAIT_OT_look_at,
)
