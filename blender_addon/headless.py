# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the jobs of a file: scene, portrait, keys, frames, files. `batch.py` finds the package and calls `main`.

Blender prints lines of its own, so what a program should read is one JSON object a line after the word PORTRAIT. The
last of them is the summary, which is also written beside the job file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import frames, job, job_plan, model_list, properties, tasks
from .engine import Engine, Status
from .frame_record import FrameRecord, digest_of, key_of
from .job_plan import Place
from .neural_core import errors, files
from .preferences import MODELS_VARIABLE, PYTHON_VARIABLE
from .random_motion import Amounts
from .requests import SpeakChoice
from .scene import baked, curves, exporting, find, lights, performances, portrait, speech, turntable
from .sentences import engine_missing
from .worker_client import WorkerSettings

EXIT_CODES = {
    **dict.fromkeys(("usage", "input", "output"), 2),
    **dict.fromkeys(("engine", "model"), 3),
    **dict.fromkeys(("worker", "protocol", "memory", "internal"), 4),
    **dict.fromkeys(("cancelled", "timeout"), 5),
}
FAILED = 1
CANCELLED = 5
SKIPPED = 6


@dataclass
class _Outcome:
    """What became of a job, for the summary."""

    number: int
    one: job.Job
    state: str = "not started"
    seconds: float = 0.0
    frames: frames.Tally = field(default_factory=frames.Tally)
    files: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        return {
            "number": self.number,
            "name": self.one.name,
            "do": self.one.do,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "frames": dataclasses.asdict(self.frames),
            "files": self.files,
        }


