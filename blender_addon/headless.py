# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the jobs of a file: scene, portrait, keys, frames, .blend. `batch.py` finds the package and calls `main`.

Blender prints lines of its own, so what a program should read is one JSON object a line after the word PORTRAIT.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import bpy

from . import frames, job, properties, tasks
from .engine import Engine, Status
from .frames import path_of
from .neural_core import errors, files
from .preferences import MODELS_VARIABLE, PYTHON_VARIABLE
from .scene import curves, find, lights, portrait
from .sentences import engine_missing
from .worker_client import WorkerSettings

EXIT_CODES = {
    **dict.fromkeys(("usage", "input"), 2),
    **dict.fromkeys(("engine", "model"), 3),
    **dict.fromkeys(("worker", "protocol", "memory", "internal"), 4),
    **dict.fromkeys(("cancelled", "timeout"), 5),
}
FAILED = 1
SKIPPED = 6


def main(arguments: list[str], registered: bool) -> int:
    """Run a command line; returns the exit code of `batch.py`."""
    parser = argparse.ArgumentParser(prog="batch.py", description="Run a Neural Portrait job file.")
    parser.add_argument("job", type=Path, help="the job file (.toml)")
    parser.add_argument("--frames", default=None, help='such as "1-50"; beats the job file')
    parser.add_argument("--resume", action="store_true", help="skip frames that are there already")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as render.size=512")
    options = parser.parse_args(arguments)
    try:
        jobs = job.read(options.job, tuple(options.set))
        if options.frames is not None:
            job.parse_frames(options.frames)
            jobs = [
                dataclasses.replace(one, scene=dataclasses.replace(one.scene, frames=options.frames)) for one in jobs
            ]
        if options.resume:
            jobs = [dataclasses.replace(one, policy=dataclasses.replace(one.policy, resume=True)) for one in jobs]
        if not registered:
            properties.register()
        skipped = sum(_run(one, options.job.resolve().parent, number) for number, one in enumerate(jobs, 1))
    except errors.PortraitError as error:
        code = EXIT_CODES.get(error.kind, FAILED)
        say("error", code=code, kind=error.kind, message=error.message, hint=error.hint)
        print(f"batch: {error}", file=sys.stderr)
        return code
    say("done", skipped=skipped)
    return SKIPPED if skipped else 0


def say(event: str, **facts: Any) -> None:
    """Print one line for programs."""
    print("PORTRAIT", json.dumps({"event": event, **facts}), flush=True)


def _run(one: job.Job, folder: Path, number: int) -> int:
    """Run a job; returns how many frames were skipped because they failed."""
    say("job", number=number, name=one.name, do=one.do)
    settings = worker_settings(one.worker)
    engine = Engine(lambda: settings)
    try:
        fresh = _prepare_scene(one.scene, folder)
        root = _prepare_portrait(one, engine, folder)
        last = _animate(one.portrait, root, folder)
        scene = bpy.context.scene
        if fresh:
            _furnish(scene, one, last)
        _choose_camera(one.scene, root)
        bpy.context.view_layer.update()
        skipped = frames.render(one, root, engine, folder, say) if one.render else 0
        if one.policy.save_blend:
            _save(path_of(one.policy.save_blend, folder))
    finally:
        engine.stop()
    return skipped


def worker_settings(table: job.WorkerTable) -> WorkerSettings:
    """Return how the job wants its engine.

    Raises:
        PortraitError: kind "engine", if no Python is named.
    """
    python = table.python
    if python.startswith("env:"):
        variable = python.removeprefix("env:")
        # With the bpy wheel the user already chose a Python; Blender's own is never the engine's.
        own = sys.executable if variable == PYTHON_VARIABLE and not bpy.app.binary_path else ""
        python = os.environ.get(variable) or own
    if not python:
        raise engine_missing()
    return WorkerSettings(python, table.models or os.environ.get(MODELS_VARIABLE, ""), table.device)


