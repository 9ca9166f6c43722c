# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a job: which are missing, drawing them, and the record `frames.jsonl` beside them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from . import job, tasks
from .engine import Engine
from .neural_core import errors, files
from .scene import find, image_plane, portrait, pose

RECORD = "frames.jsonl"
DEFAULT_SIZE = 512


def render(one: job.Job, root: bpy.types.Object, engine: Engine, folder: Path, say: Callable[..., None]) -> int:
    """Draw what a job asks for; returns how many frames failed and were skipped.

    Raises:
        PortraitError: at the first frame that fails, unless the policy says to skip it.
    """
    assert one.render is not None
    scene = bpy.context.scene
    numbers = job.parse_frames(one.scene.frames) or list(range(scene.frame_start, scene.frame_end + 1))
    pattern = path_of(one.render.out, folder)
    _make_folder(pattern.parent)
    _configure(scene, one.render, opened=bool(bpy.data.filepath))
    known = _read_record(pattern.parent / RECORD)
    skipped = 0
    for number in numbers:
        scene.frame_set(number)
        for what in one.render.what:
            target = frame_path(pattern, number, what if len(one.render.what) > 1 else "", len(numbers) > 1)
            facts = _facts(one, root, number, what)
            key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
            if one.policy.resume and target.is_file() and known.get(target.name) == key:
                say("frame", frame=number, what=what, path=str(target), resumed=True)
                continue
            started = time.monotonic()
            try:
                _DRAW[what](one, root, engine, target)
            except errors.PortraitError as error:
                if one.policy.on_frame_error == "stop":
                    raise
                skipped += 1
                say("skipped", frame=number, what=what, message=error.message)
                continue
            seconds = round(time.monotonic() - started, 3)
            line = {"frame": number, "what": what, "file": target.name, "key": key, "seconds": seconds}
            line |= {name: facts[name] for name in ("seed", "model_hash")}
            _append(pattern.parent / RECORD, line)
            say("frame", path=str(target), **line)
    return skipped


def path_of(text: str, folder: Path) -> Path:
    """Return a path of a job: `//` is the .blend's folder, a relative path that of the job file."""
    if text.startswith("//") and bpy.data.filepath:
        return Path(bpy.data.filepath).parent / text[2:]
    return folder / text.removeprefix("//")


def frame_path(pattern: Path, number: int, what: str, many: bool) -> Path:
    """Return the file of a frame: `#` is its number; `what` and a missing number are added to the stem."""
    stem = f"{pattern.stem}_{what}" if what else pattern.stem
    if "#" not in stem:
        stem = f"{stem}_####" if many else stem
    hashes = stem.count("#")
    if hashes:
        stem = stem.replace("#" * hashes, f"{number:0{hashes}d}")
    return pattern.with_name(f"{stem}{pattern.suffix or '.png'}")


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


def _facts(one: job.Job, root: bpy.types.Object, number: int, what: str) -> dict[str, Any]:
    """Return everything that decides how a frame looks, as far as a job knows it."""
    scene, identity, armature = bpy.context.scene, find.identity_of(root), find.part(root, "RIG")
    table = one.render
    assert table is not None
    return {
        "frame": number,
        "what": what,
        "model": identity.model,
        "model_hash": identity.model_hash,
        "seed": identity.seed,
        "truncation": round(identity.truncation, 6),
        "camera": [round(value, 6) for value in pose.shot(root, scene.camera, scene).camera],
        "motion": pose.motion(armature) if armature else {},
        "size": table.size,
        "resolution": [scene.render.resolution_x, scene.render.resolution_y],
        "drawing": [table.quality] if what == "plane" else [table.engine, table.samples, one.portrait.show],
        # Anything else may have changed in a .blend that was saved again.
        "blend": [bpy.data.filepath, Path(bpy.data.filepath).stat().st_mtime_ns] if bpy.data.filepath else [],
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.output_error(folder, error) from error


def _read_record(path: Path) -> dict[str, str]:
    """Return the key of each file of the record; a line cut short by a crash is ignored."""
    known: dict[str, str] = {}
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
                known[line["file"]] = line["key"]
            except (ValueError, KeyError, TypeError):
                continue
    return known


def _append(path: Path, line: dict[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")
    except OSError as error:
        raise files.output_error(path, error) from error
