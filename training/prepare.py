# SPDX-License-Identifier: Apache-2.0
"""Make training data from photos and clips of one's own, in the layout of `training.synthesize`.

    python -m training.prepare FOLDER --out DIR

Every photo, and every scene of every clip, becomes a record with its pictures. What cannot be used is left out, and
named with the reason at the end and in DIR/preparation.json. Run again, it goes on where it stopped, and takes what is
new or has changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from neural_core import media
from neural_core.cli.console import Console
from neural_core.errors import InputError, PortraitError, UsageError, as_portrait_error
from neural_core.files import make_folder, write_bytes
from training.data.folders import clear_leftovers, forget_person, image_name, record_file, write_dataset_json

if TYPE_CHECKING:
    from neural_core.capture.labels import Captured, Tools

MANIFEST = "preparation.json"
_ENDS_THE_RUN = ("output", "cancelled")  # kinds of errors that the next file would meet too


@dataclass(frozen=True)
class Prepare:
    """Turn a folder of photos and clips into a data set."""

    folder: tyro.conf.Positional[Path]
    """Where the photos and clips are, folders within it included."""
    out: Path
    """Folder of the data set; it is made."""
    size: int = 512
    """Side of the pictures in pixels."""
    frames: int = 250
    """How many frames of a clip, from its start, at most."""
    json: bool = False
    """Print what was made as JSON, as the last line."""


@dataclass(frozen=True)
class Entry:
    """What became of a file."""

    stamp: str
    """Size and time of the file: if they change it is prepared again."""
    records: tuple[int, ...] = ()
    """Indices of its records; several for a clip with cuts."""
    frames: int = 0
    """How many pictures they have."""
    left_out: str = ""
    """Why it has none, or no more."""
    notes: tuple[str, ...] = ()


@dataclass
class Manifest:
    """What became of every file so far; kept in the data set."""

    settings: dict[str, Any]
    files: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def open(cls, out: Path, settings: dict[str, Any]) -> Manifest:
        """Return the manifest of a data set; an empty one if it is new.

        Raises:
            UsageError: it was made with other settings.
        """
        path = out / MANIFEST
        if not path.is_file():
            return cls(settings)
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            files = {name: Entry(**_tuples(entry)) for name, entry in said["files"].items()}
            before = said["settings"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f'"{path}" is damaged ({error}).', "Delete it to begin again.") from error
        if before != settings:
            raise UsageError(f"{out} holds a data set with other settings.", "Choose another --out, or the same ones.")
        return cls(settings, files)

    def keep(self, out: Path) -> None:
        """Write it. Raises PortraitError."""
        said = {"settings": self.settings, "files": {name: asdict(entry) for name, entry in sorted(self.files.items())}}
        write_bytes(out / MANIFEST, (json.dumps(said, indent=1) + "\n").encode())

    def next_index(self) -> int:
        """Return the first index that no record has."""
        return 1 + max((index for entry in self.files.values() for index in entry.records), default=-1)


def prepare(options: Prepare, console: Console) -> Manifest:
    """Prepare what is new in a folder, and return what became of every file.

    Raises:
        UsageError: the options make no sense, or do not fit the data that is there.
        InputError: there is no such folder, or there are neither photos nor clips in it.
        PortraitError: the data set cannot be written.
    """
    _check(options)
    sources = find_sources(options.folder, options.out)
    make_folder(options.out)
    manifest = Manifest.open(options.out, {"size": options.size, "frames": options.frames})
    clear_leftovers(options.out)
    todo = [name for name, path in sources.items() if _is_new(manifest, name, path)]
    _forget_changed(options.out, [manifest.files[name] for name in todo if name in manifest.files])
    if todo:
        from neural_core.capture.labels import Tools

        with Tools() as tools:
            for done, name in enumerate(todo):
                console.report("Preparing", done, len(todo))
                manifest.files[name] = _prepare_file(options, tools, manifest, name, sources[name])
                manifest.keep(options.out)
            console.report("Preparing", len(todo), len(todo))
    write_dataset_json(options.out)
    return manifest


def find_sources(folder: Path, out: Path) -> dict[str, Path]:
    """Return the photos and clips in a folder by their names relative to it; what is hidden or in `out` is no source.

    Raises:
        InputError: there is no such folder, or there are none.
        UsageError: the folder lies in `out`.
    """
    if not folder.is_dir():
        raise InputError(f'There is no folder "{folder}".', "Give the folder that the photos and clips are in.")
    made = out.resolve()
    if made in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f'"{folder}" lies in --out "{out}".', "Choose a folder beside it.")
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or made in path.resolve().parents:
            continue
        if path.is_file() and (media.is_photo(path) or media.is_clip(path)):
            found[name.as_posix()] = path
    if not found:
        raise InputError(f'There are neither photos nor clips in "{folder}".', "JPEG, PNG, MP4 and MOV files work.")
    return found


def _check(options: Prepare) -> None:
    if not 64 <= options.size <= 2048:
        raise UsageError(f"Pictures of {options.size} pixels cannot be made.", "Give 64 to 2048.")
    if options.frames < 1:
        raise UsageError(f"--frames must be at least 1, not {options.frames}.")


def _forget_changed(out: Path, entries: Sequence[Entry]) -> None:
    """Delete what was made of files that have changed since, so that none of their old pictures stay."""
    indices = [index for entry in entries for index in entry.records]
    for index in indices:
        forget_person(out, index)
    if indices:
        write_dataset_json(out)  # what comes now may take long, or be stopped


def _stamp(path: Path) -> str:
    """Return size and time of a file; "" if it is gone: reading it will say so."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_size}-{about.st_mtime_ns}"


