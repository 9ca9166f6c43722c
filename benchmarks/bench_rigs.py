# SPDX-License-Identifier: Apache-2.0
"""What a frame of our rigs costs in Blender: keys on sliders and bones, every vertex brought up to date.

    python benchmarks/bench_rigs.py [--frames 24] [--repeats 3]                  (with the bpy wheel)
    blender -b --factory-startup -P benchmarks/bench_rigs.py -- [--frames 24]    (Blender that sees this folder)

The rigs are those of the add-on with the sizes of what they are for, made of random numbers: a portrait with a surface
as Create makes it, FLAME and SMPL as their files have them. Prints the median processor milliseconds of a `frame_set`,
of all threads, and the ratio to a plain armature that deforms a mesh of as many vertices by as many bones, in the same
run. Then what each part of a rig adds, by taking one after the other away.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
Parts = Iterator[tuple[str, Callable[[], None]]]


def milliseconds(frames: int, repeats: int) -> float:
    """Return the median processor time of a frame."""
    times = []
    for _ in range(repeats + 1):
        began = time.process_time()
        for frame in range(1, frames + 1):
            bpy.context.scene.frame_set(frame)
        times.append(1000 * (time.process_time() - began) / frames)
    return statistics.median(times[1:])  # the first round builds what Blender keeps


def animate(armature: bpy.types.Object, sliders: list[str], bones: list[str], frames: int) -> None:
    """Key all sliders and bones: every driver has something to do at every frame."""
    rng = np.random.default_rng(0)
    for frame in range(1, frames + 1, 4):
        for slider in sliders:
            armature[slider] = float(rng.uniform(0.05, 0.5))
            armature.keyframe_insert(f'["{slider}"]', frame=frame)
        for name in bones:
            bone = armature.pose.bones[name]
            bone.rotation_quaternion = (1.0, *rng.normal(0.0, 0.05, 3))
            bone.keyframe_insert("rotation_quaternion", frame=frame)
    armature.update_tag()


def grid(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a mesh of about so many vertices."""
    side = round(count**0.5)
    rows, columns = np.divmod(np.arange(side * side), side)
    vertices = np.stack([rows, columns, np.zeros(side * side)], axis=1) / side
    first = np.arange(side * (side - 1)).reshape(side - 1, side)[:, :-1].ravel()
    faces = [np.stack([first, first + 1, first + side], 1), np.stack([first + 1, first + side + 1, first + side], 1)]
    return vertices.astype(np.float32), np.concatenate(faces).astype(np.int32)


def weights(vertices: int, joints: int) -> np.ndarray:
    """Return weights of which four a vertex are not 0."""
    rng = np.random.default_rng(1)
    found = np.zeros((vertices, joints), np.float32)
    for _ in range(4):
        found[np.arange(vertices), rng.integers(0, joints, vertices)] += 0.25
    return found


def plain(addon: Callable, vertices: int, joints: int, frames: int) -> None:
    """Build an armature and a mesh without keys or drivers."""
    mesh, rig = addon("scene.mesh"), addon("scene.rig")
    names, parents = [f"bone{number}" for number in range(joints)], np.arange(joints) - 1
    collection = bpy.context.scene.collection
    armature = rig.make_armature("plain", collection, names, np.random.default_rng(2).normal(size=(joints, 3)), parents)
    co, faces = grid(vertices)
    ob = bpy.data.objects.new("plain", mesh.from_arrays("plain", co, faces))
    collection.objects.link(ob)
    mesh.set_weights(ob, names, weights(len(co), joints))
    rig.bind(ob, armature)
    animate(armature, [], names, frames)


def face(addon: Callable, kind: str, sizes: dict[str, int], frames: int) -> Parts:
    """Build a rig of a face model; yield its parts, the last one first, each with what takes it away."""
    rng = np.random.default_rng(3)
    co, faces = grid(sizes["vertices"])
    joints, shapes, expressions = sizes["joints"], sizes["shapes"], sizes["expressions"]
    names = [f"joint{number}" for number in range(joints)]

    def random(*shape: int) -> np.ndarray:
        return rng.normal(0.0, 0.01, shape).astype(np.float32)

    arrays = {
        "vertices": co, "faces": faces, "weights": weights(len(co), joints), "joints": random(joints, 3),
        "parents": np.arange(joints, dtype=np.int32) - 1,
        "shapes": random(shapes, len(co), 3), "expressions": random(expressions, len(co), 3),
        "joint_shapes": random(shapes, joints, 3), "joint_expressions": random(expressions, joints, 3),
        "correctives": random(9 * (joints - 1), len(co), 3),
    }  # fmt: skip
    face_rig, tasks = addon("scene.face_rig"), addon("tasks")
    armature = face_rig.build(bpy.context.scene, tasks.FaceRig(kind, kind.lower(), "", names, [], arrays))
    animate(armature, [f"expression{number:03d}" for number in range(expressions)], names, frames)
    ob = next(child for child in armature.children if child.name.endswith("mesh"))
    drivers = ob.data.shape_keys.animation_data.drivers

    def drop_drivers() -> None:
        for curve in [curve for curve in drivers if curve.driver.type == "SCRIPTED"]:
            drivers.remove(curve)
        armature.update_tag()

    def drop_constraints() -> None:
        for bone in armature.pose.bones:
            for constraint in list(bone.constraints):
                bone.constraints.remove(constraint)

    yield "drivers of the correctives", drop_drivers
    yield "shape keys", ob.shape_key_clear
    yield "bones that follow the joints", drop_constraints


