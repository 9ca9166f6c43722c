# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a job: which are missing, and drawing them. `frame_record.py` keeps the record beside them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from . import backgrounds, baking, job, png, tasks
from .engine import Engine
from .frame_record import FrameRecord, digest_of, key_of
from .job_plan import Place, frame_files
from .neural_core import errors, files
from .picture_key import picture_facts, portrait_digest
from .scene import baked, find, image_plane, portrait, pose, twins

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


@dataclass(frozen=True)
class _Picture:
    """A picture that has to be drawn."""

    frame: int
    what: str
    path: Path
    key: str


def render(
    one: job.Job, root: bpy.types.Object, engine: Engine, place: Place, say: Callable[..., None], tally: Tally
) -> None:
    """Draw what a job asks for, and count it in `tally`.

    Raises:
        PortraitError: at the first frame that fails, unless the policy says to skip it.
    """
    table, scene = one.render, bpy.context.scene
    assert table is not None
    _configure(scene, table, opened=place.blend is not None)
    numbers = numbers_of(one, scene)
    plans = []
    if {"card", "scene"} & set(table.what):
        shown = [other for other in find.roots(scene) if find.shows_card(other)]
        for other in shown:
            twins.part_from(other)
            image_plane.set_background(find.part(other, "PLANE"), _background(other, table))
        plans = [baking.plan(other, scene, numbers, careful=True) for other in shown]
    folder = place.path(table.out).parent
    record = FrameRecord(folder)
    missing = _missing(one, root, place, record, plans, say, tally)
    failures = _Failures(one.policy, say, tally)
    on_cards = numbers if "card" in table.what else sorted({one.frame for one in missing if one.what == "scene"})
    _bake(one, engine, plans, on_cards, failures, say, tally)
    if missing:
        files.make_folder(folder)
    for picture in missing:
        if picture.what == "scene" and picture.frame in failures.frames:
            continue  # it would show a card without its picture
        scene.frame_set(picture.frame)
        started = time.monotonic()
        with failures.of(picture.frame, picture.what):
            _DRAW[picture.what](one, root, engine, picture.path)
            identity = find.identity_of(root)
            about = {"frame": picture.frame, "what": picture.what, "seconds": round(time.monotonic() - started, 3)}
            about |= {"seed": identity.seed, "model_hash": identity.model_hash}
            line = record.add(picture.path, picture.key, **about)
            tally.drawn += 1
            say("frame", path=str(picture.path), **line)


class _Failures:
    """What happens when a frame fails: by the policy the job ends, or goes on without that frame."""

    def __init__(self, policy: job.PolicyTable, say: Callable[..., None], tally: Tally) -> None:
        self.frames: set[int] = set()
        self._policy, self._say, self._tally = policy, say, tally

    @contextmanager
    def of(self, frame: int, what: str) -> Iterator[None]:
        """Run a block that makes one picture. Raises PortraitError unless the frame is to be skipped."""
        try:
            yield
        except errors.PortraitError as error:
            if self._policy.on_frame_error == "stop" or error.kind in _NEVER_SKIPPED:
                raise
            self.frames.add(frame)
            self._tally.skipped.append(frame)
            self._say("skipped", frame=frame, what=what, message=error.message)


def _missing(
    one: job.Job,
    root: bpy.types.Object,
    place: Place,
    record: FrameRecord,
    plans: list[baking.Plan],
    say: Callable[..., None],
    tally: Tally,
) -> list[_Picture]:
    """Return the pictures of a job that are to be drawn; with `resume` those that are there already are not."""
    table, scene = one.render, bpy.context.scene
    assert table is not None
    blend = digest_of(place.blend) if place.blend is not None else ""
    keys = {frame: [plan.frames[index].key for plan in plans] for index, frame in enumerate(numbers_of(one, scene))}
    result, shown = [], None
    for number, what, path in frame_files(table, place, list(keys)):
        if shown != number:
            scene.frame_set(number)
            shown = number
        key = key_of(_facts(one, root, what, blend, keys[number]))
        if one.policy.resume and record.holds_picture(path, key, _size(table, what)):
            tally.kept += 1
            say("frame", frame=number, what=what, path=str(path), resumed=True)
        else:
            result.append(_Picture(number, what, path, key))
    return result


