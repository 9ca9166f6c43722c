# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine process and its environment."""

from pathlib import Path

import bpy

from .. import backend, packages, preferences, session
from ..operators.engine import (
    PORTRAIT_OT_cancel,
    PORTRAIT_OT_copy_report,
    PORTRAIT_OT_forget_waiting,
    PORTRAIT_OT_free_memory,
    PORTRAIT_OT_preferences,
    PORTRAIT_OT_start_engine,
    PORTRAIT_OT_stop_engine,
    PORTRAIT_OT_test_engine,
)
from ..operators.setup import (
    PORTRAIT_OT_check_python,
    PORTRAIT_OT_copy_setup_command,
    PORTRAIT_OT_remove_engine,
    PORTRAIT_OT_setup_engine,
    PORTRAIT_OT_use_python,
)
from .common import PortraitPanel, draw_text

_LOG_LINES = 6
_ABOUT = {
    "python": "Python {}",
    "torch": "PyTorch {}",
    "device": "Device: {}",
    "memory_mb": "Memory: {} MB",
    "threads": "Threads: {}",
}
"""What the engine says of itself, and how it is shown."""


class PORTRAIT_PT_system(PortraitPanel, bpy.types.Panel):
    """The engine process."""

    bl_label = "System"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        layout, engine = self.layout, session.engine()
        settings = preferences.worker_settings()
        column = layout.column(align=True)
        draw_text(column, f"Python: {_at_home(settings.python) or 'not set'}")
        column.label(text=f"Engine: {f'running (process {engine.pid})' if engine.pid else 'not running'}")
        for name, text in _ABOUT.items():
            if name in engine.about:
                column.label(text=text.format(engine.about[name]))
        column = layout.column(align=True)
        row = column.row(align=True)
        row.operator(PORTRAIT_OT_start_engine.bl_idname, icon="PLAY")
        row.operator(PORTRAIT_OT_stop_engine.bl_idname, text="Stop", icon="CANCEL")
        row.operator(PORTRAIT_OT_test_engine.bl_idname, text="Restart", icon="FILE_REFRESH")
        row.operator(PORTRAIT_OT_preferences.bl_idname, text="", icon="PREFERENCES")
        column.operator(PORTRAIT_OT_free_memory.bl_idname, icon="BRUSH_DATA")
        _draw_jobs(layout)
        _draw_environment(layout)
        if engine.log:
            box = layout.box()
            column = box.column(align=True)
            column.scale_y = 0.75
            for line in engine.log[-_LOG_LINES:]:
                column.label(text=line)  # cut where the sidebar ends: Copy Log has all of it
            box.operator(PORTRAIT_OT_copy_report.bl_idname, text="Copy Log", icon="COPYDOWN")


def _at_home(path: str) -> str:
    """Return a path as it is usually written: "~" for the user's folder."""
    home = str(Path.home())
    return path.replace(home, "~", 1) if path.startswith(home) else path


def _draw_jobs(layout: bpy.types.UILayout) -> None:
    """Draw what the engine does, and what waits for it."""
    engine = session.engine()
    if not engine.busy and not engine.waiting:
        return
    box = layout.box()
    if engine.busy:
        row = box.row(align=True)
        row.progress(factor=engine.status.fraction, text=engine.status.title)
        row.operator(PORTRAIT_OT_cancel.bl_idname, text="", icon="X")
    for number, title in enumerate(engine.waiting):
        row = box.row(align=True)
        row.label(text=f"Waiting: {title}", icon="TIME")
        row.operator(PORTRAIT_OT_forget_waiting.bl_idname, text="", icon="X").number = number


def _draw_environment(layout: bpy.types.UILayout) -> None:
    """Draw what is known of the engine's Python, and the buttons that change it."""
    box = layout.box()
    found = backend.inspection()
    if found is not None:
        for line in packages.report(found):
            draw_text(box, line, icon="ERROR" if line.startswith("Missing") else "NONE")
        command = packages.install_missing(found)
        if command:
            draw_text(box, f"Install it by: {command}")
            box.operator(PORTRAIT_OT_copy_setup_command.bl_idname, icon="COPYDOWN")
    column = box.column(align=True)
    row = column.row(align=True)
    row.operator(PORTRAIT_OT_check_python.bl_idname, text="Check Python", icon="VIEWZOOM")
    row.operator(PORTRAIT_OT_use_python.bl_idname, text="Use Another...", icon="FILE_FOLDER")
    row = column.row(align=True)
    row.operator(PORTRAIT_OT_setup_engine.bl_idname, icon="IMPORT")
    row.operator(PORTRAIT_OT_remove_engine.bl_idname, text="Remove", icon="TRASH")
