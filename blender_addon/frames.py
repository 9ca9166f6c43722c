# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a job: which are missing, and drawing them. `frame_record.py` keeps the record beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from . import job, tasks
from .engine import Engine
from .frame_record import FrameRecord, digest_of, key_of
from .job_plan import Place, frame_files
from .neural_core import errors, files
from .picture_key import picture_facts, portrait_digest
from .scene import find, image_plane, portrait, pose

DEFAULT_SIZE = 512
_NEVER_SKIPPED = ("engine", "model", "usage", "cancelled")
"""Kinds of errors that the next frame would meet as well."""


@dataclass
class Tally:
    """What became of a job's frames."""

    drawn: int = 0
    kept: int = 0
    skipped: list[int] = field(default_factory=list)
    """Frames that failed."""


def numbers_of(one: job.Job, scene: bpy.types.Scene) -> list[int]:
    """Return the frames that a job draws: its own, else the scene's range."""
    return job.parse_frames(one.scene.frames) or list(range(scene.frame_start, scene.frame_end + 1))


def render(
    one: job.Job, root: bpy.types.Object, engine: Engine, place: Place, say: Callable[..., None], tally: Tally
) -> None:
    """Draw what a job asks for, and count it in `tally`.

    Raises:
        PortraitError: at the first frame that fails, unless the policy says to skip it.
    """
    table, scene = one.render, bpy.context.scene
    assert table is not None
    folder = place.path(table.out).parent
    files.make_folder(folder)
    _configure(scene, table, opened=place.blend is not None)
    record, shown = FrameRecord(folder), None
    blend = digest_of(place.blend) if place.blend is not None else ""
    for number, what, target in frame_files(table, place, numbers_of(one, scene)):
        if shown != number:
            scene.frame_set(number)
            shown = number
        facts = _facts(one, root, what, blend)
        key = key_of(facts)
        if one.policy.resume and record.holds_picture(target, key, _size(table, what)):
            tally.kept += 1
            say("frame", frame=number, what=what, path=str(target), resumed=True)
            continue
        started = time.monotonic()
        try:
            _DRAW[what](one, root, engine, target)
        except errors.PortraitError as error:
            if one.policy.on_frame_error == "stop" or error.kind in _NEVER_SKIPPED:
                raise
            tally.skipped.append(number)
            say("skipped", frame=number, what=what, message=error.message)
            continue
        identity = find.identity_of(root)
        seconds = round(time.monotonic() - started, 3)
        about = {"frame": number, "what": what, "seconds": seconds}
        line = record.add(target, key, **about, seed=identity.seed, model_hash=identity.model_hash)
        tally.drawn += 1
        say("frame", path=str(target), **line)


def _draw_plane(one: job.Job, root: bpy.types.Object, engine: Engine, target: Path) -> None:
    """Let the network draw the frame."""
    table, scene = one.render, bpy.context.scene
    assert table is not None
    identity = find.identity_of(root)
    kept = tasks.KeptPortrait(identity.uuid, portrait.kept_bytes(root), engine.has_open)
    task = tasks.picture(kept, pose.shot(root, scene.camera, scene), table.size or DEFAULT_SIZE, table.quality)
    picture = engine.run("Draw Picture", task, one.worker.timeout_s)
    image = image_plane.make_image("frame", picture.pixels)
    try:
        with files.replacing(target) as partial:
            image.filepath_raw, image.file_format = str(partial), "PNG"
            _saved(image.save, target, partial)
    finally:
        bpy.data.images.remove(image)


def _draw_scene(one: job.Job, root: bpy.types.Object, engine: Engine, target: Path) -> None:
    """Let Blender draw the scene as it is."""
    render = bpy.context.scene.render
    before = render.filepath
    try:
        with files.replacing(target) as partial:
            render.filepath = str(partial)
            _saved(lambda: bpy.ops.render.render(write_still=True), target, partial)
    finally:
        render.filepath = before  # a .blend that is saved afterwards shall not name our temporary file


