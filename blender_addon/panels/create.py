# SPDX-License-Identifier: GPL-3.0-or-later
"""A person from a seed, a photo or a clip, and another style of one."""

import bpy

from .. import model_list, preferences
from ..operators import variations
from ..operators.create import PORTRAIT_OT_create, PORTRAIT_OT_random_seed, PORTRAIT_OT_stylise
from ..operators.variations import PORTRAIT_OT_use_seed, PORTRAIT_OT_variations
from ..scene import find
from .clip import draw_placing
from .common import PortraitPanel, draw_main_action, draw_text

_THUMBNAIL_SCALE = 4.5
"""Size of a face, in heights of a button."""


class PORTRAIT_PT_create(PortraitPanel, bpy.types.Panel):
    """A person from a seed, a photo or a clip."""

    bl_label = "Create"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return bool(preferences.worker_settings().python)  # else setting up is the only thing shown

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.row().prop(settings, "source", expand=True)
        layout.prop(settings, "model")
        _draw_model_line(layout, settings.model)
        if settings.source in {"PHOTO", "VIDEO"}:
            layout.prop(settings, "photo" if settings.source == "PHOTO" else "clip")
            column = layout.column(align=True)
            column.prop(settings, "latent_iterations")
            column.prop(settings, "weight_iterations")
            if settings.source == "VIDEO":
                _draw_clip(layout, settings)
        else:
            row = layout.row(align=True)
            row.prop(settings, "seed")
            row.operator(PORTRAIT_OT_random_seed.bl_idname, text="", icon="FILE_REFRESH")
            layout.prop(settings, "truncation", slider=True)
            column = layout.column(align=True)
            column.prop(settings, "mix_seed")
            column.prop(settings, "mix", slider=True)
            _draw_variations(layout)
        draw_main_action(layout, PORTRAIT_OT_create, icon="USER")


class PORTRAIT_PT_make(PortraitPanel, bpy.types.Panel):
    """What Create brings into the scene, and how finely."""

    bl_label = "Make"
    bl_parent_id = PORTRAIT_PT_create.__name__
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        layout.use_property_split, layout.use_property_decorate = True, False
        column = layout.column()
        column.prop(settings, "make_rig")
        column.prop(settings, "make_plane")
        column.prop(settings, "make_mesh")
        sizes = layout.column(align=True)
        row = sizes.row()
        row.enabled = settings.make_plane
        row.prop(settings, "size")
        row = sizes.row()
        row.enabled = settings.make_mesh
        row.prop(settings, "detail")


class PORTRAIT_PT_style(PortraitPanel, bpy.types.Panel):
    """Another style of the selected portrait."""

    bl_label = "Style"
    bl_parent_id = PORTRAIT_PT_create.__name__
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.current(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.prop(context.scene.portrait, "style", text="")
        layout.operator(PORTRAIT_OT_stylise.bl_idname, icon="BRUSH_DATA")


def _draw_clip(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw whether the new person also does what is done in the clip, and how."""
    layout.prop(settings, "clip_animate")
    if settings.clip_animate:
        draw_placing(layout, settings)
    else:
        layout.prop(settings, "clip_frames")


def _draw_variations(layout: bpy.types.UILayout) -> None:
    """Draw the faces of other seeds; pressing one takes its seed."""
    layout.operator(PORTRAIT_OT_variations.bl_idname, icon="COMMUNITY")
    shown = variations.shown()
    if not shown:
        return
    grid = layout.grid_flow(row_major=True, columns=3, even_columns=True, even_rows=True, align=True)
    for seed, icon in shown:
        cell = grid.column(align=True)
        cell.template_icon(icon_value=icon, scale=_THUMBNAIL_SCALE)
        cell.operator(PORTRAIT_OT_use_seed.bl_idname, text=str(seed)).seed = seed


def _draw_model_line(layout: bpy.types.UILayout, name: str) -> None:
    """Say what the chosen model is, before anything is loaded."""
    model = model_list.models(preferences.worker_settings().models_folder).get(name)
    if model is None:
        draw_text(layout, f'There is no model "{name}" in the add-on or your model folder.', icon="ERROR")
    elif model.problem:
        draw_text(layout, model.problem, icon="ERROR")
    else:
        details = ", ".join(part for part in (model.licence, model.use, f"{model.size_mb:.0f} MB") if part)
        layout.label(text=details, icon="INFO")
