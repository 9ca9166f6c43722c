# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene that is open as a job: what `batch.py` would do to render it as it is."""

from __future__ import annotations

import os
from pathlib import Path

import bpy

from . import baking, job
from .worker_client import WorkerSettings

_ENGINES = {"BLENDER_EEVEE": "EEVEE", "BLENDER_EEVEE_NEXT": "EEVEE", "BLENDER_WORKBENCH": "WORKBENCH"}


def render_job(
    scene: bpy.types.Scene, root: bpy.types.Object, folder: Path, what: str, out: str, settings: WorkerSettings
) -> job.Job:
    """Return the job that draws the frames of a scene that is saved.

    Args:
        scene: the scene.
        root: the portrait.
        folder: where the job file goes; the .blend is named relative to it where that is possible.
        what: plane, mesh, scene or card, as in job.RenderTable.
        out: the pictures; // is the folder of the .blend.
        settings: the engine as the preferences have it; "" for a Python that the environment names.
    """
    render = scene.render
    engine = _ENGINES.get(render.engine, "CYCLES")
    side = round(max(render.resolution_x, render.resolution_y) * render.resolution_percentage / 100)
    table = job.RenderTable(
        out=out,
        what=(what,),
        size=baking.size_of(scene.portrait) if what == "plane" else side,
        engine=engine,
        samples=scene.cycles.samples if engine == "CYCLES" else scene.eevee.taa_render_samples,
    )
    return job.Job(
        do="render",
        name=scene.name,
        scene=job.SceneTable(
            blend=_relative(Path(bpy.data.filepath), folder),
            camera=scene.camera.name if scene.camera else "",
            frames=f"{scene.frame_start}-{scene.frame_end}",
        ),
        portrait=job.PortraitTable(rig=root.name),
        render=table,
        worker=job.WorkerTable(
            python=settings.python or job.WorkerTable.python, models=settings.models_folder, device=settings.device
        ),
        policy=job.PolicyTable(resume=True),
    )


def _relative(path: Path, folder: Path) -> str:
    """Return a path as the job file says it: with / everywhere, relative unless it is on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()
