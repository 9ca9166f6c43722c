# SPDX-License-Identifier: GPL-3.0-or-later
"""Set up the engine's environment, or take a Python that is there: start, cancel, check, remove, copy commands."""

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import backend, packages, preferences, session, setup_backend
from ..neural_core import errors
from . import common

_DIALOG_WIDTH = 460


def _not_busy(operator: type[bpy.types.Operator]) -> bool:
    job = backend.job()
    if backend.busy() and job is not None:
        operator.poll_message_set(f"{job.title} is running")
        return False
    return True


def _ended(operator: bpy.types.Operator) -> set[str]:
    """End an operator whose job may already be over: what failed is reported, and the panel keeps it."""
    job = backend.job()
    if job is not None and job.error is not None:
        operator.report({"WARNING"}, str(job.error))
        return {"CANCELLED"}
    return {"FINISHED"}


class PORTRAIT_OT_setup_engine(bpy.types.Operator):
    """Make an environment for the engine: a Python with PyTorch and what else it needs, in a folder of its own"""

    bl_idname = "portrait.setup_engine"
    bl_label = "Set Up Engine"

    newer: BoolProperty(
        name="Use Python 3.13",
        description="Go on with a Python for which some packages do not exist",
        options={"SKIP_SAVE", "HIDDEN"},
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _not_busy(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_WIDTH)

    def draw(self, _context: bpy.types.Context) -> None:
        from ..panels import status

        layout, stored = self.layout, preferences.stored()
        status.draw_announcement(layout)
        layout.use_property_split = True
        for name in ("compute", "engine_folder", "base_python", "wheels_folder"):
            layout.prop(stored, name)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().stop()  # it may run from the folder that is made anew
        backend.set_up(self.newer)
        return _ended(self)


class PORTRAIT_OT_use_python(bpy.types.Operator):
    """Choose a Python that has PyTorch already; it is looked at first, and System shows what it has"""

    bl_idname = "portrait.use_python"
    bl_label = "Use an Existing Python..."

    filepath: StringProperty(name="Python", subtype="FILE_PATH", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _not_busy(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        backend.check(bpy.path.abspath(self.filepath), use=True)
        return _ended(self)


class PORTRAIT_OT_check_python(bpy.types.Operator):
    """Look at the engine's Python: version, PyTorch, device, memory, and what is missing"""

    bl_idname = "portrait.check_python"
    bl_label = "Check"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not preferences.worker_settings().python:
            cls.poll_message_set("No Python is chosen for the engine")
            return False
        return _not_busy(cls)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        backend.check(preferences.worker_settings().python)
        return _ended(self)


class PORTRAIT_OT_cancel_setup(bpy.types.Operator):
    """Stop, and remove what is half made"""

    bl_idname = "portrait.cancel_setup"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return backend.busy()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        backend.cancel()
        return {"FINISHED"}


class PORTRAIT_OT_dismiss_setup(bpy.types.Operator):
    """Clear this message"""

    bl_idname = "portrait.dismiss_setup"
    bl_label = "Dismiss"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        backend.dismiss()
        return {"FINISHED"}


class PORTRAIT_OT_copy_setup_log(bpy.types.Operator):
    """Copy what the set-up printed to the clipboard"""

    bl_idname = "portrait.copy_setup_log"
    bl_label = "Copy Log"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return backend.job() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = "\n".join(backend.job().log)
        return {"FINISHED"}


class PORTRAIT_OT_copy_setup_command(bpy.types.Operator):
    """Copy the command lines that do it in a terminal: what is missing, or else all of the set-up"""

    bl_idname = "portrait.copy_setup_command"
    bl_label = "Copy Command"

    def execute(self, context: bpy.types.Context) -> set[str]:
        found = backend.inspection()
        missing = packages.install_missing(found) if found else ""
        context.window_manager.clipboard = missing or setup_backend.by_hand(backend.choice())
        return {"FINISHED"}


class PORTRAIT_OT_remove_engine(bpy.types.Operator):
    """Delete the environment that Set Up made; models and portraits stay"""

    bl_idname = "portrait.remove_engine"
    bl_label = "Remove Engine"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not setup_backend.is_ours(backend.choice().folder):
            cls.poll_message_set("Set Up has made no environment")
            return False
        return _not_busy(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().stop()
        try:
            backend.remove()
        except errors.PortraitError as error:
            return common.refused(self, error)
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_OT_setup_engine,
    PORTRAIT_OT_use_python,
    PORTRAIT_OT_check_python,
    PORTRAIT_OT_cancel_setup,
    PORTRAIT_OT_dismiss_setup,
    PORTRAIT_OT_copy_setup_log,
    PORTRAIT_OT_copy_setup_command,
    PORTRAIT_OT_remove_engine,
)
