# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a real Blender with the staged add-on and the stub worker: clips as layers, heard, and those without a face.

Arguments: folder of the stage, a clip with sound, one without a face, the .blend to write, the file of facts (JSON).
"""

import json
import sys
from pathlib import Path

import bpy

stage, clip, faceless, blend, out = sys.argv[-5:]
sys.path.insert(0, stage)
import addon_utils  # noqa: E402  (after the path)

bpy.ops.wm.read_factory_settings(use_empty=True)
assert addon_utils.enable("neural_portrait", default_set=True) is not None
from neural_portrait import session  # noqa: E402
from neural_portrait.scene import curves, find  # noqa: E402

KINDS = (
    "objects",
    "meshes",
    "armatures",
    "actions",
    "images",
    "collections",
    "sounds",
    "materials",
    "texts",
    "cameras",
)
scene = bpy.context.scene
settings = scene.portrait
settings.detail, settings.size, settings.make_plane = 48, 32, False
scene.render.fps, scene.render.fps_base = 30, 1.001
facts = {}


def blocks():
    """Count what is in the file."""
    return {kind: len(getattr(bpy.data, kind)) for kind in KINDS}


def sounds():
    """Return the sounds in the sequencer: where each begins, and how many frames it lasts."""
    editor = scene.sequence_editor
    strips = () if editor is None else editor.strips if hasattr(editor, "strips") else editor.sequences
    starts = [strip.content_start if hasattr(strip, "content_start") else strip.frame_start for strip in strips]
    return [[strip.type, start, strip.frame_final_duration] for strip, start in zip(strips, starts, strict=True)]


def seen():
    """Return what the rig shows at some frames."""
    found = {}
    for frame in (1, 10, 11, 26, 41, 60):
        scene.frame_set(frame)
        found[str(frame)] = [rig["jawOpen"], rig.pose.bones["head"].matrix_basis.to_euler().y]
    return found


settings.source, settings.clip = "VIDEO", faceless
before = blocks()
facts["no person"] = [sorted(bpy.ops.portrait.create()), session.engine().status.message, blocks() == before]

settings.clip, settings.clip_animate, settings.clip_start = clip, True, 11
assert bpy.ops.portrait.create() == {"FINISHED"}
(root,) = find.roots(scene)
rig = find.part(root, "RIG")
facts["created"] = [[track.name for track in rig.animation_data.nla_tracks], sounds(), seen()]

layer = rig.animation_data.nla_tracks[0]
layer.mute = True  # else Blender takes what the layer does off the keys
for frame, value in ((1, 0.0), (26, 0.1), (60, 0.0)):
    rig["jawOpen"] = value
    curves.key(rig, "jawOpen", frame)
layer.mute = False
rig.update_tag()
scene.frame_set(5)
before = blocks()
settings.clip = faceless
facts["no face"] = [sorted(bpy.ops.portrait.track()), session.engine().status.message, blocks() == before]
settings.clip, settings.clip_strength = clip, 0.5
assert bpy.ops.portrait.track() == {"FINISHED"}
facts["frame"] = scene.frame_current
facts["tracked"] = [[[track.name, track.mute] for track in rig.animation_data.nla_tracks], sounds(), seen()]

bpy.ops.wm.save_as_mainfile(filepath=blend)
addon_utils.disable("neural_portrait", default_set=True)
bpy.ops.wm.open_mainfile(filepath=blend)
scene = bpy.context.scene
rig = next(ob for ob in scene.objects if ob.type == "ARMATURE")
facts["without"] = seen()
Path(out).write_text(json.dumps(facts))
