# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside any Blender, with the add-on as it ships and its own worker: a keyed portrait becomes another person.

Arguments: the folder of the stage, the folder of the results. Sliders and keys are those of plan.json there. Writes
result.npz: the plain head before and after at the frames of the plan, the portrait's file before and after, and
result.json: where the sliders are then.
"""

import json
import os
import sys
from pathlib import Path

import bpy
import numpy as np

stage, folder = sys.argv[-2], Path(sys.argv[-1])
plan = json.loads((folder / "plan.json").read_text())


def main():
    import addon_utils

    sys.path.insert(0, stage)
    addon_utils.enable("neural_portrait", default_set=True)
    from neural_portrait import session
    from neural_portrait.scene import find, portrait

    def done(result):
        assert result == {"FINISHED"}, session.engine().status.message
        assert session.engine().status.state != "error", session.engine().status.message

    def head():
        """Return the plain head at each frame, in head space."""
        found = []
        for frame in plan["frames"]:
            scene.frame_set(frame)
            ob = find.part(root, "DRIVER").evaluated_get(bpy.context.evaluated_depsgraph_get())
            co = np.empty(3 * len(ob.data.vertices), np.float32)
            ob.data.vertices.foreach_get("co", co)
            matrix = np.array(root.matrix_world.inverted() @ ob.matrix_world)
            found.append(co.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
        return np.array(found)

    scene = bpy.context.scene
    settings = scene.portrait
    settings.model, settings.seed, settings.detail, settings.size = plan["model"], plan["seed"], 32, 32
    done(bpy.ops.portrait.create())
    root = find.current(bpy.context)
    rig = find.part(root, "RIG")
    for name, (frame, value) in plan["keys"].items():
        for at, amount in ((frame - 1, 0.0), (frame, value)):
            rig[name] = amount
            rig.keyframe_insert(f'["{name}"]', frame=at)
    rig.update_tag()
    arrays = {"before": head(), "file_before": np.frombuffer(portrait.kept_bytes(root), np.uint8)}
    identity = find.identity_of(root)
    for name, value in plan["sliders"].items():
        identity.sliders[name].value = value
    settings.person_mix_seed, settings.person_mix = plan["mix"]
    done(bpy.ops.portrait.apply_person())
    arrays |= {"after": head(), "file_after": np.frombuffer(portrait.kept_bytes(root), np.uint8)}
    np.savez(folder / "result.npz", **arrays)
    values = {item.name: item.value for item in identity.sliders}
    (folder / "result.json").write_text(json.dumps(values))
    addon_utils.disable("neural_portrait", default_set=True)


main()
sys.stdout.flush()
if not bpy.app.binary_path:  # wheels before 5.0 may hang or crash at their exit
    os._exit(0)
