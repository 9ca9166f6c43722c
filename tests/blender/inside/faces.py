# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside any Blender: the rig of an imported face model, keyed as a file says, and where its vertices are then.

Arguments: folder of the staged add-on, name of the face model, file with what is keyed (shape [k], expressions
[frames, e], turns [frames, J, 4] as quaternions), file for what is found.
"""

import os
import sys
import time
from pathlib import Path

import bpy
import numpy as np

stage, name, keyed, out = sys.argv[-4:]
sys.path.insert(0, stage)


def positions(ob):
    shown = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    co = np.empty(len(shown.data.vertices) * 3, np.float32)
    shown.data.vertices.foreach_get("co", co)
    return co.reshape(-1, 3)


def main():
    import addon_utils

    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert addon_utils.enable("neural_portrait", default_set=True) is not None
    from neural_portrait import session
    from neural_portrait.scene import face_rig

    given = np.load(keyed)
    count = len(given["turns"])
    shapes, expressions = len(given["shape"]), given["expressions"].shape[1]
    done = bpy.ops.portrait.add_face_rig(face=name, shapes=shapes, expressions=expressions)
    assert done == {"FINISHED"}, session.engine().status.message
    armature = bpy.context.view_layer.objects.active
    ob = next(child for child in armature.children if child.name.endswith("mesh"))
    for index, value in enumerate(given["shape"]):
        armature[f"shape{index:03d}"] = float(value)
    bones = face_rig.joint_names(armature)
    for frame in range(count):
        for index, value in enumerate(given["expressions"][frame]):
            armature[f"expression{index:03d}"] = float(value)
            armature.keyframe_insert(f'["expression{index:03d}"]', frame=frame + 1)
        for bone, turn in zip(bones, given["turns"][frame], strict=True):
            armature.pose.bones[bone].rotation_quaternion = turn.tolist()
            armature.pose.bones[bone].keyframe_insert("rotation_quaternion", frame=frame + 1)
    armature.update_tag()
    found, scene = [], bpy.context.scene
    start = time.perf_counter()
    for frame in range(count):
        scene.frame_set(frame + 1)
        found.append(positions(ob))
    seconds = time.perf_counter() - start
    drivers = [curve.driver for curve in ob.data.shape_keys.animation_data.drivers]
    np.savez(
        out,
        vertices=np.array(found),
        keys=len(ob.data.shape_keys.key_blocks),
        simple=all(driver.type == "SUM" or driver.is_simple_expression for driver in drivers),
        knows_actions=face_rig.knows_actions(armature),
        milliseconds=1000 * seconds / count,
    )
    addon_utils.disable("neural_portrait", default_set=True)


main()
sys.stdout.flush()
os._exit(0 if Path(out).exists() else 1)
