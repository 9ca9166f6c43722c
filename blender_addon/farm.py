# SPDX-License-Identifier: GPL-3.0-or-later
"""The job that is being sent to a farm: on a thread, so that a manager that does not answer holds nobody up."""

from __future__ import annotations

import bpy

from . import flamenco_manager, sentences, session
from .background_job import Job

PUMP_S = 0.1

# One job is sent at a time. Dropped by unregister().
_job: Job | None = None


def stage() -> str:
    """Return what the panel says while a job is sent; "" when none is."""
    return _job.stage if _job is not None else ""


def send(manager: str, submission: flamenco_manager.Submission) -> None:
    """Send a job, and say in the panel what became of it. In the background, return when that is known.

    Raises:
        PortraitError: kind "offline", if the manager is on another computer and Blender may not go online.
    """
    global _job
    if not flamenco_manager.is_local(manager) and not bpy.app.online_access:
        raise sentences.farm_offline(manager)
    _job = Job("Send to Flamenco", lambda job: flamenco_manager.submit(manager, submission, job.say))
    _job.start()
    if bpy.app.background:
        _job.wait()
        _pump()
    elif not bpy.app.timers.is_registered(_pump):
        bpy.app.timers.register(_pump, persistent=True)


def _pump() -> float | None:
    """Watch the job; what became of it is told when the engine has nothing to say itself."""
    global _job
    session.redraw()
    if _job is None:
        return None
    if _job.state == "running" or session.engine().busy:
        return PUMP_S
    ended, _job = _job, None
    if ended.error is not None:
        session.engine().fail(ended.error)
    else:
        session.engine().notice(*sentences.sent_to_farm(ended.result.manager, ended.result.page))
    return None


def register() -> None:
    """Make this part known to Blender: nothing is sent."""


def unregister() -> None:
    """Forget what is being sent: the thread ends by itself, and tells nobody."""
    global _job
    if bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)
    if _job is not None:
        _job.cancel()
    _job = None
