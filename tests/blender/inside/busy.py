# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with two windows: what users do while the engine works, and how long our code holds them up.

    blender --factory-startup -P busy.py -- <folder of the staged package> <plan> <output folder>

Plan "job": a job of 30 seconds runs while the user goes through frames; every timer, handler and draw function of ours
is timed. Plan "baking": while frames are baked, the user undoes something, deletes the portrait, opens another file.
Both write facts.json.
"""

import json
import os
import re
import sys
import time
import traceback
from pathlib import Path

import addon_utils
import bpy

STAGE, PLAN, OUT = sys.argv[sys.argv.index("--") + 1 :][:3]
TICK_S = 0.2
JOB_S = 30.0
sys.path.insert(0, STAGE)
addon_utils.enable("neural_portrait", default_set=True)

from neural_portrait import bake_state, live, panels, session  # noqa: E402
from neural_portrait.operators import bake_mesh  # noqa: E402
from neural_portrait.scene import baked, find  # noqa: E402

facts = {"longest": {}, "runs": {}, "cpu": {}}
replaced = []
LISTS = [name for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)]


def timed(name, function):
    """Return the function, which now remembers its longest run: of the clock, and of the processor."""

    def run(*args):
        before, cpu_before = time.perf_counter(), time.thread_time()
        try:
            return function(*args)
        finally:
            taken, cpu = time.perf_counter() - before, time.thread_time() - cpu_before
            facts["longest"][name] = max(facts["longest"].get(name, 0.0), taken)
            facts["cpu"][name] = max(facts["cpu"].get(name, 0.0), cpu)
            facts["runs"][name] = facts["runs"].get(name, 0) + 1

    run._bpy_persistent = None  # stays when another file is opened, as the handlers do
    return run


def time_everything():
    for module, name in ((session, "_pump"), (live, "_tick"), (bake_state, "tick"), (bake_mesh, "build_next")):
        setattr(module, name, timed(f"timer {name}", getattr(module, name)))
    for name in LISTS:
        handlers = getattr(bpy.app.handlers, name)
        for number, handler in enumerate(handlers):
            if handler.__module__.startswith("neural_portrait"):
                handlers[number] = timed(f"handler {handler.__module__.rpartition('.')[2]}.{name}", handler)
                replaced.append((handlers, handlers[number], handler))
    for panel in panels.CLASSES:
        time_drawing(panel)


def time_drawing(panel):
    inner = timed(f"draw {panel.__name__}", panel.draw)

    def draw(self, context):  # Blender counts the arguments
        inner(self, context)

    panel.draw = draw


def view():
    return bpy.context.temp_override(**session.view3d())


def open_tabs():
    """Open the tab in both windows."""
    with view():
        bpy.ops.wm.window_new()
    yield
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.spaces.active.show_region_ui = True
                area.spaces.active.shading.type = "WIREFRAME"  # software GL draws nothing faster
    yield
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if area.type == "VIEW_3D" and region.type == "UI":
                    region.active_panel_category = "Portrait"
    yield


def until_free():
    while session.engine().busy:
        yield


def until_baking(number):
    """Wait until the engine draws this frame of those that are missing, or a later one; fail if it is done before."""
    while True:
        stage = re.match(r"Baking (\d+)/", session.engine().status.stage)
        if stage is not None and int(stage[1]) >= number:
            return
        assert session.engine().busy, session.engine().status
        yield


def count_drawing():
    """Count how often 3D views and their sidebars are drawn; returns the counts, which go on growing."""
    drawn = {"WINDOW": 0, "UI": 0}

    def count(region):
        drawn[region] += 1

    for region in drawn:
        bpy.types.SpaceView3D.draw_handler_add(count, (region,), region, "POST_PIXEL")
    return drawn


def create(model):
    settings = bpy.context.scene.portrait
    settings.model, settings.detail, settings.size = model, 96, 64
    with view():
        bpy.ops.portrait.create("INVOKE_DEFAULT", True)
    yield from until_free()
    root = find.current(bpy.context)
    rig = find.part(root, "RIG")
    for frame, value in ((1, 0.0), (24, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    rig.update_tag()
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 24
    with view():
        bpy.ops.ed.undo_push(message="Keys")  # else the next undo would take them back, with what they were set on
    yield


def job_plan():
    yield from open_tabs()
    yield from create("moving")
    with view():
        bpy.ops.portrait.bake()
    yield from until_free()
    with view():
        bpy.ops.portrait.live_picture()
    for _ in range(5):
        yield
    bpy.context.scene.portrait.model = "slow"
    with view():
        bpy.ops.portrait.create("INVOKE_DEFAULT", True)
    rig, began = find.part(find.current(bpy.context), "RIG"), time.monotonic()
    for table in ("longest", "runs", "cpu"):
        facts[table].clear()
    while time.monotonic() - began < JOB_S:
        scene = bpy.context.scene
        scene.frame_set(1 + (scene.frame_current % 24))
        if scene.frame_current % 8 == 0:  # a slider is dragged
            rig["mouthSmileLeft"] = scene.frame_current / 24
            rig.update_tag()
        yield
    facts["busy"] = session.engine().busy
    with view():
        bpy.ops.portrait.cancel()
    yield from until_free()
    facts["job_s"] = time.monotonic() - began


def baking_plan():
    yield from open_tabs()
    yield from create("crawls")
    uuid = find.identity_of(find.current(bpy.context)).uuid

    def start_baking(last):
        scene = bpy.context.scene
        scene.frame_end = last
        with view():
            bpy.ops.portrait.bake("INVOKE_DEFAULT", True)

    start_baking(3)
    facts["returned_at_once"] = session.engine().busy
    with view():
        bpy.ops.object.select_all("INVOKE_DEFAULT", True, action="DESELECT")
        bpy.ops.ed.undo()
    facts["busy_after_undo"] = session.engine().busy
    yield from until_free()
    root = find.by_uuid(bpy.context.scene, uuid)
    facts["after_undo"] = [session.engine().status.state, baked.is_shown(find.part(root, "PLANE"))]
    folder = baked.folder(root, "FULL")
    facts["frames_after_undo"] = len(list(folder.glob("f_*.png")))

    with view():
        bpy.context.view_layer.objects.active = root
    start_baking(9)
    yield from until_baking(2)
    drawn = count_drawing()
    yield from until_baking(4)
    facts["drawn_while_baking"] = drawn.copy()
    before = set(bpy.data.objects.keys())
    for ob in list(root.users_collection[0].objects):
        bpy.data.objects.remove(ob)
    yield from until_free()
    facts["deleted"] = session.engine().status.message
    facts["new_after_delete"] = sorted(set(bpy.data.objects.keys()) - before)
    facts["frames_after_delete"] = len(list(folder.glob("f_*.png")))
    session.engine().dismiss()

    yield from create("crawls")
    start_baking(16)
    yield from until_baking(2)
    bpy.ops.wm.read_homefile(app_template="", use_factory_startup=True, use_empty=False)
    facts["busy_after_load"] = session.engine().busy
    facts["loaded"] = session.engine().status.message
    yield
    facts["roots_after_load"] = len(find.roots(bpy.context.scene))


def run(plan):
    """Give the timer a function that makes the next step of the plan, and quits at its end or when it fails."""

    def step():
        try:
            next(plan)
        except StopIteration:
            (Path(OUT) / "facts.json").write_text(json.dumps(facts))
            for handlers, ours, original in replaced:  # the add-on takes back what it put there
                handlers[handlers.index(ours)] = original
            bpy.ops.wm.quit_blender()
            return None
        except Exception:
            traceback.print_exc()
            os._exit(1)
        return TICK_S

    return step


time_everything()
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.system.viewport_aa = "OFF"  # else a view is drawn eight times after each change
# Blender must have drawn its window once before a view has regions with a size.
plans = {"job": job_plan, "baking": baking_plan}
bpy.app.timers.register(run(plans[PLAN]()), first_interval=1.5, persistent=True)
