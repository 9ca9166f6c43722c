# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with a window: a portrait of usual size comes into the scene, and what may happen meanwhile.

    blender --factory-startup -P pieces.py -- <folder of the staged package> pieces <output folder>

Writes facts.json: how long our timer took, what was to be seen, what was left after cancel, undo and another file.
"""

import dataclasses
import json
import os
import sys
import time
import traceback
from pathlib import Path

import addon_utils
import bpy
import numpy as np

STAGE, _PLAN, OUT = sys.argv[sys.argv.index("--") + 1 :][:3]
TICK_S = 0.01
HERE = Path(__file__).resolve()
sys.path[:0] = [STAGE, str(HERE.parents[1]), str(HERE.parents[3])]  # the stub takes the protocol from the clone
addon_utils.enable("neural_portrait", default_set=True)

import stub_worker as stub  # noqa: E402
from neural_portrait import session, tasks  # noqa: E402
from neural_portrait.scene import find  # noqa: E402

KINDS = ("objects", "meshes", "armatures", "cameras", "collections", "materials", "images", "texts", "scenes")
facts = {"longest_s": 0.0, "longest_cpu_s": 0.0, "slices": 0}
plain_create, plain_pump = tasks.create, session._pump


def create_large(choice, *others):
    """What Create asks of the engine; then a surface and a picture of the size that the default model makes."""
    created = yield from plain_create(choice, *others)
    vertices, faces = stub.egg(320, 210)
    index = np.arange(4 * len(vertices), dtype=np.int32).reshape(-1, 4) % len(created.portrait.arrays["rig/vertices"])
    share, grey = np.full(index.shape, 0.25, np.float32), np.full(vertices.shape, 0.5, np.float32)
    picture = tasks.Picture(stub.picture(512), created.picture.camera)
    surface = tasks.Surface(vertices, faces, grey, index, share)
    return dataclasses.replace(created, surface=surface, picture=picture)


def timed_pump():
    applying = session.engine().applying
    began, cpu = time.perf_counter(), time.thread_time()
    try:
        return plain_pump()
    finally:
        facts["longest_s"] = max(facts["longest_s"], time.perf_counter() - began)
        facts["longest_cpu_s"] = max(facts["longest_cpu_s"], time.thread_time() - cpu)
        facts["slices"] += applying


def counts():
    return {kind: len(getattr(bpy.data, kind)) for kind in KINDS}


def view():
    return bpy.context.temp_override(**session.view3d())


def press_create():
    with view():
        bpy.ops.portrait.create("INVOKE_DEFAULT", True)


def until_applied():
    while session.engine().busy:
        yield


def until_half_built():
    """Go on until the engine has answered and something is there that is in no scene yet."""
    press_create()
    while not (session.engine().applying and len(bpy.data.objects) > len(bpy.context.scene.objects)):
        yield


def plan():
    settings = bpy.context.scene.portrait
    settings.detail, settings.size = 48, 32
    with view():
        bpy.ops.mesh.primitive_cube_add("INVOKE_DEFAULT", True)  # something to undo
    yield
    before, others = counts(), len(bpy.context.scene.objects)

    yield from until_half_built()
    facts["seen_half_built"] = len(bpy.context.scene.objects) - others
    with view():
        bpy.ops.portrait.cancel()
    facts["after_cancel"] = [session.engine().status.message, counts() == before]
    session.engine().dismiss()

    yield from until_half_built()
    with view():
        bpy.ops.ed.undo()  # takes the cube back
    facts["after_undo"] = [session.engine().applying, len(bpy.context.scene.objects) - others]
    yield from until_applied()
    facts["made_after_undo"] = len(find.roots(bpy.context.scene))
    facts["half_built_left"] = [one.name for one in bpy.data.collections if one.use_fake_user]
    made = counts()
    with view():
        bpy.ops.ed.undo()
    facts["undone"] = [len(find.roots(bpy.context.scene)), counts()["meshes"] == made["meshes"] - 3]
    with view():
        bpy.ops.ed.redo()
    facts["redone"] = [len(find.roots(bpy.context.scene)), counts() == made]

    yield from until_half_built()
    bpy.ops.wm.read_homefile(app_template="", use_factory_startup=True, use_empty=True)
    facts["after_load"] = [session.engine().status.message, len(bpy.data.objects), len(bpy.data.collections)]
    session.engine().dismiss()

    bpy.context.scene.portrait.detail, bpy.context.scene.portrait.size = 48, 32
    for _ in range(5):
        yield
    facts["longest_s"] = facts["longest_cpu_s"] = facts["slices"] = 0
    press_create()
    yield from until_applied()
    facts["made"] = [len(find.roots(bpy.context.scene)), session.engine().status.state]
    facts["vertices"] = len(find.part(find.roots(bpy.context.scene)[0], "SURFACE").data.vertices)


def run(steps):
    """Give the timer a function that makes the next step of the plan, and quits at its end or when it fails."""

    def step():
        try:
            next(steps)
        except StopIteration:
            (Path(OUT) / "facts.json").write_text(json.dumps(facts))
            bpy.ops.wm.quit_blender()
            return None
        except Exception:
            traceback.print_exc()
            os._exit(1)
        return TICK_S

    return step


tasks.create, session._pump = create_large, timed_pump
bpy.context.preferences.view.show_splash = False
for window in bpy.context.window_manager.windows:
    for area in window.screen.areas:
        if area.type == "VIEW_3D":
            area.spaces.active.shading.type = "WIREFRAME"  # software GL draws nothing faster
bpy.app.timers.register(run(plan()), first_interval=1.5, persistent=True)