def main(arguments: list[str], registered: bool) -> int:
    """Run a command line; returns the exit code of `batch.py`."""
    parser = argparse.ArgumentParser(prog="batch.py", description="Run a Neural Portrait job file.")
    parser.add_argument("job", type=Path, help="the job file (.toml)")
    parser.add_argument("--frames", default=None, help='such as "1-50"; beats the job file')
    parser.add_argument("--resume", action="store_true", help="keep what is there already, whole and up to date")
    parser.add_argument("--dry-run", action="store_true", help="only look whether all is there, and print the plan")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as render.size=512")
    parser.add_argument("--summary", type=Path, help="where the summary goes; default: beside JOB, as .summary.json")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a farm that stops a task: leave as if cancelled
    started, outcomes = time.monotonic(), []
    summary: dict[str, Any] = {"event": "done", "code": 0}
    try:
        jobs = _read(options)
        outcomes = [_Outcome(number, one) for number, one in enumerate(jobs, 1)]
        if not registered:
            properties.register()
        folder = options.job.resolve().parent
        given = Path(bpy.data.filepath) if bpy.data.filepath else None
        job_plan.check(jobs, folder, given, [_found_settings(one.worker) for one in jobs])
        for path in (Path(name) for one in jobs if one.export for name in one.export.out):
            exporting.check(path)
        if options.dry_run:
            summary = {"event": "plan", "code": 0, "jobs": list(_plan(outcomes, folder, given))}
        else:
            _run_all(outcomes, folder, given)
            summary["code"] = SKIPPED if any(outcome.frames.skipped for outcome in outcomes) else 0
    except errors.PortraitError as error:
        code = EXIT_CODES.get(error.kind, FAILED)
        summary = {"event": "error", "code": code, "kind": error.kind, "message": error.message, "hint": error.hint}
        print(f"batch: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        summary = {"event": "error", "code": CANCELLED, "kind": "cancelled", "message": "Cancelled.", "hint": ""}
        print("batch: cancelled.", file=sys.stderr)
    if not options.dry_run:
        summary |= {"seconds": round(time.monotonic() - started, 3)}
        summary |= {"jobs": [outcome.describe() for outcome in outcomes]}
        _write_summary(options.summary or options.job.with_suffix(".summary.json"), summary)
    say(**summary)
    return summary["code"]


def say(event: str, **facts: Any) -> None:
    """Print one line for programs."""
    print("PORTRAIT", json.dumps({"event": event, **facts}), flush=True)


def _read(options: argparse.Namespace) -> list[job.Job]:
    """Return the jobs of the command line."""
    jobs = job.read(options.job, tuple(options.set))
    if options.frames is not None:
        jobs = [job.with_frames(one, options.frames) for one in jobs]
    return [job.resumed(one) for one in jobs] if options.resume else jobs


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary; where that fails all else is done, and standard output has it as well."""
    try:
        files.write_bytes(path, json.dumps(summary, indent=1).encode())
    except errors.PortraitError as error:
        print(f"batch: {error}", file=sys.stderr)


def _plan(outcomes: list[_Outcome], folder: Path, given: Path | None) -> Iterator[dict[str, Any]]:
    """Yield what each job will do. Scenes that are there already are opened, so that their parts are seen.

    Raises:
        PortraitError: if a scene lacks what its job names.
    """
    for outcome in outcomes:
        one, place = outcome.one, job_plan.place_of(outcome.one, folder, given)
        numbers = job.parse_frames(one.scene.frames) or None
        if one.turntable is not None and numbers is None:
            numbers = list(one.turntable.numbers)
        if place.blend is not None and place.blend.is_file():
            _open_scene(place)
            if one.portrait.create is None:
                root = _find_portrait(one.portrait)
                _choose_camera(one.scene, root)
            if one.render is not None and one.turntable is None:
                numbers = frames.numbers_of(one, bpy.context.scene)
        yield job_plan.describe(one, outcome.number, place, numbers)


def _run_all(outcomes: list[_Outcome], folder: Path, given: Path | None) -> None:
    """Run the jobs one after another; the engine stays from one to the next as long as they want the same."""
    current = outcomes[0].one.worker
    engine = Engine(lambda: worker_settings(current))
    try:
        for outcome in outcomes:
            current, started = outcome.one.worker, time.monotonic()
            outcome.state = "failed"
            say("job", number=outcome.number, name=outcome.one.name, do=outcome.one.do)
            try:
                _run(outcome, job_plan.place_of(outcome.one, folder, given), engine)
            finally:
                outcome.seconds = time.monotonic() - started
            outcome.state = "done"
    finally:
        engine.stop()


def _run(outcome: _Outcome, place: Place, engine: Engine) -> None:
    """Run a job, and note in `outcome` what it made."""
    one = outcome.one
    key = _job_key(one, place)
    if one.policy.resume and one.render is None and _all_kept(one, place, key):
        outcome.files = [str(path) for _, path in job_plan.outputs(one, place)]
        say("kept", files=outcome.files)
        return
    _open_scene(place)
    root = _prepare_portrait(one, engine, place)
    last = _animate(one, root, place)
    if one.speak is not None:
        last = max(last, _speak(one, one.speak, root, engine, place, key, outcome))
    scene = bpy.context.scene
    if place.blend is None:
        _furnish(scene, one, last)
    _choose_camera(one.scene, root)
    if one.turntable is not None:
        round_ = one.turntable
        bpy.context.view_layer.update()
        turntable.add(root, scene, round_.frames, round_.start, round_.yaw, round_.pitch)
        scene.frame_start, scene.frame_end = round_.numbers[0], round_.numbers[-1]
    bpy.context.view_layer.update()
    if one.render is not None:
        frames.render(one, root, engine, place, say, outcome.frames)
    for path in map(place.path, one.export.out if one.export else ()):
        files.make_folder(path.parent)
        scene.frame_set(one.export.frame)
        exporting.write(root, path, one.export.what)
        _note(path, "export", key, outcome)
    if one.policy.save_blend:
        path = place.path(one.policy.save_blend)
        if place.blend is None:
            _drop_baked(scene)
        _save(path)
        _note(path, "blend", key, outcome)


def _job_key(one: job.Job, place: Place) -> str:
    """Return the digest of what decides a job's files: its tables but for engine and policy, and all that it reads."""
    tables = dataclasses.asdict(dataclasses.replace(one, name="", worker=job.WorkerTable(), policy=job.PolicyTable()))
    sources = [path for _, path in job_plan.inputs(one, place)]
    if place.blend is not None:
        sources.append(place.blend)
    if one.portrait.create is not None:
        models = model_list.models(worker_settings(one.worker).models_folder)
        sources.append(models[one.portrait.create.model].path)
    return key_of({"job": tables, "reads": [digest_of(path) for path in sources], "blender": bpy.app.version_string})


def _all_kept(one: job.Job, place: Place, key: str) -> bool:
    """Return whether all that a job writes is there already, made from the same."""
    return all(FrameRecord(path.parent).holds(path, key) for _, path in job_plan.outputs(one, place))


def _note(path: Path, what: str, key: str, outcome: _Outcome) -> None:
    """Record a file that was written."""
    FrameRecord(path.parent).add(path, key, what=what)
    outcome.files.append(str(path))
    say("file", what=what, path=str(path))


def _found_settings(table: job.WorkerTable) -> WorkerSettings | None:
    """Return how the job wants its engine; None if it names no Python."""
    try:
        return worker_settings(table)
    except errors.PortraitError:
        return None


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


def _open_scene(place: Place) -> None:
    """Open the job's .blend as it lies on the disk, or make an empty scene."""
    if place.blend is None:
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        return
    try:
        bpy.ops.wm.open_mainfile(filepath=str(place.blend))
    except RuntimeError as error:
        raise errors.InputError(f'"{place.blend.name}" cannot be opened: {str(error).strip()}') from error


def _prepare_portrait(one: job.Job, engine: Engine, place: Place) -> bpy.types.Object:
    """Create the job's portrait, or find it in the scene; returns its root."""
    table = one.portrait
    if table.create is None:
        root = _find_portrait(table)
    else:
        choice = table.create.choice()
        if choice.photo:
            choice = dataclasses.replace(choice, photo=str(place.path(choice.photo)))
        created = engine.run("Create Portrait", tasks.create(choice), one.worker.timeout_s, _watch)
        root = portrait.build(bpy.context.scene, created)
    if table.show:
        portrait.show(root, table.show)
    return root


def _find_portrait(table: job.PortraitTable) -> bpy.types.Object:
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


def _speak(
    one: job.Job,
    table: job.SpeakTable,
    root: bpy.types.Object,
    engine: Engine,
    place: Place,
    key: str,
    outcome: _Outcome,
) -> int:
    """Let the portrait say what was recorded; returns the last frame of that."""
    scene, rig, audio = bpy.context.scene, _rig_of(root), place.path(table.audio)
    choice = SpeakChoice(str(audio), speech.rate_for(scene), table.strength, table.gestures, table.seed)
    spoken = engine.run("Curves from Speech", tasks.speak(choice), one.worker.timeout_s, _watch)
    strip = speech.put(rig, spoken, scene, table.start)
    if table.sound and not speech.add_sound(scene, audio, table.start):
        say("note", message="This Blender cannot put the recording into the sequencer.")
    if table.curves:
        path = place.path(table.curves)
        files.make_folder(path.parent)
        performances.write_curves(path, spoken.fps, spoken.tracks)
        _note(path, "curves", key, outcome)
    return math.ceil(strip.frame_end)


def _animate(one: job.Job, root: bpy.types.Object, place: Place) -> int:
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


def _furnish(scene: bpy.types.Scene, one: job.Job, last_frame: int) -> None:
    """Give a scene that we made ourselves what a picture needs: range, size, background, honest colours."""
    scene.frame_start, scene.frame_end = 1, max(1, last_frame)
    scene.render.resolution_x = scene.render.resolution_y = (one.render.size if one.render else 0) or 512
    scene.portrait.size = one.portrait.create.size if one.portrait.create else scene.portrait.size
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


def _drop_baked(scene: bpy.types.Scene) -> None:
    """Take the baked frames of a new scene off its cards: they lie in a folder that Blender deletes."""
    for root in find.roots(scene):
        baked.show_live(root)
        plane = find.part(root, "PLANE")
        if plane is not None and plane.portrait.baked_image is not None:
            bpy.data.images.remove(plane.portrait.baked_image)


def _save(path: Path) -> None:
    files.make_folder(path.parent)
    bpy.context.scene.frame_set(bpy.context.scene.frame_start)
    with files.replacing(path) as partial:
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(partial), copy=True, compress=True, check_existing=False)
        except RuntimeError as error:
            raise errors.PortraitError(f'Cannot write "{path}": {str(error).strip()}', kind="output") from error


def _watch(status: Status) -> None:
    say("stage", stage=status.stage, done=round(100 * status.fraction), total=100)
