# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with the extension and the stub worker: Create, key the jaw, kill the worker, Create again.

Writes facts.json into the folder that is the last argument.
"""

import json
import os
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import bpy
import numpy as np

PACKAGE = "bl_ext.user_default.neural_portrait"
find, session = import_module(f"{PACKAGE}.scene.find"), import_module(f"{PACKAGE}.session")


def positions(ob):
    shown = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    co = np.empty(len(shown.data.vertices) * 3, np.float32)
    shown.data.vertices.foreach_get("co", co)
    return co.reshape(-1, 3)


def kill_soon():
    while session.engine().status.fraction == 0.0:
        time.sleep(0.02)
    os.kill(session.engine().pid, signal.SIGKILL)


bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
scene = bpy.context.scene
scene.portrait.detail, scene.portrait.size = 96, 64
assert bpy.ops.portrait.create() == {"FINISHED"}, session.engine().status
(root,) = find.roots(scene)
rig = find.part(root, "RIG")
for frame, value in ((1, 0.0), (20, 1.0)):
    rig["jawOpen"] = value
    rig.keyframe_insert('["jawOpen"]', frame=frame)
rig.update_tag()
facts = {}
for name, role in (("driver", "DRIVER"), ("surface", "SURFACE")):
    ob = find.part(root, role)
    scene.frame_set(1)
    before = positions(ob)
    scene.frame_set(20)
    moved = np.linalg.norm(positions(ob) - before, axis=1)
    facts[name] = float(moved[np.argmin(np.linalg.norm(before - np.array([0, -0.09, 0.06]), axis=1))])
    facts["scalp"] = max(facts.get("scalp", 0.0), float(moved[before[:, 1] > 0.09].max()))

objects = set(scene.objects)
scene.portrait.model = "slow"
threading.Thread(target=kill_soon, daemon=True).start()
assert bpy.ops.portrait.create() == {"CANCELLED"}
facts["after_kill"] = session.engine().status.message
facts["undone"] = [ob.name for ob in set(scene.objects) - objects]
scene.portrait.model = "default-next3d"
assert bpy.ops.portrait.create() == {"FINISHED"}
facts["portraits"] = len(find.roots(scene))
(Path(sys.argv[-1]) / "facts.json").write_text(json.dumps(facts))
sys.exit(0)
