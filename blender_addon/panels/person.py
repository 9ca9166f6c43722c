# SPDX-License-Identifier: GPL-3.0-or-later
"""Who the selected portrait is: name, mix with somebody else, sliders."""

import bpy

from .. import sentences
from ..operators.person import (
    PORTRAIT_OT_apply_person,
    PORTRAIT_OT_read_person,
    PORTRAIT_OT_rename_person,
    PORTRAIT_OT_reset_person,
)
from ..scene import find, sliders
from .common import PortraitPanel, draw_main_action, draw_origin, draw_text

SHAPES_SHOWN = 10
"""Numbers of the face's shape that are drawn; a search finds the others."""
_OPEN = "Face"
_SHAPE = "Shape"


class PORTRAIT_PT_person(PortraitPanel, bpy.types.Panel):
    """Who the selected portrait is: name, mix with somebody else, sliders."""

    bl_label = "Person"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find.current(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings, root = self.layout, context.scene.portrait, find.current(context)
        identity = find.identity_of(root)
        row = layout.row(align=True)
        row.label(text=root.name, icon="USER")
        row.operator(PORTRAIT_OT_rename_person.bl_idname, text="", icon="GREASEPENCIL")
        draw_origin(layout, identity)
        row = layout.row(align=True)
        row.prop(settings, "person_mix_seed")
        row.prop(settings, "person_mix", slider=True)
        if not identity.sliders_known:
            layout.operator(PORTRAIT_OT_read_person.bl_idname, icon="OPTIONS")
        elif identity.sliders:
            _draw_sliders(layout, identity, settings)
        else:
            draw_text(layout, sentences.NO_SLIDERS, icon="INFO")
        draw_main_action(layout, PORTRAIT_OT_apply_person, icon="CHECKMARK")
        layout.operator(PORTRAIT_OT_reset_person.bl_idname, icon="LOOP_BACK")


def _draw_sliders(
    layout: bpy.types.UILayout, identity: bpy.types.PropertyGroup, settings: bpy.types.PropertyGroup
) -> None:
    """Draw sliders in groups, what their values look like, and a button that takes back each one that was moved."""
    search = settings.person_search
    layout.prop(settings, "person_search", text="", icon="VIEWZOOM")
    found = sliders.found(identity, search)
    if not found:
        layout.label(text="No slider has these words")
    for group, items in found.items():
        if search:  # a group that was closed would hide what was found
            layout.label(text=group)
            _draw_items(layout, items)
            continue
        moved = sum(sliders.is_moved(item) for item in items)
        header, body = layout.panel(f"portrait_person_{group}", default_closed=group != _OPEN)
        header.label(text=f"{group} ({moved} moved)" if moved else group)
        if body is None:
            continue
        shown = items[:SHAPES_SHOWN] if group == _SHAPE else items
        _draw_items(body, shown)
        if len(shown) < len(items):
            body.label(text=f"Search finds {len(items) - len(shown)} more", icon="INFO")


def _draw_items(layout: bpy.types.UILayout, items: list[bpy.types.PropertyGroup]) -> None:
    column = layout.column(align=True)
    for item in items:
        word = sliders.word(item)
        row = column.row(align=True)
        row.prop(item, "value", text=f"{item.label}: {word}" if word else item.label, slider=True)
        reset = row.row(align=True)
        reset.enabled = sliders.is_moved(item)
        reset.operator(PORTRAIT_OT_reset_person.bl_idname, text="", icon="LOOP_BACK").slider = item.name