def portrait(addon: Callable, vertices: int, frames: int) -> Parts:
    """Build a portrait with a surface; yield its parts, the last one first, each with what takes it away."""
    rng = np.random.default_rng(4)
    actions, joints = list(addon("expressions").NAMES), ["root", "neck", "head", "jaw", "left_eye", "right_eye"]
    co, faces = grid(6619)
    moved = rng.normal(0.0, 0.002, (len(actions), len(co), 3)) * (rng.random((len(actions), len(co), 1)) < 0.15)
    uv = np.zeros((len(co), 2), np.float32)
    arrays = {
        "portrait": np.zeros(1000, np.uint8), "rig/vertices": co, "rig/faces": faces, "rig/uv": uv,
        "rig/uv_faces": faces, "rig/weights": weights(len(co), len(joints)), "rig/joints": rng.normal(size=(6, 3)),
        "rig/parents": np.arange(6) - 1, "rig/actions": moved.astype(np.float32),
    }  # fmt: skip
    fields = {"camera": [*np.eye(4).ravel(), *np.eye(3).ravel()], "action_names": actions, "joint_names": joints}
    requests, tasks, find = addon("requests"), addon("tasks"), addon("scene.find")
    shown, shown_faces = grid(vertices)
    index = rng.integers(0, len(co), (len(shown), 4)).astype(np.int32)
    share, grey = np.full(index.shape, 0.25, np.float32), np.full(shown.shape, 0.5, np.float32)
    choice = requests.CreateChoice(make_plane=False)
    surface = tasks.Surface(shown, shown_faces, grey, index, share)
    created = tasks.Created(choice, tasks.Portrait(choice.identifier, fields, arrays), None, surface)
    root = addon("scene.portrait").build(bpy.context.scene, created)
    armature, ob = find.part(root, "RIG"), find.part(root, "SURFACE")
    animate(armature, actions, ["neck", "head", "jaw"], frames)
    yield "smoothing", lambda: ob.modifiers.remove(ob.modifiers["Smooth"])
    yield "shape keys", ob.shape_key_clear


def report(name: str, parts: Parts, beside: float, flags: argparse.Namespace) -> None:
    """Measure a rig, then what is left of it part by part."""
    found = [(part, milliseconds(flags.frames, flags.repeats), take_away()) for part, take_away in parts]
    bare = milliseconds(flags.frames, flags.repeats)
    whole = found[0][1]
    print(f"{name}: {whole:.2f} ms a frame, {whole / beside:.2f} x a plain armature's {beside:.2f} ms")
    for (part, before, _), after in zip(found, [*(one for _, one, _ in found[1:]), bare], strict=True):
        print(f"  {part:<34} {before - after:6.2f} ms")
    print(f"  {'the rest':<34} {bare:6.2f} ms", flush=True)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    flags = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    import addon_utils

    from build_addon import stage

    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder))
        sys.path.insert(0, folder)

        def addon(name: str) -> object:
            return __import__(f"neural_portrait.{name}", fromlist=["_"])

        sizes = {
            "FLAME": {"vertices": 5023, "joints": 5, "shapes": 10, "expressions": 50},
            "SMPL": {"vertices": 6890, "joints": 24, "shapes": 10, "expressions": 0},
        }
        surface = 67000
        makers = {name: lambda name=name: face(addon, name, sizes[name], flags.frames) for name in sizes}
        makers["portrait"] = lambda: portrait(addon, surface, flags.frames)
        for name, make in makers.items():
            size = sizes.get(name, {"vertices": surface, "joints": 6})
            results = []
            for build in (lambda size=size: plain(addon, size["vertices"], size["joints"], flags.frames), make):
                bpy.ops.wm.read_factory_settings(use_empty=True)
                addon_utils.enable("neural_portrait", default_set=True)
                results.append(build())
                if len(results) == 1:
                    beside = milliseconds(flags.frames, flags.repeats)
            report(name, results[1], beside, flags)
        addon_utils.disable("neural_portrait", default_set=True)
    sys.stdout.flush()
    os._exit(0)  # the wheels crash or hang at exit


main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:])
