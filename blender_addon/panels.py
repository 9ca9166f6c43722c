# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab "Portrait": status, create, animate, picture and mesh, system. Every button that is shown works."""

import textwrap

import bpy

from . import expressions, live, model_list, preferences, sentences, session
from .operators.animate import PORTRAIT_OT_key_expression, PORTRAIT_OT_reset_expression
from .operators.create import PORTRAIT_OT_create, PORTRAIT_OT_random_seed, PORTRAIT_OT_stylise
from .operators.engine import (
    PORTRAIT_OT_cancel,
    PORTRAIT_OT_copy_report,
    PORTRAIT_OT_dismiss,
    PORTRAIT_OT_preferences,
    PORTRAIT_OT_stop_engine,
    PORTRAIT_OT_test_engine,
)
from .operators.picture import (
    PORTRAIT_OT_live_picture,
    PORTRAIT_OT_look_through_camera,
    PORTRAIT_OT_show,
    PORTRAIT_OT_show_colours,
    PORTRAIT_OT_update_mesh,
    PORTRAIT_OT_update_picture,
    PORTRAIT_OT_use_standard_view,
)
from .scene import find, lights

_PREFERENCES_KINDS = {"engine", "model"}
_WRAP_COLUMNS = 44
_PREVIEW_SCALE = 9.0
"""Size of the picture of what is being made, in heights of a button."""


def draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE", width: int = _WRAP_COLUMNS) -> None:
    """Draw a sentence over as many lines as it needs; Blender's labels do not wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.75
    for number, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def draw_status(layout: bpy.types.UILayout) -> None:
    """Draw what the engine is doing, or what it last said."""
    engine = session.engine()
    status = engine.status
    if status.state == "busy":
        row = layout.row(align=True)
        row.progress(factor=status.fraction, text=f"{status.stage} ({status.elapsed_s:.0f} s)")
        row.operator(PORTRAIT_OT_cancel.bl_idname, text="", icon="X")
        icon = session.preview_icon()
        if icon:
            layout.template_icon(icon_value=icon, scale=_PREVIEW_SCALE)
    elif status.state == "error":
        box = layout.box()
        box.alert = True
        draw_text(box, status.message, icon="ERROR")
        if status.hint:
            draw_text(box, status.hint, icon="BLANK1")
        row = box.row(align=True)
        if status.kind in _PREFERENCES_KINDS:
            row.operator(PORTRAIT_OT_preferences.bl_idname, icon="PREFERENCES")
        if status.report:
            row.operator(PORTRAIT_OT_copy_report.bl_idname, icon="COPYDOWN")
        row.operator(PORTRAIT_OT_dismiss.bl_idname, text="", icon="X")
    elif status.state == "notice":
        row = layout.row(align=True)
        draw_text(row, f"{status.message} {status.hint}".strip(), icon="INFO")
        row.operator(PORTRAIT_OT_dismiss.bl_idname, text="", icon="X", emboss=False)


class _PortraitPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Portrait"


class PORTRAIT_PT_status(_PortraitPanel, bpy.types.Panel):
    """First in the tab, so that messages are seen."""

    bl_label = "Neural Portrait"

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        draw_status(layout)
        settings = preferences.worker_settings()
        if not settings.python and session.engine().status.state != "error":
            missing = sentences.engine_missing()
            box = layout.box()
            draw_text(box, missing.message, icon="INFO")
            draw_text(box, missing.hint, icon="BLANK1")
            box.operator(PORTRAIT_OT_preferences.bl_idname, text="Choose Python", icon="PREFERENCES")
            return
        about = session.engine().about
        if about:
            layout.label(text=f"Engine: {session.engine().device}", icon="CHECKMARK")
        elif not session.engine().busy:
            layout.label(text="The engine starts when it is needed", icon="PLAY")


class PORTRAIT_PT_create(_PortraitPanel, bpy.types.Panel):
    """A person from a seed or a photo."""

    bl_label = "Create"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return bool(preferences.worker_settings().python)  # else setting up is the only thing shown

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.row().prop(settings, "source", expand=True)
        layout.prop(settings, "model")
        _draw_model_line(layout, settings.model)
        if settings.source == "PHOTO":
            layout.prop(settings, "photo")
            column = layout.column(align=True)
            column.prop(settings, "latent_iterations")
            column.prop(settings, "weight_iterations")
        else:
            row = layout.row(align=True)
            row.prop(settings, "seed")
            row.operator(PORTRAIT_OT_random_seed.bl_idname, text="", icon="FILE_REFRESH")
            layout.prop(settings, "truncation", slider=True)
        column = layout.column(heading="Make")
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
        row = layout.row()
        row.scale_y = 1.4
        row.operator(PORTRAIT_OT_create.bl_idname, icon="USER")


class PORTRAIT_PT_animate(_PortraitPanel, bpy.types.Panel):
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


class PORTRAIT_PT_show(_PortraitPanel, bpy.types.Panel):
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
        layout.operator(PORTRAIT_OT_update_mesh.bl_idname, icon="MESH_DATA")
        if context.space_data.shading.type in {"SOLID", "WIREFRAME"}:
            layout.operator(PORTRAIT_OT_show_colours.bl_idname, icon="SHADING_TEXTURE")
        if not lights.keeps_colours(context.scene):
            box = layout.box()
            draw_text(box, sentences.view_transform(context.scene.view_settings.view_transform), icon="COLOR")
            box.operator(PORTRAIT_OT_use_standard_view.bl_idname)
        _draw_identity(layout, find.identity_of(root))


class PORTRAIT_PT_style(_PortraitPanel, bpy.types.Panel):
    """Another style of the selected portrait."""

    bl_label = "Style"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.current(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.prop(context.scene.portrait, "style", text="")
        layout.operator(PORTRAIT_OT_stylise.bl_idname, icon="BRUSH_DATA")


class PORTRAIT_PT_system(_PortraitPanel, bpy.types.Panel):
    """The engine process."""

    bl_label = "System"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        layout, engine = self.layout, session.engine()
        settings = preferences.worker_settings()
        column = layout.column(align=True)
        draw_text(column, f"Python: {settings.python or 'not set'}")
        column.label(text=f"Engine: {f'running (process {engine.pid})' if engine.pid else 'not running'}")
        for name in ("python", "torch", "device", "memory_mb", "threads"):
            if name in engine.about:
                column.label(text=f"{name.replace('_mb', ' (MB)').capitalize()}: {engine.about[name]}")
        row = layout.row(align=True)
        row.operator(PORTRAIT_OT_test_engine.bl_idname, icon="CHECKMARK")
        row.operator(PORTRAIT_OT_stop_engine.bl_idname, icon="CANCEL")
        row.operator(PORTRAIT_OT_preferences.bl_idname, text="", icon="PREFERENCES")
        if engine.log:
            box = layout.box()
            for line in engine.log[-6:]:
                draw_text(box, line, width=60)
            box.operator(PORTRAIT_OT_copy_report.bl_idname, text="Copy Log", icon="COPYDOWN")


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


def _draw_identity(layout: bpy.types.UILayout, identity: bpy.types.PropertyGroup) -> None:
    column = layout.column(align=True)
    who = identity.photo or f"Seed {identity.seed}, truncation {identity.truncation:.2f}"
    column.label(text=f"{who}, {identity.model}")
    if identity.style:
        draw_text(column, f'Style: "{identity.style}"')
    column.label(text=f"Licence: {identity.licence}")
    if identity.use == "non-commercial":
        draw_text(column, sentences.NON_COMMERCIAL, icon="INFO")


CLASSES = (
    PORTRAIT_PT_status,
    PORTRAIT_PT_create,
    PORTRAIT_PT_animate,
    PORTRAIT_PT_show,
    PORTRAIT_PT_style,
    PORTRAIT_PT_system,
)


def register() -> None:
    """Make this part known to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Take it back."""
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