def _draw_mesh(one: job.Job, root: bpy.types.Object, engine: Engine, target: Path) -> None:
    """Let Blender draw the head alone over nothing."""
    scene, plane = bpy.context.scene, find.part(root, "PLANE")
    before = scene.render.film_transparent, plane.hide_render if plane else True
    scene.render.film_transparent = True
    if plane is not None:
        plane.hide_render = True
    try:
        _draw_scene(one, root, engine, target)
    finally:
        scene.render.film_transparent = before[0]
        if plane is not None:
            plane.hide_render = before[1]


_DRAW = {"plane": _draw_plane, "mesh": _draw_mesh, "scene": _draw_scene}


def _saved(save: Callable[[], Any], target: Path, partial: Path) -> None:
    """Call one of Blender's functions that write; they raise RuntimeError, or print and go on."""
    try:
        save()
    except RuntimeError as error:
        raise errors.PortraitError(f'Cannot write "{target}": {str(error).strip()}', kind="output") from error
    if not partial.is_file() or partial.stat().st_size == 0:
        raise errors.PortraitError(f'Blender did not write "{target}".', "Is the disk full?", kind="output")


def _configure(scene: bpy.types.Scene, table: job.RenderTable, opened: bool) -> None:
    render = scene.render
    eevee = "BLENDER_EEVEE_NEXT" if (4, 2) <= bpy.app.version[:2] < (5, 0) else "BLENDER_EEVEE"
    render.engine = {"CYCLES": "CYCLES", "EEVEE": eevee, "WORKBENCH": "BLENDER_WORKBENCH"}[table.engine]
    if table.engine == "CYCLES":
        scene.cycles.samples = table.samples
        scene.cycles.use_denoising = scene.cycles.use_denoising and _can_denoise()
    elif table.engine == "EEVEE":
        scene.eevee.taa_render_samples = table.samples
    if table.size and opened:
        longer = max(render.resolution_x, render.resolution_y)
        render.resolution_x = max(1, round(render.resolution_x * table.size / longer))
        render.resolution_y = max(1, round(render.resolution_y * table.size / longer))
    render.resolution_percentage = 100
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGBA"
    render.use_file_extension = False


def _can_denoise() -> bool:
    """Return whether this build of Cycles has its denoiser; some distributions leave it out, and rendering fails."""
    import _cycles

    return bool(getattr(_cycles, "with_openimagedenoise", True))


def _size(table: job.RenderTable, what: str) -> tuple[int, int]:
    """Return width and height of a frame in pixels."""
    if what == "plane":
        return (table.size or DEFAULT_SIZE,) * 2
    render = bpy.context.scene.render
    return render.resolution_x, render.resolution_y


def _facts(one: job.Job, root: bpy.types.Object, what: str, blend: str) -> dict[str, Any]:
    """Return everything that decides how the frame of this instant looks, as far as a job knows it.

    `blend` is the digest of the job's .blend: anything may have changed in one that was saved again. What else is here
    is what the job itself changed in it.
    """
    scene, table = bpy.context.scene, one.render
    assert table is not None
    shot = pose.shot(root, scene.camera, scene)
    if what == "plane":
        return picture_facts(root, shot, table.size or DEFAULT_SIZE, table.quality)
    armature, create = find.part(root, "RIG"), one.portrait.create
    return {
        "what": what,
        "frame": scene.frame_current,
        "blend": blend,
        "portrait": portrait_digest(root),
        "made": [create.make, create.detail, create.size] if create else [],
        "show": one.portrait.show,
        "camera": [round(number, 6) for number in shot.camera],
        "rig": _standing(armature) if armature else [],
        "resolution": _size(table, what),
        "drawing": [table.engine, table.samples, bpy.app.version_string],
    }


def _standing(armature: bpy.types.Object) -> list[Any]:
    """Return how a rig stands: sliders, and the matrix of each bone."""
    bones = [[round(number, 5) for row in bone.matrix for number in row] for bone in armature.pose.bones]
    return [pose.motion(armature), bones]
