# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside any Blender, with the add-on as it ships and its own worker: a day's work on a portrait, in three sittings.

Arguments: `work`, `again` or `alone`, the folder of the stage, the folder of the scene, where plan.json lies.

work: create a person, key expressions and a bone, scrub, speak hello.wav, bake, render, write a job, save scene.blend.
again: open scene.blend with the add-on, and go on. alone: open it without.

Each sitting writes what it found as NAME.json and NAME.npz into the folder; `test_day.py` plans, and judges that.
"""

import json
import os
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
from mathutils import Quaternion

sitting, stage, folder = sys.argv[-3], sys.argv[-2], Path(sys.argv[-1])
plan = json.loads((folder / "plan.json").read_text())
keys = {int(frame): shown for frame, shown in plan["keys"].items()}
facts, arrays = {"seconds": {}}, {}


@contextmanager
def step(name):
    """Note how long a step takes."""
    started = time.perf_counter()
    yield
    facts["seconds"][name] = round(time.perf_counter() - started, 2)


def enable():
    """Switch on the add-on of the stage."""
    import addon_utils

    sys.path.insert(0, stage)
    assert addon_utils.enable("neural_portrait", default_set=True) is not None


def done(result):
    """Raise unless an operator did what it was asked."""
    from neural_portrait import session

    status = session.engine().status
    assert result == {"FINISHED"}, f"{result}: {status.message} {status.hint}"
    assert status.state != "error", status.message


def named(ending):
    """Return the object whose name ends so: these need no add-on to be found."""
    (found,) = [ob for ob in bpy.context.scene.objects if ob.name.endswith(ending)]
    return found


def positions(ob):
    """Return an object's vertices as they are drawn now, in its own space."""
    shown = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    co = np.empty(len(shown.data.vertices) * 3, np.float32)
    shown.data.vertices.foreach_get("co", co)
    return co.reshape(-1, 3)


def pixels(image):
    """Return an image as [h, w, 4] in 0..255, first row on top."""
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(image.size[1], image.size[0], 4)[::-1] * 255).astype(np.uint8)


def sliders(rig):
    """Return the sliders of the rig that are not 0, as they are evaluated."""
    shown = rig.evaluated_get(bpy.context.evaluated_depsgraph_get())
    names = [key.name for key in named("driver").data.shape_keys.key_blocks[1:]]
    return {name: shown[name] for name in names if abs(shown[name]) > 1e-6}


def look():
    """Go through the frames that are judged, and keep where the vertices are."""
    seen = {}
    for frame in (*keys, *plan["said"]):
        bpy.context.scene.frame_set(frame)
        seen[frame] = sliders(named("rig"))
        for part in ("driver", "surface"):
            arrays[f"{part}_{frame}"] = positions(named(part))
    facts["sliders"] = seen


def hand_keys(rig):
    """Return all keys of the rig's own action, by path and index."""
    from neural_portrait.scene import curves

    data = rig.animation_data
    bag = curves.channels(data.action, getattr(data, "action_slot", None), ensure=False)
    return {f"{one.data_path} {one.array_index}": [tuple(key.co) for key in one.keyframe_points] for one in bag.fcurves}


def listen_in():
    """Return a list to which each picture that is asked of the engine from now on is added."""
    from neural_portrait import session
    from neural_portrait.neural_core import protocol

    asked, send = [], session.engine()._send

    def note(request):
        if isinstance(request, protocol.Render):
            asked.append({"camera": request.camera, "controls": request.controls, "size": request.size})
        return send(request)

    session.engine()._send = note
    return asked


