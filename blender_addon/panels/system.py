# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine process."""

import bpy

from .. import preferences, session
from ..operators.engine import (
    PORTRAIT_OT_copy_report,
    PORTRAIT_OT_preferences,
    PORTRAIT_OT_stop_engine,
    PORTRAIT_OT_test_engine,
)
from .common import PortraitPanel, draw_text


class PORTRAIT_PT_system(PortraitPanel, bpy.types.Panel):
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
