# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with the staged add-on and the stub worker: poses, gaze, and layers over the user's keys.

Arguments: folder of the stage, a recording (CSV), the .blend to write, the file of facts (JSON) to write.
"""

import json
import sys
from pathlib import Path

import bpy
from mathutils import Vector

stage, recording, blend, out = sys.argv[-4:]
sys.path.insert(0, stage)
import addon_utils  # noqa: E402  (after the path)

bpy.ops.wm.read_factory_settings(use_empty=True)
assert addon_utils.enable("neural_portrait", default_set=True) is not None
from neural_portrait import expressions, poses  # noqa: E402
from neural_portrait.scene import find  # noqa: E402

scene = bpy.context.scene
scene.portrait.detail, scene.portrait.size = 48, 32
scene.render.fps, scene.frame_start, scene.frame_end = 24, 1, 100
assert bpy.ops.portrait.create() == {"FINISHED"}
(root,) = find.roots(scene)
rig = find.part(root, "RIG")
facts = {}

scene.tool_settings.use_keyframe_insert_auto = True
scene.frame_set(1)
bpy.ops.portrait.apply_pose(pose="SURPRISE", strength=0.5)
scene.tool_settings.use_keyframe_insert_auto = False
facts["action"] = rig.animation_data.action.name

scene.frame_set(10)
bpy.ops.portrait.import_arkit_csv(filepath=recording, head="RADIANS")
bpy.ops.portrait.random_motion(seed=5, gaze=0.0, micro=0.0, head=0.0)
facts["tracks"] = [track.name for track in rig.animation_data.nla_tracks]
facts["same_action"] = rig.animation_data.action.name == facts["action"]


def seen():
    """Return what the rig shows at some frames."""
    found = {}
    for frame in (1, 10, 34, *range(35, 101)):
        scene.frame_set(frame)
        head = rig.pose.bones["head"].matrix.to_quaternion() @ Vector((0, 0, 1))
        found[str(frame)] = [rig["jawOpen"], rig["browInnerUp"], rig["eyeBlinkLeft"], head.x]
    return found


facts["poses"] = {}
bpy.ops.portrait.add_pose_assets()
values = {slider: rig[slider] for slider in expressions.NAMES}
for name in ("Laugh", "Mouth A (father)"):  # by Blender's own pose library, then by us
    shown = []
    for apply in (
        lambda name=name: rig.pose.blend_pose_from_action(
            bpy.data.actions[name], blend_factor=0.5, evaluation_time=1.0
        ),
        lambda name=name: bpy.ops.portrait.apply_pose(
            pose=next(one for one, pose in poses.LIBRARY.items() if pose.name == name), strength=0.5
        ),
    ):
        for slider in expressions.NAMES:
            rig[slider] = 0.4
        apply()
        shown.append([rig[slider] for slider in expressions.NAMES])
    facts["poses"][name] = shown
for slider, value in values.items():
    rig[slider] = value

facts["seen"] = seen()
bpy.ops.portrait.look_at()
rig.pose.bones["look_at"].location.x += 10.0
bpy.context.view_layer.update()
facts["eye"] = list(rig.pose.bones["left_eye"].matrix.to_3x3().col[2])
bpy.ops.wm.save_as_mainfile(filepath=blend)
addon_utils.disable("neural_portrait", default_set=True)
bpy.ops.wm.open_mainfile(filepath=blend)  # as somebody without the add-on does
scene = bpy.context.scene
rig = next(ob for ob in scene.objects if ob.type == "ARMATURE")
facts["without"] = seen()
Path(out).write_text(json.dumps(facts))
sys.exit(0)
