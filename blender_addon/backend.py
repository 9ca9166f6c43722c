# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up of a running Blender: what the preferences choose, the one job, and the timer that watches it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import bpy

from . import preferences, sentences, session, setup_backend
from .background_job import Job
from .interpreters import Inspection
from .neural_core import errors

PUMP_S = 0.1

# Blender has one add-on registry, so there is one job: the newest. Dropped by unregister().
_job: Job | None = None
_finish: Callable[[Inspection], None] | None = None
_inspection: Inspection | None = None


def job() -> Job | None:
    """Return the running job, or the one that ended last and was not dismissed."""
    return _job


def busy() -> bool:
    """Return whether a job runs."""
    return _job is not None and _job.state == "running"


def inspection() -> Inspection | None:
    """Return what the last set-up or check found."""
    return _inspection


def default_folder() -> Path:
    """Return where the environment goes if nothing else is chosen: the add-on's own place among the user's files."""
    try:
        return Path(bpy.utils.extension_path_user(__package__, path="engine"))
    except ValueError:  # not installed as an extension
        return Path(bpy.utils.user_resource("DATAFILES", path=str(Path("neural_portrait", "engine"))))


def choice(newer: bool = False) -> setup_backend.Choice:
    """Return what the preferences say."""
    stored = preferences.stored()
    absolute = bpy.path.abspath
    return setup_backend.Choice(
        folder=Path(absolute(stored.engine_folder)) if stored and stored.engine_folder else default_folder(),
        compute=stored.compute if stored else "cpu",
        python=absolute(stored.base_python) if stored else "",
        host=_host_python(),
        wheels=absolute(stored.wheels_folder) if stored else "",
        online=_online(),
        newer=newer,
    )


def set_up(newer: bool = False) -> None:
    """Make the environment, and use it when it is ready."""
    chosen = choice(newer)

    def use(found: Inspection) -> None:
        use_python(found.interpreter.path)

    _start(setup_backend.set_up(chosen), use)


def check(python: str, use: bool = False) -> None:
    """Look at an interpreter; `use` makes it the engine's, unless it has no PyTorch."""

    def keep(found: Inspection) -> None:
        if "torch" not in found.packages or "torch" in found.broken:
            raise sentences.no_torch(found.broken.get("torch", "No module named 'torch'"))
        if use:
            use_python(found.interpreter.path)

    _start(setup_backend.inspect(python), keep)


def use_python(path: str) -> None:
    """Set the engine's Python in the preferences; the environment variable still comes first."""
    stored = preferences.stored()
    if stored is not None:
        stored.python = path


def cancel() -> None:
    """Stop the running job."""
    if _job is not None:
        _job.cancel()


def dismiss() -> None:
    """Forget a job that ended, with what it said."""
    global _job
    if not busy():
        _job = None


def remove() -> None:
    """Delete the environment that a set-up made. Raises PortraitError if it cannot be deleted."""
    global _inspection
    folder = choice().folder
    setup_backend.remove(folder)
    stored = preferences.stored()
    if stored is not None and Path(stored.python) == setup_backend.environment_python(folder):
        stored.python = ""
    _inspection = None


def _start(new: Job, finish: Callable[[Inspection], None]) -> None:
    """Begin a job; in the background, where no timer ever runs, return when it is done."""
    global _job, _finish, _inspection
    if busy():
        raise errors.UsageError("The engine is being set up.", "Wait for it, or cancel it.")
    _job, _finish, _inspection = new, finish, None
    new.start()
    if bpy.app.background:
        new.wait()
        _pump()
    elif not bpy.app.timers.is_registered(_pump):
        bpy.app.timers.register(_pump, persistent=True)


def _pump() -> float | None:
    """Redraw while the job runs; take its result when it is done."""
    global _finish, _inspection, _job
    session.redraw()
    if busy():
        return PUMP_S
    if _job is not None and _job.state == "done" and _finish is not None:
        _inspection = _job.result
        try:
            _finish(_job.result)
            _job = None
        except errors.PortraitError as error:
            _job.state, _job.error = "failed", error
    _finish = None
    return None


def _online() -> bool:
    """Return whether Blender's preferences allow downloads."""
    return bpy.app.online_access


def _host_python() -> str:
    """Return Blender's own Python; "" in a Blender that is itself a module of a Python (the wheel)."""
    name = Path(sys.executable).name.lower()
    return sys.executable if bpy.app.binary_path and name.startswith("python") else ""


def register() -> None:
    """Make this part known to Blender: nothing is started."""


def unregister() -> None:
    """Stop what runs."""
    global _job, _finish, _inspection
    if bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)
    if _job is not None and _job.state == "running":
        _job.cancel()
        _job.wait(5.0)
    _job = _finish = _inspection = None
