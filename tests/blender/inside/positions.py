# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: write where the vertices of a saved portrait are at some frames, in head space. Needs no add-on.

blender -b -P positions.py -- portrait.blend out.npz 1 20       (or, with the bpy wheel, without "-- ")
"""

import os
import sys

import bpy
import numpy as np

arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
blend, out, *frames = arguments
bpy.ops.wm.open_mainfile(filepath=blend)
arrays = {}
for frame in map(int, frames):
    bpy.context.scene.frame_set(frame)
    graph = bpy.context.evaluated_depsgraph_get()
    for ob in bpy.context.scene.objects:
        for role in ("driver", "surface"):
            if ob.type == "MESH" and ob.name.endswith(role):
                mesh = ob.evaluated_get(graph).data
                co = np.empty(len(mesh.vertices) * 3, np.float32)
                mesh.vertices.foreach_get("co", co)
                arrays[f"{role}_{frame}"] = co.reshape(-1, 3)
np.savez(out, **arrays)
sys.stdout.flush()
if not bpy.app.binary_path:
    os._exit(0)
