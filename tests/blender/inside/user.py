# SPDX-License-Identifier: GPL-3.0-or-later
"""What plans in a real Blender with a window share: a user's hands, a watch on our code, and the walk to the end.

A plan is a generator; it is gone through one step a timer tick, so that Blender lives on between its yields. The add-on
must be enabled before this is imported.
"""

import os
import time
import traceback

import bpy
from neural_portrait import bake_state, live, panels, session
from neural_portrait.operators import bake_mesh

TICK_S = 0.2
OURS = (
    *("objects", "meshes", "armatures", "cameras", "lights", "worlds", "scenes", "collections"),
    *("materials", "images", "texts", "actions", "shape_keys", "node_groups"),
)
"""Kinds of data-blocks that we make; others are Blender's own windows, brushes and the like."""


def view():
    """The context of the first 3D view: operators then run as if a button there were pressed."""
    return bpy.context.temp_override(**session.view3d())


def area():
    return session.view3d()["area"]


def press(name, **settings):
    """Press a button, with an undo step of its own if its operator asks for one; returns seconds that it took."""
    group, operator = name.split(".")
    before = time.perf_counter()
    with view():
        getattr(getattr(bpy.ops, group), operator)("INVOKE_DEFAULT", True, **settings)
    return time.perf_counter() - before


def open_tabs():
    """Open our tab in every window."""
    views = [area for window in bpy.context.window_manager.windows for area in window.screen.areas]
    views = [area for area in views if area.type == "VIEW_3D"]
    for area in views:
        area.spaces.active.show_region_ui = True
    yield
    for area in views:
        for region in area.regions:
            if region.type == "UI":
                region.active_panel_category = "Portrait"
    yield


def until_free():
    """Wait until the engine has nothing to do."""
    while session.engine().busy:
        yield


def until_works():
    """Wait until the engine has begun with what it was asked for."""
    while session.engine().status.fraction == 0.0:
        assert session.engine().busy, session.engine().status
        yield


def data_blocks():
    """Names of all data-blocks of the kinds that we make."""
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in OURS}


def changes(before):
    """Data-blocks that came, with a plus, and that went, with a minus, since `data_blocks` returned `before`."""
    now = data_blocks()
    came = [f"+{kind} {name}" for kind in OURS for name in now[kind] if name not in before[kind]]
    return came + [f"-{kind} {name}" for kind in OURS for name in before[kind] if name not in now[kind]]


class Watch:
    """The longest run of each of our timers, handlers and draw functions: of the clock, and of the processor."""

    def __init__(self):
        self.longest, self.cpu, self.runs = {}, {}, {}
        self._replaced = []
        for module, name in ((session, "_pump"), (live, "_tick"), (bake_state, "tick"), (bake_mesh, "build_next")):
            setattr(module, name, self._timed(f"timer {name}", getattr(module, name)))
        lists = [name for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)]
        for name in lists:
            self._time_handlers(name)
        for panel in panels.CLASSES:
            self._time_drawing(panel)

    def clear(self):
        """Begin anew."""
        for table in (self.longest, self.cpu, self.runs):
            table.clear()

    def figures(self):
        """Return what was seen since the last `clear`, seconds and counts by name."""
        return {"longest": self.longest.copy(), "cpu": self.cpu.copy(), "runs": self.runs.copy()}

    def restore(self):
        """Put the handlers back: the add-on takes away what it put there."""
        for handlers, ours, original in self._replaced:
            handlers[handlers.index(ours)] = original

    def _timed(self, name, function):
        def run(*args):
            before, cpu_before = time.perf_counter(), time.thread_time()
            try:
                return function(*args)
            finally:
                taken, cpu = time.perf_counter() - before, time.thread_time() - cpu_before
                self.longest[name] = max(self.longest.get(name, 0.0), taken)
                self.cpu[name] = max(self.cpu.get(name, 0.0), cpu)
                self.runs[name] = self.runs.get(name, 0) + 1

        run._bpy_persistent = None  # stays when another file is opened, as the handlers do
        return run

    def _time_handlers(self, name):
        handlers = getattr(bpy.app.handlers, name)
        for number, handler in enumerate(handlers):
            if handler.__module__.startswith("neural_portrait"):
                handlers[number] = self._timed(f"handler {handler.__module__.rpartition('.')[2]}.{name}", handler)
                self._replaced.append((handlers, handlers[number], handler))

    def _time_drawing(self, panel):
        inner = self._timed(f"draw {panel.__name__}", panel.draw)

        def draw(panel, context):  # Blender counts the arguments
            inner(panel, context)

        panel.draw = draw


def walk(plan, at_end=lambda: None, tick_s=TICK_S):
    """Let a timer go through a plan, then call `at_end` and quit; quit with 1 where it fails."""

    def step():
        try:
            next(plan)
        except StopIteration:
            at_end()
            bpy.ops.wm.quit_blender()
            return None
        except Exception:
            traceback.print_exc()
            os._exit(1)
        return tick_s

    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.system.viewport_aa = "OFF"  # else a view is drawn eight times after each change
    # Blender must have drawn its window once before a view has regions with a size.
    bpy.app.timers.register(step, first_interval=1.5, persistent=True)