def work():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    enable()
    from neural_portrait import baking, pictures
    from neural_portrait.scene import find, portrait

    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.frame_step = 1, plan["last"], 2
    scene.render.fps = plan["fps"]
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.render.resolution_x = scene.render.resolution_y = plan["rendered"]
    scene.render.film_transparent, scene.view_settings.view_transform = True, "Standard"
    scene.portrait.size, scene.portrait.detail = plan["size"], plan["detail"]

    with step("create"):
        done(bpy.ops.portrait.create())
    (root,) = find.roots(scene)
    rig, identity = find.part(root, "RIG"), find.identity_of(root)
    facts["has_usd"] = "usd_export" in dir(bpy.ops.wm)  # Debian's Blenders are built without
    facts["model"], facts["animatable"] = identity.model, identity.animatable
    facts["parts"] = [ob.portrait.role for ob in root.users_collection[0].objects if ob.portrait.role != "NONE"]
    (folder / "person.portrait").write_bytes(portrait.kept_bytes(root))

    with step("key"):
        for frame, shown in keys.items():
            scene.frame_set(frame)
            done(bpy.ops.portrait.reset_expression())
            for name, value in shown.items():
                rig[name] = value
            done(bpy.ops.portrait.key_expression())
        head = rig.pose.bones["head"]
        for frame, turn in plan["head"].items():
            head.rotation_quaternion = Quaternion((0.0, 1.0, 0.0), turn)
            head.keyframe_insert("rotation_quaternion", frame=int(frame))
        rig.update_tag()

    asked = listen_in()
    with step("scrub"):
        for frame in keys:
            scene.frame_set(frame)
            done(bpy.ops.portrait.update_picture())
            arrays[f"picture_{frame}"] = pixels(find.part(root, "PLANE").portrait.live_image)
    facts["asked"] = dict(zip(keys, asked, strict=True))

    with step("speak"):
        before = hand_keys(rig)
        scene.portrait.speech, scene.portrait.speech_start = str(folder / "hello.wav"), plan["speech"]
        done(bpy.ops.portrait.speak())
    facts["hand_keys"], facts["kept_keys"] = before, hand_keys(rig)
    facts["layers"] = [track.name for track in rig.animation_data.nla_tracks]
    editor = scene.sequence_editor
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # until Blender 4.3
    facts["sounds"] = [[strip.name, strip.frame_final_start] for strip in strips]
    facts["has_sound"] = bpy.app.build_options.audaspace
    facts["jaw"] = {}
    for frame in range(plan["speech"], plan["last"] + 1):
        scene.frame_set(frame)
        facts["jaw"][frame] = sliders(rig).get("jawOpen", 0.0)
    look()

    done(bpy.ops.portrait.show(what="PICTURE"))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "scene.blend"))
    pictures.drawn.clear()
    asked.clear()
    with step("bake"):
        done(bpy.ops.portrait.bake())
    facts["baked"] = len(asked)
    scene.render.filepath = "//rendered_####.png"
    with step("render"):
        done(bpy.ops.portrait.render())
    facts["asked_by_render"] = len(asked) - facts["baked"]

    with step("save"):
        scene.frame_set(plan["opened"])
        bpy.ops.wm.save_mainfile()
        done(bpy.ops.portrait.write_job(filepath=str(folder / "job.toml"), what="scene", out="//job/####.png"))
    facts["missing"] = len(baking.plan(root, scene, range(1, plan["last"] + 1), careful=True).missing)
    facts["sequence"] = sequence()


def sequence():
    """Return the folder and name of the frames on the card, and which image is packed."""
    node = named("picture").data.materials[0].node_tree.nodes["Picture"]
    path = Path(bpy.path.abspath(node.image.filepath))
    live = [image.name for image in bpy.data.images if image.packed_file is not None]
    return {"source": node.image.source, "folder": str(path.parent), "file": path.name, "packed": live}


def again():
    enable()
    with step("open"):
        bpy.ops.wm.open_mainfile(filepath=str(folder / "scene.blend"))
    from neural_portrait import baking, live
    from neural_portrait.scene import find

    scene = bpy.context.scene
    (root,) = find.roots(scene)
    rig, plane = find.part(root, "RIG"), find.part(root, "PLANE")
    facts["frame"], facts["sequence"] = scene.frame_current, sequence()
    facts["missing"] = len(baking.plan(root, scene, range(1, plan["last"] + 1), careful=True).missing)
    facts["stored"] = hand_keys(rig)
    look()
    asked = listen_in()
    with step("picture"):
        scene.frame_set(plan["opened"])
        done(bpy.ops.portrait.update_picture())
        arrays["picture"] = pixels(plane.portrait.live_image)
    with step("live"):
        done(bpy.ops.portrait.live_picture())
        for name, value in plan["by_hand"].items():
            rig[name] = value
        rig.update_tag()
        bpy.context.view_layer.update()
        live.update()  # as its timer does, which never runs without a window
        facts["remark"] = live.remark(scene)
        arrays["live"] = pixels(plane.portrait.live_image)
        arrays["driver_by_hand"] = positions(named("driver"))
    facts["asked"] = asked
    done(bpy.ops.portrait.live_picture())
    with step("surface"):
        done(bpy.ops.portrait.update_mesh())
    arrays["new_surface"] = positions(named("surface"))


def alone():
    import addon_utils

    assert not hasattr(bpy.types.Object, "portrait")
    assert "neural_portrait" not in {module.__name__ for module in addon_utils.modules()}
    with step("open"):
        bpy.ops.wm.open_mainfile(filepath=str(folder / "scene.blend"))
    scene = bpy.context.scene
    facts["scripts"] = bpy.context.preferences.filepaths.use_scripts_auto_execute
    facts["frame"], facts["sequence"] = scene.frame_current, sequence()
    facts["colours"] = [layer.name for layer in named("surface").data.color_attributes]
    facts["bones"] = [bone.name for bone in named("rig").data.bones]
    look()
    rig = named("rig")
    scene.frame_set(plan["opened"])
    for name, value in plan["by_hand"].items():
        rig[name] = value
    rig.update_tag()
    arrays["driver_by_hand"] = positions(named("driver"))
    with step("render"):
        for frame in plan["alone"]:
            scene.frame_set(frame)
            scene.render.filepath = str(folder / f"alone_{frame:04d}.png")
            bpy.ops.render.render(write_still=True)


code = 1
try:
    {"work": work, "again": again, "alone": alone}[sitting]()
    (folder / f"{sitting}.json").write_text(json.dumps(facts))
    np.savez(folder / f"{sitting}.npz", **arrays)
    if sitting != "alone":
        import addon_utils

        addon_utils.disable("neural_portrait", default_set=True)
    code = 0
except Exception:
    traceback.print_exc()
sys.stdout.flush()
sys.stderr.flush()
if not bpy.app.binary_path:  # the wheels 4.2 and 4.5 crash or hang in their exit handlers
    os._exit(code)
sys.exit(code)
