# SPDX-License-Identifier: GPL-3.0-or-later
"""Picture and surface of a portrait that is in the scene: draw again, extract again, show."""

import bpy
from bpy.props import EnumProperty

from .. import card, live, sentences, session, tasks
from ..neural_core import errors
from ..scene import baked, find, lights, portrait, pose, unfinished
from . import common


class PORTRAIT_OT_update_picture(bpy.types.Operator):
    """Let the network draw the portrait as it is now, and show the picture on the portrait's card"""

    bl_idname = "portrait.update_picture"
    bl_label = "Draw Picture"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_change(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.view_layer.update()
        try:
            card.draw(find.current(context), context.scene)
        except errors.PortraitError as error:
            return common.refused(self, error)
        return common.finished(self)


class PORTRAIT_OT_follow(bpy.types.Operator):
    """Let the card show what the scene's camera sees of the head, or always what the portrait's own camera sees"""

    bl_idname = "portrait.follow"
    bl_label = "Follow"

    what: EnumProperty(
        items=[
            ("CAMERA", "Camera", "As the scene's camera sees the head: crop, place and size of the card follow it"),
            ("HEAD", "Head", "As the portrait's own camera sees the head: the card stays where it is"),
        ],
        default="CAMERA",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.has_plane(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        find.part(find.current(context), "PLANE").portrait.follow = self.what
        if live.is_on(find.current(context)):
            return {"FINISHED"}
        return bpy.ops.portrait.update_picture()


class PORTRAIT_OT_live_picture(bpy.types.Operator):
    """Draw the picture anew whenever sliders, bones, the frame or the camera change; switch that off again"""

    bl_idname = "portrait.live_picture"
    bl_label = "Live Picture"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_change(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root = find.current(context)
        if live.is_on(root):
            live.switch_off()
            return {"FINISHED"}
        if context.scene.camera is None:
            return common.refused(self, sentences.no_camera())
        live.switch_on(root)
        return {"FINISHED"}


class PORTRAIT_OT_update_mesh(bpy.types.Operator):
    """Extract the surface of the portrait as it is now with the mesh detail above, and bind it to the rig"""

    bl_idname = "portrait.update_mesh"
    bl_label = "Update Mesh"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_add(cls, context) and common.engine_is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root = find.current(context)
        try:
            kept = session.kept(root)
        except errors.PortraitError as error:
            return common.refused(self, error)

        def apply(surface: tasks.Surface) -> unfinished.Pieces[None]:
            yield from portrait.replacing_surface(card.target(kept.identifier), surface)

        context.view_layer.update()
        task = tasks.surface(kept, context.scene.portrait.detail, pose.controls(root))
        session.start("Update Mesh", task, apply)
        return common.finished(self)


class PORTRAIT_OT_show(bpy.types.Operator):
    """Show the surface, the network's picture, or both side by side"""

    bl_idname = "portrait.show"
    bl_label = "Show"
    bl_options = {"REGISTER", "UNDO"}

    what: EnumProperty(
        items=[
            ("MESH", "Mesh", "Only the head in three dimensions"),
            ("PICTURE", "Picture", "Only the network's picture, before its camera at the head's depth"),
            ("BOTH", "Both", "The head, and the picture beside it"),
        ],
        default="BOTH",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return common.may_change(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        root = find.current(context)
        baked.show_live(root)
        portrait.show(root, self.what)
        return {"FINISHED"}


class PORTRAIT_OT_look_through_camera(bpy.types.Operator):
    """Make the portrait's own camera the scene's camera and look through it"""

    bl_idname = "portrait.look_through_camera"
    bl_label = "Look through Its Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if find.part(find.current(context), "CAMERA") is None:
            cls.poll_message_set("No portrait with a camera is selected")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.camera = find.part(find.current(context), "CAMERA")
        if context.space_data is not None and context.space_data.type == "VIEW_3D":
            context.space_data.region_3d.view_perspective = "CAMERA"
        return {"FINISHED"}


class PORTRAIT_OT_use_standard_view(bpy.types.Operator):
    """Show colours as the network made them (view transform Standard)"""

    bl_idname = "portrait.use_standard_view"
    bl_label = "Use Standard"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        lights.use_standard_view(context.scene)
        return {"FINISHED"}


class PORTRAIT_OT_show_colours(bpy.types.Operator):
    """Switch this view to Material Preview, which shows the portrait's colours"""

    bl_idname = "portrait.show_colours"
    bl_label = "Show Colours"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.space_data is not None and context.space_data.type == "VIEW_3D"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.space_data.shading.type = "MATERIAL"
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_OT_update_picture,
    PORTRAIT_OT_follow,
    PORTRAIT_OT_live_picture,
    PORTRAIT_OT_update_mesh,
    PORTRAIT_OT_show,
    PORTRAIT_OT_look_through_camera,
    PORTRAIT_OT_use_standard_view,
    PORTRAIT_OT_show_colours,
)
