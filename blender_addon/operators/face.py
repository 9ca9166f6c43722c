# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs of the user's own FLAME and SMPL files."""

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty

from .. import model_list, poses, preferences, session, tasks
from ..scene import curves, face_rig
from . import common

_DIALOG_WIDTH = 420
# Blender wants the strings of a menu kept for as long as it is shown.
_items: list[tuple[str, str, str]] = []


def _installed() -> dict[str, model_list.FaceFile]:
    return model_list.faces(preferences.worker_settings().models_folder)


def _faces(_self: object, _context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    """Return the face models that can be used, as Blender's menus want them, with kind and licence."""
    usable = [face for face in _installed().values() if not face.problem]
    _items[:] = [(face.name, f"{face.name} ({face.kind})", face.licence) for face in usable]
    return _items


def _armature(context: bpy.types.Context) -> bpy.types.Object | None:
    return face_rig.of(context.view_layer.objects.active)


class PORTRAIT_OT_add_face_rig(bpy.types.Operator):
    """Build the rig of an imported FLAME or SMPL: shapes, expressions and pose correctives as shape keys, with bones"""

    bl_idname = "portrait.add_face_rig"
    bl_label = "Add Face Rig"

    face: EnumProperty(name="Face model", description="Which of the imported ones", items=_faces)
    shapes: IntProperty(
        name="Shapes", description="Sliders of the person's shape, the most important first", default=10, min=0, max=300
    )
    expressions: IntProperty(
        name="Expressions", description="Sliders of the expression (FLAME)", default=50, min=0, max=100
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not _faces(cls, None):
            cls.poll_message_set("No FLAME or SMPL is imported: System > Models > Import FLAME or SMPL")
            return False
        return common.engine_is_free(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_WIDTH)

    def draw(self, _context: bpy.types.Context) -> None:
        layout, chosen = self.layout, _installed()[self.face]
        layout.use_property_split = True
        layout.prop(self, "face")
        layout.label(text=chosen.licence, icon="INFO")
        layout.prop(self, "shapes")
        if chosen.kind == "FLAME":  # the other has no expressions
            layout.prop(self, "expressions")

    def execute(self, _context: bpy.types.Context) -> set[str]:
        def apply(face: tasks.FaceRig) -> None:
            face_rig.build(bpy.context.scene, face)

        session.start("Add Face Rig", tasks.face_rig(self.face, self.shapes, self.expressions), apply)
        return common.finished(self)


class PORTRAIT_OT_face_shape(bpy.types.Operator):
    """Set the shape sliders of a face model to somebody else's, or to the mean person's; the joints follow"""

    bl_idname = "portrait.face_shape"
    bl_label = "Shape"
    bl_options = {"REGISTER", "UNDO"}

    what: EnumProperty(name="Shape", items=[("RANDOM", "Random", "Somebody else"), ("MEAN", "Mean", "The mean person")])
    seed: IntProperty(name="Seed", description="Which person", default=0, min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if _armature(context) is None:
            cls.poll_message_set("No rig of a face model is selected")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = _armature(context)
        assert armature is not None  # see poll
        count = len(face_rig.sliders(armature, "shape"))
        somebody = np.random.default_rng(self.seed).normal(size=count)
        face_rig.set_shape(armature, somebody if self.what == "RANDOM" else np.zeros(count))
        return {"FINISHED"}


class PORTRAIT_OT_face_pose(bpy.types.Operator):
    """Set expression, jaw and eyes of a face model to a pose of the library; with auto-keying on they are keyed"""

    bl_idname = "portrait.face_pose"
    bl_label = "Apply Pose"
    bl_options = {"REGISTER", "UNDO"}

    pose: EnumProperty(name="Pose", items=poses.ITEMS, default="SMILE")
    strength: FloatProperty(
        name="Strength", description="0 changes nothing, 1 is the pose", default=1.0, min=0.0, max=1.0
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        armature = _armature(context)
        if armature is None or not face_rig.knows_actions(armature):
            cls.poll_message_set("No rig of a face model that knows facial actions is selected")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = _armature(context)
        assert armature is not None  # see poll
        moved = face_rig.apply_pose(armature, poses.LIBRARY[self.pose], self.strength)
        curves.key_if_wanted(context.scene, armature, *moved)
        return {"FINISHED"}


CLASSES = (PORTRAIT_OT_add_face_rig, PORTRAIT_OT_face_shape, PORTRAIT_OT_face_pose)
