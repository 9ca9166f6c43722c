# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels share."""

import textwrap

import bpy

from .. import sentences

_WRAP_COLUMNS = 44


class PortraitPanel:
    """Where every panel of ours is: the sidebar tab "Portrait"."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Portrait"


def draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE", width: int = _WRAP_COLUMNS) -> None:
    """Draw a sentence over as many lines as it needs; Blender's labels do not wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.75
    for number, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def draw_main_action(layout: bpy.types.UILayout, operator: type[bpy.types.Operator], icon: str) -> None:
    """Draw the button that a panel is there for: as wide as the panel, and higher than the others."""
    row = layout.row()
    row.scale_y = 1.4
    row.operator(operator.bl_idname, icon=icon)


def draw_origin(layout: bpy.types.UILayout, identity: bpy.types.PropertyGroup) -> None:
    """Say where a portrait came from, and what may be done with it."""
    column = layout.column(align=True)
    seeds = f"Seed {identity.seed}" + (f" with {identity.mix:.0%} of {identity.mix_seed}" if identity.mix else "")
    who = identity.photo or f"{seeds}, truncation {identity.truncation:.2f}"
    column.label(text=f"{who}, {identity.model}")
    if identity.style:
        draw_text(column, f'Style: "{identity.style}"')
    column.label(text=f"Licence: {identity.licence}")
    if identity.use == "non-commercial":
        draw_text(column, sentences.NON_COMMERCIAL, icon="INFO")
