# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine is doing, or what it last said."""

import bpy

from .. import preferences, sentences, session
from ..operators.engine import (
    PORTRAIT_OT_cancel,
    PORTRAIT_OT_copy_report,
    PORTRAIT_OT_dismiss,
    PORTRAIT_OT_preferences,
)
from .common import PortraitPanel, draw_text

_PREFERENCES_KINDS = {"engine", "model"}
_PREVIEW_SCALE = 9.0
"""Size of the picture of what is being made, in heights of a button."""


class PORTRAIT_PT_status(PortraitPanel, bpy.types.Panel):
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