def _is_new(manifest: Manifest, name: str, path: Path) -> bool:
    return name not in manifest.files or manifest.files[name].stamp != _stamp(path)


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _prepare_file(options: Prepare, tools: Tools, manifest: Manifest, name: str, path: Path) -> Entry:
    """Write the records of one file, and return what became of it."""
    stamp = _stamp(path)
    # A file that has changed keeps the places that it had.
    before = manifest.files[name].records if name in manifest.files else ()
    indices = chain(before, count(manifest.next_index()))
    taken, notes, frames, left_out = [], [], 0, ""
    try:
        for found in _capture(options, tools, path):
            index = next(indices)
            _write(options.out, index, found, name)
            taken.append(index)
            notes += found.notes
            frames += len(found.record)
    except Exception as error:
        said = as_portrait_error(error)
        if said.kind in _ENDS_THE_RUN:
            raise said from error
        left_out = str(said)
    return Entry(stamp, tuple(taken), frames, left_out, tuple(notes))


def _capture(options: Prepare, tools: Tools, path: Path) -> Iterator[Captured]:
    from neural_core.capture.clip import capture_scenes
    from neural_core.capture.photo import capture_photo

    if media.is_clip(path):
        yield from capture_scenes(tools, path, options.size, options.frames)
    else:
        yield capture_photo(tools, path, options.size)


def _write(out: Path, index: int, found: Captured, name: str) -> None:
    """Write the pictures of a record, and the record last."""
    forget_person(out, index)  # a run that was killed may have left more pictures
    names = tuple(image_name(index, number) for number in range(len(found.record)))
    for image, picture in zip(names, found.pictures, strict=True):
        make_folder((out / image).parent)
        media.write_png(out / image, picture, {"synthetic": False, "source": name})
    make_folder(record_file(out, index).parent)
    source = {**found.record.source, "file": name}
    replace(found.record, images=names, source=source).save(record_file(out, index))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 done, 1 failed or nothing could be used, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = tyro.cli(Prepare, args=words, prog="training.prepare", config=(tyro.conf.FlagCreatePairsOff,))
    console = Console()
    try:
        with console.showing_progress():
            manifest = prepare(options, console)
    except PortraitError as error:
        console.complain(error.message, error.hint)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        console.complain("Stopped.", "What is finished is kept; the same command goes on.")
        return 1
    return _tell(options, manifest, console)


def _tell(options: Prepare, manifest: Manifest, console: Console) -> int:
    """Print what was made and what was left out, and return the exit code."""
    used = {name: entry for name, entry in manifest.files.items() if entry.records}
    left_out = {name: entry.left_out for name, entry in manifest.files.items() if entry.left_out}
    pictures = sum(entry.frames for entry in used.values())
    for name, entry in used.items():
        for note in entry.notes:
            console.note(f"{name}: {note}")
    console.say(f"{options.out}: {pictures} pictures from {len(used)} files; {len(left_out)} left out")
    width = max((len(name) for name in left_out), default=0)
    for name, reason in left_out.items():
        console.say(f"  {name:{width}}  {reason}")
    console.facts.update(out=str(options.out), pictures=pictures, files=len(used), left_out=left_out)
    console.finish(options.json)
    return 0 if used else 1


if __name__ == "__main__":
    raise SystemExit(main())
