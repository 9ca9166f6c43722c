# SPDX-License-Identifier: GPL-3.0-or-later
"""The selected portrait's picture, mesh and frames on disk, and what is made of them."""

import bpy

from .. import bake_state, farm, live, sentences
from ..operators.bake import (
    PORTRAIT_OT_bake,
    PORTRAIT_OT_clear_cache,
    PORTRAIT_OT_make_portable,
    PORTRAIT_OT_render,
    PORTRAIT_OT_turntable,
)
from ..operators.bake_mesh import PORTRAIT_OT_bake_mesh, PORTRAIT_OT_clear_mesh
from ..operators.farm import PORTRAIT_OT_send_to_flamenco
from ..operators.job import PORTRAIT_OT_write_job
from ..operators.picture import (
    PORTRAIT_OT_follow,
    PORTRAIT_OT_live_picture,
    PORTRAIT_OT_look_through_camera,
    PORTRAIT_OT_show,
    PORTRAIT_OT_show_colours,
    PORTRAIT_OT_update_mesh,
    PORTRAIT_OT_update_picture,
    PORTRAIT_OT_use_standard_view,
)
from ..scene import find, lights, portrait
from .common import PortraitPanel, draw_main_action, draw_text


class PORTRAIT_PT_render(PortraitPanel, bpy.types.Panel):
    """What is seen of the selected portrait, how finely, and the film of it."""

    bl_label = "Render"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.current(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, root = self.layout, find.current(context)
        if find.part(root, "SURFACE") is not None and find.part(root, "PLANE") is not None:
            row = layout.row(align=True)
            for what in ("MESH", "PICTURE", "BOTH"):
                pressed = portrait.is_shown(root, what)
                row.operator(PORTRAIT_OT_show.bl_idname, text=what.title(), depress=pressed).what = what
        layout.row().prop(context.scene.portrait, "quality", expand=True)
        if not lights.keeps_colours(context.scene):
            box = layout.box()
            draw_text(box, sentences.view_transform(context.scene.view_settings.view_transform), icon="COLOR")
            box.operator(PORTRAIT_OT_use_standard_view.bl_idname)
        draw_main_action(layout, PORTRAIT_OT_render, icon="RENDER_ANIMATION")


class PORTRAIT_PT_picture(PortraitPanel, bpy.types.Panel):
    """The card with the network's own picture: live, and what it follows."""

    bl_label = "Picture"
    bl_parent_id = PORTRAIT_PT_render.__name__

    def draw(self, context: bpy.types.Context) -> None:
        layout, root = self.layout, find.current(context)
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_live_picture.bl_idname, text="Live", icon="PLAY", depress=live.is_on(root))
        row.operator(PORTRAIT_OT_update_picture.bl_idname, icon="IMAGE_DATA")
        plane = find.part(root, "PLANE")
        if plane is not None:
            row = layout.row(align=True)
            for what in ("CAMERA", "HEAD"):
                text, pressed = f"Follow {what.title()}", plane.portrait.follow == what
                row.operator(PORTRAIT_OT_follow.bl_idname, text=text, depress=pressed).what = what
            layout.row().prop(plane.portrait, "background", expand=True)
            if plane.portrait.background == "COLOUR":
                layout.prop(plane.portrait, "background_colour", text="")
            remark = live.remark(context.scene) if live.is_on(root) else bake_state.remark(root, context.scene)
            if remark:
                draw_text(layout, remark, icon="TIME")
        layout.operator(PORTRAIT_OT_look_through_camera.bl_idname, icon="CAMERA_DATA")


class PORTRAIT_PT_surface(PortraitPanel, bpy.types.Panel):
    """The portrait's surface: anew, or exact for every frame."""

    bl_label = "Mesh"
    bl_parent_id = PORTRAIT_PT_render.__name__
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(context.scene.portrait, "detail")
        layout.operator(PORTRAIT_OT_update_mesh.bl_idname, icon="MESH_DATA")
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_bake_mesh.bl_idname, icon="MESH_MONKEY")
        row.operator(PORTRAIT_OT_clear_mesh.bl_idname, text="", icon="TRASH")
        if context.space_data.shading.type in {"SOLID", "WIREFRAME"}:
            layout.operator(PORTRAIT_OT_show_colours.bl_idname, icon="SHADING_TEXTURE")


class PORTRAIT_PT_frames(PortraitPanel, bpy.types.Panel):
    """The card's frames on disk, which need no engine to be rendered."""

    bl_label = "Frames"
    bl_parent_id = PORTRAIT_PT_render.__name__

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.part(find.current(context), "PLANE") is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, root = self.layout, find.current(context)
        line = bake_state.line(root)
        if line:
            draw_text(layout, line, icon="RENDER_ANIMATION")
        if not bpy.data.filepath:
            draw_text(layout, sentences.UNSAVED, icon="INFO")
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_bake.bl_idname, icon="RENDER_ANIMATION")
        row.operator(PORTRAIT_OT_clear_cache.bl_idname, text="", icon="TRASH")
        layout.operator(PORTRAIT_OT_turntable.bl_idname, icon="FILE_REFRESH")


class PORTRAIT_PT_elsewhere(PortraitPanel, bpy.types.Panel):
    """The scene on other machines: batch jobs, farms, files that bring all they need."""

    bl_label = "Other Machines"
    bl_parent_id = PORTRAIT_PT_render.__name__
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.operator(PORTRAIT_OT_write_job.bl_idname, icon="FILE_SCRIPT")
        column.operator(PORTRAIT_OT_send_to_flamenco.bl_idname, icon="NETWORK_DRIVE")
        if farm.stage():
            draw_text(column, farm.stage(), icon="TIME")
        column.operator(PORTRAIT_OT_make_portable.bl_idname, icon="PACKAGE")