def _prepare_scene(table: job.SceneTable, folder: Path) -> bool:
    """Open the job's .blend, or keep that of the command line, or make an empty scene; True if it is a new one."""
    if table.blend:
        path = path_of(table.blend, folder)
        if not path.is_file():
            raise errors.InputError(f'There is no .blend "{path}".')
        try:
            bpy.ops.wm.open_mainfile(filepath=str(path))
        except RuntimeError as error:
            raise errors.InputError(f'"{path.name}" cannot be opened: {str(error).strip()}') from error
        return False
    if bpy.data.filepath:
        return False
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return True


def _prepare_portrait(one: job.Job, engine: Engine, folder: Path) -> bpy.types.Object:
    """Create the job's portrait, or find it in the scene; returns its root."""
    scene, table = bpy.context.scene, one.portrait
    if table.create is not None:
        choice = table.create.choice()
        if choice.photo:
            choice = dataclasses.replace(choice, photo=str(path_of(choice.photo, folder)))
        created = engine.run("Create Portrait", tasks.create(choice), one.worker.timeout_s, _watch)
        root = portrait.build(scene, created)
    elif table.rig:
        ob = scene.objects.get(table.rig) or bpy.data.collections.get(table.rig)
        if isinstance(ob, bpy.types.Collection):
            ob = next((part for part in ob.objects if find.root_of(part)), None)
        root = find.root_of(ob)
        if root is None:
            known = ", ".join(f'"{root.name}"' for root in find.roots(scene)) or "none"
            raise errors.InputError(f'The scene has no portrait "{table.rig}".', f"Portraits of the scene: {known}.")
    else:
        found = find.roots(scene)
        if len(found) != 1:
            raise errors.InputError(
                f"The scene has {len(found)} portraits.", "Name one in portrait.rig, or make one with portrait.create."
            )
        (root,) = found
    if table.show:
        portrait.show(root, table.show)
    return root


def _animate(table: job.PortraitTable, root: bpy.types.Object, folder: Path) -> int:
    """Put curves files and keys on the rig; returns the last frame that has a key, 0 without keys."""
    if not table.actions and not table.key:
        return 0
    rig = find.part(root, "RIG")
    if rig is None:
        raise errors.InputError(f'"{root.name}" has no rig to animate.', 'Add "rig" to portrait.create.make.')
    last = 0
    for name in table.actions:
        last = max(last, curves.apply_file(rig, path_of(name, folder), bpy.context.scene, table.start))
    for entry in table.key:
        for name, value in entry.expression.items():
            rig[name] = value
            curves.key(rig, name, entry.frame)
        last = max(last, entry.frame)
    rig.update_tag()
    return last


def _furnish(scene: bpy.types.Scene, one: job.Job, last_frame: int) -> None:
    """Give a scene that we made ourselves what a picture needs: range, size, background, honest colours."""
    scene.frame_start, scene.frame_end = 1, max(1, last_frame)
    scene.render.resolution_x = scene.render.resolution_y = (one.render.size if one.render else 0) or 512
    lights.use_standard_view(scene)
    lights.ensure_world(scene)


def _choose_camera(table: job.SceneTable, root: bpy.types.Object) -> None:
    scene = bpy.context.scene
    if table.camera:
        ob = scene.objects.get(table.camera)
        if ob is None or ob.type != "CAMERA":
            raise errors.InputError(f'The scene has no camera "{table.camera}".')
        scene.camera = ob
    elif scene.camera is None:
        scene.camera = find.part(root, "CAMERA")


def _save(path: Path) -> None:
    bpy.context.scene.frame_set(bpy.context.scene.frame_start)
    with files.replacing(path) as partial:
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(partial), copy=True, compress=True, check_existing=False)
        except RuntimeError as error:
            raise errors.PortraitError(f'Cannot write "{path}": {str(error).strip()}', kind="output") from error
    say("file", what="blend", path=str(path))


def _watch(status: Status) -> None:
    say("stage", stage=status.stage, done=round(100 * status.fraction), total=100)
