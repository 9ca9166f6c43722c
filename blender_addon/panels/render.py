# SPDX-License-Identifier: GPL-3.0-or-later
"""Picture, mesh and camera of the selected portrait, and its frames on disk."""

import bpy

from .. import bake_state, live, sentences
from ..operators.bake import (
    PORTRAIT_OT_bake,
    PORTRAIT_OT_clear_cache,
    PORTRAIT_OT_make_portable,
    PORTRAIT_OT_render,
    PORTRAIT_OT_turntable,
)
from ..operators.bake_mesh import PORTRAIT_OT_bake_mesh, PORTRAIT_OT_clear_mesh
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
from ..scene import find, lights
from .common import PortraitPanel, draw_text


class PORTRAIT_PT_show(PortraitPanel, bpy.types.Panel):
    """Picture, mesh and camera of the selected portrait."""

    bl_label = "Picture and Mesh"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.current(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, root = self.layout, find.current(context)
        layout.use_property_split = True
        if find.part(root, "SURFACE") is not None and find.part(root, "PLANE") is not None:
            row = layout.row(align=True)
            for what in ("MESH", "PICTURE", "BOTH"):
                row.operator(PORTRAIT_OT_show.bl_idname, text=what.title()).what = what
        layout.operator(PORTRAIT_OT_look_through_camera.bl_idname, icon="CAMERA_DATA")
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_update_picture.bl_idname, icon="IMAGE_DATA")
        row.operator(PORTRAIT_OT_live_picture.bl_idname, text="Live", icon="PLAY", depress=live.is_on(root))
        layout.prop(context.scene.portrait, "quality", expand=True)
        _draw_card(layout, context, root)
        layout.operator(PORTRAIT_OT_update_mesh.bl_idname, icon="MESH_DATA")
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_bake_mesh.bl_idname, icon="MESH_MONKEY")
        row.operator(PORTRAIT_OT_clear_mesh.bl_idname, text="", icon="TRASH")
        if context.space_data.shading.type in {"SOLID", "WIREFRAME"}:
            layout.operator(PORTRAIT_OT_show_colours.bl_idname, icon="SHADING_TEXTURE")
        if not lights.keeps_colours(context.scene):
            box = layout.box()
            draw_text(box, sentences.view_transform(context.scene.view_settings.view_transform), icon="COLOR")
            box.operator(PORTRAIT_OT_use_standard_view.bl_idname)
        _draw_identity(layout, find.identity_of(root))


def _draw_card(layout: bpy.types.UILayout, context: bpy.types.Context, root: bpy.types.Object) -> None:
    """What the card shows and follows, and its frames on disk."""
    plane = find.part(root, "PLANE")
    if plane is None:
        return
    row = layout.row(align=True)
    for what in ("CAMERA", "HEAD"):
        button = row.operator(
            PORTRAIT_OT_follow.bl_idname, text=f"Follow {what.title()}", depress=plane.portrait.follow == what
        )
        button.what = what
    remark = live.remark(context.scene) if live.is_on(root) else bake_state.remark(root, context.scene)
    if remark:
        draw_text(layout, remark, icon="TIME")
    if bake_state.line(root):
        draw_text(layout, bake_state.line(root), icon="RENDER_ANIMATION")
    if not bpy.data.filepath:
        draw_text(layout, sentences.UNSAVED, icon="INFO")
    row = layout.row(align=True)
    row.operator(PORTRAIT_OT_bake.bl_idname, icon="RENDER_ANIMATION")
    row.operator(PORTRAIT_OT_clear_cache.bl_idname, text="", icon="TRASH")
    layout.operator(PORTRAIT_OT_render.bl_idname, icon="RENDER_ANIMATION")
    layout.operator(PORTRAIT_OT_turntable.bl_idname, icon="FILE_REFRESH")
    layout.operator(PORTRAIT_OT_make_portable.bl_idname, icon="PACKAGE")
    layout.operator(PORTRAIT_OT_write_job.bl_idname, icon="FILE_SCRIPT")


def _draw_identity(layout: bpy.types.UILayout, identity: bpy.types.PropertyGroup) -> None:
    column = layout.column(align=True)
    seeds = f"Seed {identity.seed}" + (f" with {identity.mix:.0%} of {identity.mix_seed}" if identity.mix else "")
    who = identity.photo or f"{seeds}, truncation {identity.truncation:.2f}"
    column.label(text=f"{who}, {identity.model}")
    if identity.style:
        draw_text(column, f'Style: "{identity.style}"')
    column.label(text=f"Licence: {identity.licence}")
    if identity.use == "non-commercial":
        draw_text(column, sentences.NON_COMMERCIAL, icon="INFO")
