# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels share."""

import blf
import bpy

from .. import sentences

_FONT_POINTS = 11.0
_BUTTON = 20.0
"""Side of a square button or icon, unscaled pixels."""
_EDGES = 64.0
"""What tabs, panel and box take of a sidebar's width, unscaled pixels."""
_USUAL = 250.0
"""Width of a text where Blender does not tell how wide the sidebar is, unscaled pixels."""


class PortraitPanel:
    """Where every panel of ours is: the sidebar tab "Portrait"."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Portrait"


def draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE", buttons: int = 0) -> None:
    """Draw a sentence over as many lines as it needs; Blender's labels do not wrap.

    Args:
        layout: where.
        text: the sentence.
        icon: before its first line.
        buttons: how many square buttons stand beside it.
    """
    column = layout.column(align=True)
    column.scale_y = 0.75
    taken = _BUTTON * (buttons + (icon != "NONE"))
    for number, line in enumerate(_wrapped(text, _sidebar_width() - taken)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def _sidebar_width() -> float:
    """Return how wide a text of the sidebar may be, unscaled pixels."""
    region, scale = bpy.context.region, bpy.context.preferences.system.ui_scale
    return region.width / scale - _EDGES if region is not None and scale > 0 else _USUAL


def _wrapped(text: str, width: float) -> list[str]:
    """Return the lines of a text, none wider than `width` unscaled pixels but for words that are."""
    blf.size(0, _FONT_POINTS)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and blf.dimensions(0, longer)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


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
    if identity.changed:
        column.label(text="Changed since it was created")
    if identity.style:
        draw_text(column, f'Style: "{identity.style}"')
    column.label(text=f"Licence: {identity.licence}")
    if identity.use == "non-commercial":
        draw_text(column, sentences.NON_COMMERCIAL, icon="INFO")
