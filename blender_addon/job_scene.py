# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of a job: opened or made, with its portrait, what moves it, and its camera."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

from . import job, tasks
from .engine import Engine, Status
from .job_plan import Place
from .neural_core import errors, files
from .random_motion import Amounts
from .requests import SpeakChoice, TrackChoice
from .scene import baked, clips, curves, find, lights, performances, portrait, speech

Watch = Callable[[Status], None]
"""Is called whenever the engine begins a stage."""


def open_scene(place: Place) -> None:
    """Open the job's .blend as it lies on the disk, or make an empty scene."""
    if place.blend is None:
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        return
    try:
        bpy.ops.wm.open_mainfile(filepath=str(place.blend))
    except RuntimeError as error:
        raise errors.InputError(f'"{place.blend.name}" cannot be opened: {str(error).strip()}') from error


def prepare_portrait(one: job.Job, engine: Engine, place: Place, watch: Watch) -> bpy.types.Object:
    """Create the job's portrait, or find it in the scene; returns its root."""
    table = one.portrait
    if table.create is None:
        root = find_portrait(table)
    else:
        choice = table.create.choice()
        if choice.photo:
            choice = dataclasses.replace(choice, photo=str(place.path(choice.photo)))
        created = engine.run("Create Portrait", tasks.create(choice), one.worker.timeout_s, watch)
        root = portrait.build(bpy.context.scene, created)
    if table.show:
        portrait.show(root, table.show)
    return root


def find_portrait(table: job.PortraitTable) -> bpy.types.Object:
    """Return the root of the portrait of the scene that a job names, or of the only one."""
    scene = bpy.context.scene
    if table.rig:
        ob = scene.objects.get(table.rig) or bpy.data.collections.get(table.rig)
        if isinstance(ob, bpy.types.Collection):
            ob = next((part for part in ob.objects if find.root_of(part)), None)
        root = find.root_of(ob)
        if root is None:
            known = ", ".join(f'"{root.name}"' for root in find.roots(scene)) or "none"
            raise errors.InputError(f'The scene has no portrait "{table.rig}".', f"Portraits of the scene: {known}.")
        return root
    found = find.roots(scene)
    if len(found) != 1:
        raise errors.InputError(
            f"The scene has {len(found)} portraits.", "Name one in portrait.rig, or make one with portrait.create."
        )
    return found[0]


def _rig_of(root: bpy.types.Object) -> bpy.types.Object:
    rig = find.part(root, "RIG")
    if rig is None:
        raise errors.InputError(f'"{root.name}" has no rig to animate.', 'Add "rig" to portrait.create.make.')
    return rig


def speak(
    one: job.Job, table: job.SpeakTable, root: bpy.types.Object, engine: Engine, place: Place, watch: Watch
) -> tuple[tasks.Speech, int]:
    """Let the portrait say what was recorded; returns what that is, and its last frame."""
    scene, rig, audio = bpy.context.scene, _rig_of(root), place.path(table.audio)
    choice = SpeakChoice(str(audio), speech.rate_for(scene), table.strength, table.gestures, table.seed)
    spoken = engine.run("Curves from Speech", tasks.speak(choice), one.worker.timeout_s, watch)
    strip = speech.put(rig, spoken, scene, table.start)
    if table.sound:
        speech.add_sound(scene, audio, table.start)  # a Blender without sound still moves the lips
    return spoken, math.ceil(strip.frame_end)


def follow(one: job.Job, root: bpy.types.Object, engine: Engine, place: Place, watch: Watch) -> int:
    """Let the portrait do what somebody does in the job's clip; returns the last frame of that."""
    scene, rig, table, path = bpy.context.scene, _rig_of(root), one.animate, place.path(one.animate.clip)
    choice = TrackChoice(str(path), table.clip_frames, table.clip_smoothing)
    motion = engine.run("Curves from Video", tasks.track(choice), one.worker.timeout_s, watch)
    strip = clips.put(rig, motion, scene, table.start, table.clip_strength, table.clip_head)
    if table.clip_sound and motion.sound:
        speech.add_sound(scene, path, table.start)  # a Blender without sound still moves the face
    return math.ceil(strip.frame_end)


def animate(one: job.Job, root: bpy.types.Object, place: Place) -> int:
    """Put curves files, keys and layers of motion on the rig; returns the last frame that moves, 0 without any."""
    table, layered, scene = one.portrait, one.animate, bpy.context.scene
    if not (table.actions or table.key or layered.csv or layered.random):
        return 0
    rig, last = _rig_of(root), 0
    for name in table.actions:
        last = max(last, curves.apply_file(rig, place.path(name), scene, table.start))
    for entry in table.key:
        for name, value in entry.expression.items():
            rig[name] = value
            curves.key(rig, name, entry.frame)
        last = max(last, entry.frame)
    if layered.csv:
        path, fps = place.path(layered.csv), layered.csv_fps or None
        _, numbers = performances.add_recording(rig, scene, path, layered.start, fps, layered.csv_head)
        last = max(last, int(numbers[-1]))
    if layered.random:
        chosen = layered.random
        numbers = layered.start + np.arange(chosen.frames)
        amounts = Amounts(chosen.blinks, chosen.gaze, chosen.head, chosen.micro)
        performances.add_random(rig, scene, numbers, chosen.seed, amounts)
        last = max(last, int(numbers[-1]))
    rig.update_tag()
    return last


def furnish(scene: bpy.types.Scene, one: job.Job, last_frame: int) -> None:
    """Give a scene that we made ourselves what a picture needs: range, size, background, honest colours."""
    scene.frame_start, scene.frame_end = 1, max(1, last_frame)
    scene.render.resolution_x = scene.render.resolution_y = (one.render.size if one.render else 0) or 512
    scene.portrait.size = one.portrait.create.size if one.portrait.create else scene.portrait.size
    lights.use_standard_view(scene)
    lights.ensure_world(scene)


def choose_camera(table: job.SceneTable, root: bpy.types.Object) -> None:
    """Make the job's camera the scene's, else keep that, else take the portrait's own. Raises InputError."""
    scene = bpy.context.scene
    if table.camera:
        ob = scene.objects.get(table.camera)
        if ob is None or ob.type != "CAMERA":
            raise errors.InputError(f'The scene has no camera "{table.camera}".')
        scene.camera = ob
    elif scene.camera is None:
        scene.camera = find.part(root, "CAMERA")


def drop_baked(scene: bpy.types.Scene) -> None:
    """Take the baked frames of a new scene off its cards: they lie in a folder that Blender deletes."""
    for root in find.roots(scene):
        baked.show_live(root)
        plane = find.part(root, "PLANE")
        if plane is not None and plane.portrait.baked_image is not None:
            bpy.data.images.remove(plane.portrait.baked_image)


def save(path: Path) -> None:
    """Write the scene as it is at its first frame. Raises PortraitError of kind "output"."""
    files.make_folder(path.parent)
    bpy.context.scene.frame_set(bpy.context.scene.frame_start)
    with files.replacing(path) as partial:
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(partial), copy=True, compress=True, check_existing=False)
        except RuntimeError as error:
            raise errors.PortraitError(f'Cannot write "{path}": {str(error).strip()}', kind="output") from error
