# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine is doing, or what it last said."""

import bpy

from .. import backend, preferences, sentences, session, setup_backend
from ..engine import SILENCE_S
from ..operators.engine import (
    PORTRAIT_OT_cancel,
    PORTRAIT_OT_copy_report,
    PORTRAIT_OT_dismiss,
    PORTRAIT_OT_preferences,
    PORTRAIT_OT_restart_engine,
    PORTRAIT_OT_use_smaller,
    PORTRAIT_OT_wait_for_engine,
)
from ..operators.models import PORTRAIT_OT_import_face
from ..operators.setup import (
    PORTRAIT_OT_cancel_setup,
    PORTRAIT_OT_copy_setup_command,
    PORTRAIT_OT_copy_setup_log,
    PORTRAIT_OT_dismiss_setup,
    PORTRAIT_OT_setup_engine,
    PORTRAIT_OT_use_python,
)
from .common import PortraitPanel, draw_text

_PREFERENCES_KINDS = {"engine", "model"}
_COMMAND_KINDS = {"engine", "offline", "setup"}
_LOG_COLUMNS = 80
_PREVIEW_SCALE = 9.0
"""Size of the picture of what is being made, in heights of a button."""


class PORTRAIT_PT_status(PortraitPanel, bpy.types.Panel):
    """First in the tab, so that messages are seen."""

    bl_label = "Neural Portrait"

    def draw(self, _context: bpy.types.Context) -> None:
        layout, status = self.layout, session.engine().status
        missing = not preferences.worker_settings().python
        if not (missing and status.message == sentences.engine_missing().message):  # which is said below
            draw_status(layout)
        draw_setup(layout)
        if missing:
            if not backend.busy():
                _draw_missing_engine(layout)
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
        row.progress(factor=status.fraction, text=status.stage)
        row.operator(PORTRAIT_OT_cancel.bl_idname, text="", icon="X")
        left = "" if status.left_s is None else f", about {duration(status.left_s)} left"
        layout.label(text=f"{duration(status.elapsed_s)}{left}", icon="TIME")
        if engine.silent_s > SILENCE_S:
            _draw_silence(layout)
        icon = session.preview_icon()
        if icon:
            layout.template_icon(icon_value=icon, scale=_PREVIEW_SCALE)
    elif status.state == "error":
        box = layout.box()
        box.alert = True
        draw_text(box, status.message, icon="ERROR")
        if status.hint:
            draw_text(box, status.hint, icon="BLANK1")
        if "FLAME" in status.message:
            draw_text(box, sentences.FLAME_LICENCE, icon="BLANK1")
        row = box.row(align=True)
        if status.smaller is not None:
            name, number = status.smaller
            text = f"Use {number} Pixels" if name == "size" else f"Use Mesh Detail {number}"
            row.operator(PORTRAIT_OT_use_smaller.bl_idname, text=text)
        if "FLAME" in status.message:
            row.operator(PORTRAIT_OT_import_face.bl_idname, icon="IMPORT")
        if status.kind in _PREFERENCES_KINDS:
            row.operator(PORTRAIT_OT_preferences.bl_idname, icon="PREFERENCES")
        if status.report:
            row.operator(PORTRAIT_OT_copy_report.bl_idname, icon="COPYDOWN")
        row.operator(PORTRAIT_OT_dismiss.bl_idname, text="", icon="X")
    elif status.state == "notice":
        row = layout.row(align=True)
        draw_text(row, f"{status.message} {status.hint}".strip(), icon="INFO", buttons=1)
        row.operator(PORTRAIT_OT_dismiss.bl_idname, text="", icon="X", emboss=False)


def duration(seconds: float) -> str:
    """Return a time as one reads it at a glance: "40 s", "12 min", "3 h"."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _draw_silence(layout: bpy.types.UILayout) -> None:
    """Ask what to do with an engine that says nothing."""
    box = layout.box()
    draw_text(box, f"The engine has not answered for {session.engine().silent_s:.0f} s.", icon="QUESTION")
    row = box.row(align=True)
    row.operator(PORTRAIT_OT_wait_for_engine.bl_idname)
    row.operator(PORTRAIT_OT_restart_engine.bl_idname, icon="FILE_REFRESH")


def draw_setup(layout: bpy.types.UILayout) -> None:
    """Draw the set-up or check that runs, or what it failed at."""
    job = backend.job()
    if job is None:
        return
    if backend.busy():
        row = layout.row(align=True)
        row.progress(factor=job.fraction, text=job.stage)
        row.operator(PORTRAIT_OT_cancel_setup.bl_idname, text="", icon="X")
        if job.log:
            draw_text(layout, job.log[-1][:_LOG_COLUMNS], icon="BLANK1")
        return
    if job.state == "cancelled" or job.error is None:
        row = layout.row(align=True)
        draw_text(row, f"{job.title}: cancelled. Nothing was left behind.", icon="INFO", buttons=1)
        row.operator(PORTRAIT_OT_dismiss_setup.bl_idname, text="", icon="X", emboss=False)
        return
    box = layout.box()
    box.alert = True
    draw_text(box, job.error.message, icon="ERROR")
    if job.error.hint:
        draw_text(box, job.error.hint, icon="BLANK1")
    row = box.row(align=True)
    if job.error.kind == "newer python":
        row.operator(PORTRAIT_OT_setup_engine.bl_idname, text="Use It Anyway", icon="IMPORT").newer = True
    if job.error.kind == "offline":
        row.operator(PORTRAIT_OT_preferences.bl_idname, icon="PREFERENCES")
    if job.error.kind in _COMMAND_KINDS:
        row.operator(PORTRAIT_OT_copy_setup_command.bl_idname, icon="COPYDOWN")
    row.operator(PORTRAIT_OT_copy_setup_log.bl_idname, icon="COPYDOWN")
    row.operator(PORTRAIT_OT_dismiss_setup.bl_idname, text="", icon="X")


def draw_announcement(layout: bpy.types.UILayout) -> None:
    """Say what a set-up brings, how large it is, where it goes, and how it is undone."""
    choice = backend.choice()
    download_gb, disk_gb = setup_backend.SIZES_GB[choice.compute]
    what = "installed from your folder of wheels" if choice.wheels else f"{download_gb:.1f} GB are downloaded"
    draw_text(
        layout,
        f"Set Up makes an environment for the engine: {what}, {disk_gb:.1f} GB on disk, in {choice.folder}. "
        "Nothing else on this computer is changed; Remove Engine in System deletes it.",
        icon="BLANK1",
    )


def _draw_missing_engine(layout: bpy.types.UILayout) -> None:
    """Draw the only thing that is shown before there is an engine."""
    missing = sentences.engine_missing()
    box = layout.box()
    draw_text(box, missing.message, icon="INFO")
    draw_announcement(box)
    column = box.column(align=True)
    column.operator(PORTRAIT_OT_setup_engine.bl_idname, icon="IMPORT")
    column.operator(PORTRAIT_OT_use_python.bl_idname, icon="FILE_FOLDER")
    column.operator(PORTRAIT_OT_preferences.bl_idname, icon="PREFERENCES")
