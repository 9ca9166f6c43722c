# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels share."""

import textwrap

import bpy

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