def _bake(
    one: job.Job,
    engine: Engine,
    plans: list[baking.Plan],
    numbers: list[int],
    failures: _Failures,
    say: Callable[..., None],
    tally: Tally,
) -> None:
    """Let the network draw what is missing on the cards that the scene shows, and show it there.

    Baked frames that are there are always kept: they are a cache. Without missing ones no engine is needed.
    """
    scene = bpy.context.scene
    for plan in plans:
        root = find.by_uuid(scene, plan.portrait)
        wanted = [frame for frame in plan.frames if frame.instant.frame in numbers]
        for frame in wanted:
            if frame not in plan.missing:
                tally.kept += "card" in one.render.what
                continue
            task = baking.task(_kept(root, engine), dataclasses.replace(plan, missing=(frame,)))
            with failures.of(frame.instant.frame, "card"):
                engine.run("Bake Frames", task, one.worker.timeout_s)
                tally.drawn += "card" in one.render.what
                say("frame", frame=frame.instant.frame, what="card", path=str(frame.path), key=frame.key)
        there = [frame.instant for frame in wanted if frame.instant.frame not in failures.frames]
        if there:
            baked.show_sequence(root, plan.folder, there)


def _kept(root: bpy.types.Object, engine: Engine) -> tasks.KeptPortrait:
    identity = find.identity_of(root)
    return tasks.KeptPortrait(identity.uuid, portrait.kept_bytes(root), engine.has_open)


def _draw_plane(one: job.Job, root: bpy.types.Object, engine: Engine, target: Path) -> None:
    """Let the network draw the frame."""
    table, scene = one.render, bpy.context.scene
    assert table is not None
    shot = pose.shot(root, scene.camera, scene, _background(root, table))
    task = tasks.picture(_kept(root, engine), shot, table.size or DEFAULT_SIZE, table.quality)
    picture = engine.run("Draw Picture", task, one.worker.timeout_s)
    png.write(target, backgrounds.laid_under(picture.pixels, shot.background))


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
    """Let Blender draw the head alone over nothing, also where the scene shows the card in its place."""
    wanted = [(bpy.context.scene.render, "film_transparent", True)]
    for part, hidden in ((find.part(root, "PLANE"), True), (portrait.head(root), False)):
        if part is not None:
            wanted.append((part, "hide_render", hidden))
    before = [getattr(part, name) for part, name, _ in wanted]
    try:
        for part, name, value in wanted:
            setattr(part, name, value)
        _draw_scene(one, root, engine, target)
    finally:
        for (part, name, _), value in zip(wanted, before, strict=True):
            setattr(part, name, value)


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


def _background(root: bpy.types.Object, table: job.RenderTable) -> str:
    """Return what is behind the head in the network's frames: what the job says, else what the card has."""
    if not table.background:
        return image_plane.background_of(find.part(root, "PLANE"))
    return backgrounds.NOTHING if table.background == job.TRANSPARENT else table.background


def _size(table: job.RenderTable, what: str) -> tuple[int, int]:
    """Return width and height of a frame in pixels."""
    if what == "plane":
        size = table.size or DEFAULT_SIZE
        return size, size
    render = bpy.context.scene.render
    return render.resolution_x, render.resolution_y


def _facts(one: job.Job, root: bpy.types.Object, what: str, blend: str, cards: list[str]) -> dict[str, Any]:
    """Return everything that decides how the frame of this instant looks, as far as a job knows it.

    `blend` is the digest of the job's .blend: anything may have changed in one that was saved again. What else is here
    is what the job itself changed in it; `cards` are the keys of what is on the cards.
    """
    scene, table = bpy.context.scene, one.render
    assert table is not None
    shot = pose.shot(root, scene.camera, scene, _background(root, table))
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
        "cards": cards if what == "scene" else [],
        "camera": [round(number, 6) for number in shot.camera],
        "rig": _standing(armature) if armature else [],
        "resolution": _size(table, what),
        "drawing": [table.engine, table.samples, bpy.app.version_string],
    }


def _standing(armature: bpy.types.Object) -> list[Any]:
    """Return how a rig stands: sliders, and the matrix of each bone."""
    bones = [[round(number, 5) for row in bone.matrix for number in row] for bone in armature.pose.bones]
    return [pose.motion(armature), bones]
