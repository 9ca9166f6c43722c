# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with two windows: what users do while the engine works, and how long our code holds them up.

    blender --factory-startup -P busy.py -- <folder of the staged package> <plan> <output folder>

Plan "job": a job of 30 seconds runs while the user goes through frames, then a portrait is created; every timer,
handler and draw function of ours is timed. Plan "baking": while frames are baked, the user undoes something, deletes
the portrait, opens another file. Both write facts.json.
"""

import json
import re
import sys
import time
from pathlib import Path

import addon_utils
import bpy

STAGE, PLAN, OUT = sys.argv[sys.argv.index("--") + 1 :][:3]
JOB_S = 30.0
sys.path.insert(0, STAGE)
sys.path.append(str(Path(__file__).parent))
addon_utils.enable("neural_portrait", default_set=True)

from neural_portrait import session  # noqa: E402
from neural_portrait.scene import baked, find  # noqa: E402
from user import Watch, open_tabs, press, until_free, view, walk  # noqa: E402

facts = {}
watch = Watch()


def open_windows():
    """Open a second window, and our tab in both."""
    with view():
        bpy.ops.wm.window_new()
    yield
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.spaces.active.shading.type = "WIREFRAME"  # software GL draws nothing faster
    yield from open_tabs()


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


def create(model, detail=96, size=64):
    """Create a portrait that opens its jaw."""
    settings = bpy.context.scene.portrait
    settings.model, settings.detail, settings.size = model, detail, size
    press("portrait.create")
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
    yield from open_windows()
    yield from create("moving")
    press("portrait.bake")
    yield from until_free()
    press("portrait.live_picture")
    for _ in range(5):
        yield
    bpy.context.scene.portrait.model = "slow"
    press("portrait.create")
    rig, began = find.part(find.current(bpy.context), "RIG"), time.monotonic()
    watch.clear()
    while time.monotonic() - began < JOB_S:
        scene = bpy.context.scene
        scene.frame_set(1 + (scene.frame_current % 24))
        if scene.frame_current % 8 == 0:  # a slider is dragged
            rig["mouthSmileLeft"] = scene.frame_current / 24
            rig.update_tag()
        yield
    facts["busy"], facts["job"] = session.engine().busy, watch.figures()
    press("portrait.cancel")
    yield from until_free()
    facts["job_s"] = time.monotonic() - began
    watch.clear()
    yield from create("moving", detail=256, size=512)
    facts["applied"] = watch.figures()


def baking_plan():
    yield from open_windows()
    yield from create("crawls")
    uuid = find.identity_of(find.current(bpy.context)).uuid

    def start_baking(last):
        scene = bpy.context.scene
        scene.frame_end = last
        press("portrait.bake")

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


def finish():
    (Path(OUT) / "facts.json").write_text(json.dumps(facts))
    watch.restore()


walk({"job": job_plan, "baking": baking_plan}[PLAN](), finish)
