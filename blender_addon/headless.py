# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the jobs of a file: scene, portrait, keys, frames, files. `batch.py` finds the package and calls `main`.

Blender prints lines of its own, so what a program should read is one JSON object a line after the word PORTRAIT. The
last of them is the summary, which is also written beside the job file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from . import frames, job, job_plan, job_scene, model_list, properties, unbaked
from .engine import Engine, Status
from .frame_record import FrameRecord, digest_of, key_of
from .job_plan import Place
from .neural_core import errors, files
from .preferences import MODELS_VARIABLE, PYTHON_VARIABLE
from .scene import exporting, performances, turntable
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
            with _frames_are_baked(registered):
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
            job_scene.open_scene(place)
            if one.portrait.create is None:
                root = job_scene.find_portrait(one.portrait)
                job_scene.choose_camera(one.scene, root)
            if one.render is not None and one.turntable is None:
                numbers = frames.numbers_of(one, bpy.context.scene)
        yield job_plan.describe(one, outcome.number, place, numbers)


@contextmanager
def _frames_are_baked(registered: bool) -> Iterator[None]:
    """Switch off what the add-on does in renders whose cards were not baked: a job bakes them, or says why not."""
    if registered:
        unbaked.unregister()
    try:
        yield
    finally:
        if registered:
            unbaked.register()


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
    job_scene.open_scene(place)
    root = job_scene.prepare_portrait(one, engine, place, _watch)
    last = job_scene.animate(one, root, place)
    if one.animate.clip:
        last = max(last, job_scene.follow(one, root, engine, place, _watch))
    if one.speak is not None:
        spoken, said_until = job_scene.speak(one, one.speak, root, engine, place, _watch)
        last = max(last, said_until)
        if one.speak.curves:
            path = place.path(one.speak.curves)
            files.make_folder(path.parent)
            performances.write_curves(path, spoken.fps, spoken.tracks)
            _note(path, "curves", key, outcome)
    scene = bpy.context.scene
    if place.blend is None:
        job_scene.furnish(scene, one, last)
    job_scene.choose_camera(one.scene, root)
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
            job_scene.drop_baked(scene)
        job_scene.save(path)
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


def _watch(status: Status) -> None:
    say("stage", stage=status.stage, done=round(100 * status.fraction), total=100)
