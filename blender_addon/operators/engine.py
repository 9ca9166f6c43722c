# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine itself: test, cancel, stop, dismiss what it said, copy its report."""

from typing import Any

import bpy
from bpy.props import IntProperty

from .. import preferences, session, tasks
from . import common


class PORTRAIT_OT_test_engine(bpy.types.Operator):
    """Start the engine with these preferences and ask it what it has"""

    bl_idname = "portrait.test_engine"
    bl_label = "Test"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return common.engine_is_free(cls)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        engine = session.engine()

        def show(fields: dict[str, Any]) -> None:
            about = engine.about
            engine.notice(
                f"The engine works: Python {about.get('python')}, PyTorch {about.get('torch')}, "
                f"{engine.device}, {len(fields.get('models', []))} model(s)."
            )

        # A test starts from nothing, so that it finds what a first start would find.
        engine.stop()
        session.start("Test Engine", tasks.test(), show, undo=False)
        return common.finished(self)


class PORTRAIT_OT_start_engine(bpy.types.Operator):
    """Start the engine now, so that the first portrait does not wait for it"""

    bl_idname = "portrait.start_engine"
    bl_label = "Start"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if session.engine().pid is not None:
            cls.poll_message_set("The engine is running")
            return False
        return common.engine_is_free(cls)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.start("Start Engine", tasks.test(), lambda _: None, undo=False)
        return common.finished(self)


class PORTRAIT_OT_free_memory(bpy.types.Operator):
    """Let the engine drop all models and portraits from memory; they are read again when they are needed"""

    bl_idname = "portrait.free_memory"
    bl_label = "Free Memory"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if session.engine().pid is None:
            cls.poll_message_set("The engine is not running")
            return False
        return common.engine_is_free(cls)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        def show(memory_mb: float) -> None:
            session.engine().notice(f"The engine dropped its models: it now takes {memory_mb:.0f} MB.")

        session.start("Free Memory", tasks.free(), show, undo=False)
        return common.finished(self)


class PORTRAIT_OT_cancel(bpy.types.Operator):
    """Stop what the engine is doing; the scene stays as it is"""

    bl_idname = "portrait.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return session.engine().busy

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().cancel()
        return {"FINISHED"}


class PORTRAIT_OT_wait_for_engine(bpy.types.Operator):
    """Give the engine another minute"""

    bl_idname = "portrait.wait_for_engine"
    bl_label = "Wait"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().wait_on()
        return {"FINISHED"}


class PORTRAIT_OT_restart_engine(bpy.types.Operator):
    """End an engine that does not answer; the scene stays as it is, and the next task starts a new one"""

    bl_idname = "portrait.restart_engine"
    bl_label = "Restart"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return session.engine().busy

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().restart()
        return {"FINISHED"}


class PORTRAIT_OT_use_smaller(bpy.types.Operator):
    """Set the picture size or the mesh detail to half of what did not fit into memory"""

    bl_idname = "portrait.use_smaller"
    bl_label = "Use Less"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return session.engine().status.smaller is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        smaller = session.engine().status.smaller
        assert smaller is not None  # see poll
        setattr(context.scene.portrait, *smaller)  # Blender keeps it within the property's limits
        session.engine().dismiss()
        return {"FINISHED"}


class PORTRAIT_OT_stop_engine(bpy.types.Operator):
    """End the engine and free its memory; it starts again when it is needed"""

    bl_idname = "portrait.stop_engine"
    bl_label = "Stop Engine"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if session.engine().pid is None:
            cls.poll_message_set("The engine is not running")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().stop()
        return {"FINISHED"}


class PORTRAIT_OT_dismiss(bpy.types.Operator):
    """Clear this message"""

    bl_idname = "portrait.dismiss"
    bl_label = "Dismiss"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().dismiss()
        session.go_on()  # with what waits behind a task that failed
        return {"FINISHED"}


class PORTRAIT_OT_forget_waiting(bpy.types.Operator):
    """Take this job out of the queue"""

    bl_idname = "portrait.forget_waiting"
    bl_label = "Forget"

    number: IntProperty(name="Place in the queue", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session.engine().forget_waiting(self.number)
        return {"FINISHED"}


class PORTRAIT_OT_copy_report(bpy.types.Operator):
    """Copy the whole error, with the engine's last lines, to the clipboard"""

    bl_idname = "portrait.copy_report"
    bl_label = "Copy Report"

    def execute(self, context: bpy.types.Context) -> set[str]:
        engine = session.engine()
        context.window_manager.clipboard = engine.status.report or "\n".join(engine.log)
        return {"FINISHED"}


class PORTRAIT_OT_preferences(bpy.types.Operator):
    """Open the add-on's preferences"""

    bl_idname = "portrait.preferences"
    bl_label = "Preferences"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        bpy.ops.preferences.addon_show(module=preferences.PortraitPreferences.bl_idname)
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_OT_test_engine,
    PORTRAIT_OT_start_engine,
    PORTRAIT_OT_free_memory,
    PORTRAIT_OT_cancel,
    PORTRAIT_OT_wait_for_engine,
    PORTRAIT_OT_restart_engine,
    PORTRAIT_OT_use_smaller,
    PORTRAIT_OT_stop_engine,
    PORTRAIT_OT_dismiss,
    PORTRAIT_OT_forget_waiting,
    PORTRAIT_OT_copy_report,
    PORTRAIT_OT_preferences,
)
