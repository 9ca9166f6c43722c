# SPDX-License-Identifier: GPL-3.0-or-later
"""What jobs will read and write, and all that can be wrong with that before the engine or Blender begin. Pure.

A long night's work must not end at its last job because of a file that was missing all along.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import job, model_list, sentences
from .neural_core import errors, files
from .worker_client import WorkerSettings


@dataclass(frozen=True)
class Place:
    """Where a job's paths are relative to, and the scene it begins with."""

    folder: Path
    """That of the job file."""
    blend: Path | None
    """None: an empty scene."""

    def path(self, text: str) -> Path:
        """Return a path of the job: `//` is the folder of its .blend, a relative path that of the job file."""
        if text.startswith("//") and self.blend is not None:
            return self.blend.parent / text[2:]
        return self.folder / text.removeprefix("//")


def place_of(one: job.Job, folder: Path, given: Path | None) -> Place:
    """Return the place of a job; `given` is the .blend of the command line."""
    return Place(folder, Place(folder, given).path(one.scene.blend) if one.scene.blend else given)


def inputs(one: job.Job, place: Place) -> Iterator[tuple[str, Path]]:
    """Yield the key and the path of each file that a job reads, its .blend aside."""
    if one.portrait.create is not None and one.portrait.create.photo:
        yield "portrait.create.photo", place.path(one.portrait.create.photo)
    if one.portrait.create is not None and one.portrait.create.clip:
        yield "portrait.create.clip", place.path(one.portrait.create.clip)
    for number, name in enumerate(one.portrait.actions):
        yield f"portrait.actions[{number}]", place.path(name)
    if one.animate.csv:
        yield "animate.csv", place.path(one.animate.csv)
    if one.animate.clip:
        yield "animate.clip", place.path(one.animate.clip)
    if one.speak is not None:
        yield "speak.audio", place.path(one.speak.audio)


def outputs(one: job.Job, place: Place) -> Iterator[tuple[str, Path]]:
    """Yield the key and the path of each file that a job writes, frames aside."""
    if one.speak is not None and one.speak.curves:
        yield "speak.curves", place.path(one.speak.curves)
    for number, name in enumerate(one.export.out if one.export else ()):
        yield f"export.out[{number}]", place.path(name)
    if one.policy.save_blend:
        yield "policy.save_blend", place.path(one.policy.save_blend)


def frame_files(table: job.RenderTable, place: Place, numbers: list[int]) -> Iterator[tuple[int, str, Path]]:
    """Yield frame, what is drawn, and the file, in the order of drawing; cards are in the cache beside the .blend."""
    kinds = [what for what in table.what if what != "card"]
    for number in numbers:
        for what in kinds:
            name = what if len(kinds) > 1 else ""
            yield number, what, frame_path(place.path(table.out), number, name, len(numbers) > 1)


def frame_path(pattern: Path, number: int, what: str, many: bool) -> Path:
    """Return the file of a frame: `#` is its number; `what` and a missing number are added to the stem."""
    stem = f"{pattern.stem}_{what}" if what else pattern.stem
    if "#" not in stem:
        stem = f"{stem}_####" if many else stem
    hashes = stem.count("#")
    if hashes:
        stem = stem.replace("#" * hashes, f"{number:0{hashes}d}")
    return pattern.with_name(f"{stem}{pattern.suffix or '.png'}")


def needs_engine(one: job.Job) -> bool:
    """Return whether a job surely asks the engine for something."""
    drawn = set(one.render.what) if one.render is not None else set()
    heard_or_seen = one.speak is not None or bool(one.animate.clip)
    return one.portrait.create is not None or heard_or_seen or bool({"plane", "card"} & drawn)


def check(jobs: list[job.Job], folder: Path, given: Path | None, settings: list[WorkerSettings | None]) -> None:
    """Look at everything that jobs read and write, and at the engine's Python and models.

    Args:
        jobs: in their order: a file that one writes is there for the later ones.
        folder: that of the job file.
        given: the .blend of the command line.
        settings: each job's engine, None where none is set.

    Raises:
        PortraitError: about the first thing that is wrong; it names the job and the key.
    """
    written: dict[Path, str] = {}
    for number, (one, engine) in enumerate(zip(jobs, settings, strict=True), 1):
        where, place = f"job {number}", place_of(one, folder, given)
        sources = list(inputs(one, place))
        if place.blend is not None:
            sources.append(("scene.blend", place.blend))
        for key, path in sources:
            if path.resolve() not in written and not path.is_file():
                raise errors.InputError(f'{where}: {key}: there is no file "{path}".')
        if one.render is not None and "card" in one.render.what and place.blend is None:
            hint = "The cache of cards lies beside a .blend: save one first, and name it in scene.blend."
            raise errors.UsageError(f'{where}: render.what: "card" needs a .blend.', hint)
        if needs_engine(one):
            _check_engine(where, one, engine)
        for key, path in _written(one, place):
            _check_output(f"{where}: {key}", path)
            other = written.setdefault(path.resolve(), f"{where}: {key}")
            if other != f"{where}: {key}":
                raise errors.UsageError(f'{where}: {key}: "{path}" is written by {other}, too.')


def describe(one: job.Job, number: int, place: Place, numbers: list[int] | None) -> dict[str, Any]:
    """Return a job's plan as plain values; `numbers` are its frames, None if they are known when it runs."""
    return {
        "number": number,
        "name": one.name,
        "do": one.do,
        "blend": str(place.blend) if place.blend else None,
        "create": dataclasses.asdict(one.portrait.create) if one.portrait.create else None,
        "engine": needs_engine(one),
        "reads": [str(path) for _, path in inputs(one, place)],
        "frames": numbers,
        "pictures": _pictures(one.render, place, numbers),
        "writes": [str(path) for _, path in outputs(one, place)],
        "resume": one.policy.resume,
    }


def _pictures(table: job.RenderTable | None, place: Place, numbers: list[int] | None) -> list[str] | None:
    if table is None:
        return []
    return None if numbers is None else [str(path) for _, _, path in frame_files(table, place, numbers)]


def _written(one: job.Job, place: Place) -> Iterator[tuple[str, Path]]:
    """Yield key and path of all that a job writes; of frames that are known when it runs the pattern."""
    if one.render is not None and one.scene.frames:
        for _, _, path in frame_files(one.render, place, job.parse_frames(one.scene.frames)):
            yield "render.out", path
    elif one.render is not None and one.render.out:
        yield "render.out", place.path(one.render.out)
    yield from outputs(one, place)


def _check_output(where: str, path: Path) -> None:
    """Raise PortraitError of kind "output" if nothing can be written into the file's folder, as far as one can see."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        files.check_folder_of(folder / "file")
    except errors.PortraitError as error:
        raise errors.PortraitError(f"{where}: {error.message}", error.hint, error.kind) from error


def _check_engine(where: str, one: job.Job, settings: WorkerSettings | None) -> None:
    if settings is None:
        missing = sentences.engine_missing()
        raise errors.PortraitError(f"{where}: worker.python: {missing.message}", missing.hint, missing.kind)
    if shutil.which(settings.python) is None:
        raise errors.PortraitError(
            f'{where}: worker.python: "{settings.python}" is no program.',
            "Name the Python that has PyTorch.",
            kind="engine",
        )
    if one.portrait.create is None:
        return
    known, name = model_list.models(settings.models_folder), one.portrait.create.model
    if name not in known:
        raise errors.ModelError(
            f'{where}: portrait.create.model: there is no model "{name}".', f"Known: {', '.join(known) or 'none'}."
        )
    if known[name].problem:
        raise errors.ModelError(f"{where}: portrait.create.model: {known[name].problem}")
