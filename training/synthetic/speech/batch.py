# SPDX-License-Identifier: Apache-2.0
"""A set of spoken clips: many at a time, and a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from neural_core.curves import FPS
from neural_core.errors import PortraitError, UsageError
from neural_core.files import make_folder, write_bytes

from . import clip, corpus, espeak

_SETTINGS_FILE = "synthesis.json"
_LIST_FILE = "speech.jsonl"
_REPORT_SECONDS = 2.0


@dataclass(frozen=True)
class Speech:
    """Speak sentences of our own and write sound, phonemes and the curves of the face."""

    out: Path
    """Folder of the clips."""
    clips: int = 1000
    """How many clips."""
    languages: str = ",".join(corpus.LANGUAGES)
    """Languages that take turns, separated by commas."""
    variants: str = ",".join(corpus.VARIANTS)
    """Variants of eSpeak's voices that are drawn from, separated by commas."""
    texts: corpus.Texts = "all"
    """Which texts: held-out ones are every fifth of the sentences that are written out."""
    fps: float = FPS
    """Frames a second of the curves."""
    seed: int = 0
    """The same seed gives the same files."""
    workers: int = 2
    """How many clips are made at a time."""
    resume: bool = False
    """Go on with a set that exists."""


def make_clips(options: Speech, report: Callable[[str], None] = print) -> str:
    """Make what is missing of a set of clips.

    Args:
        options: What to make, and where.
        report: Receives a line of progress now and then.

    Returns:
        The checksum of all files of the set: the same for the same options, however often the run was stopped.

    Raises:
        UsageError: the options make no sense, or do not fit what is there.
        PortraitError: eSpeak NG is missing, or a file cannot be written.
    """
    _check(options)
    make_folder(options.out)
    _remember(options)
    for leftover in options.out.glob("*/.*.part*"):
        leftover.unlink(missing_ok=True)
    missing = [i for i in range(options.clips) if not clip.files_of(options.out, i)[-1].is_file()]
    for folder in {clip.files_of(options.out, index)[0].parent for index in missing}:
        make_folder(folder)
    stopped = threading.Event()

    def one(index: int) -> None:
        if not stopped.is_set():
            clip.save(clip.perform(_plan(options, index), options.fps), options.out, index)

    # Threads are enough: eSpeak is a process of its own, and numpy lets go of the interpreter.
    with ThreadPoolExecutor(options.workers) as pool:
        started = time.monotonic()
        running = {pool.submit(one, index) for index in missing}
        try:
            while running:
                done, running = wait(running, _REPORT_SECONDS, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                report(_progress(options.clips, len(missing), len(running), time.monotonic() - started))
        finally:
            stopped.set()
    return _finish(options)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _plan(options: Speech, index: int) -> clip.Plan:
    return clip.sample_plan(options.seed, index, _names(options.languages), _names(options.variants), options.texts)


def _check(options: Speech) -> None:
    for name, low in (("clips", 1), ("workers", 1), ("seed", 0)):
        if getattr(options, name) < low:
            raise UsageError(f"--{name} must be at least {low}, not {getattr(options, name)}.")
    if not 10 <= options.fps <= 120:
        raise UsageError(f"--fps must lie between 10 and 120, not {options.fps:g}.")
    for field, known in (("languages", corpus.LANGUAGES), ("variants", corpus.VARIANTS)):
        if not _names(getattr(options, field)):
            raise UsageError(f"--{field} names none.", f"We have {', '.join(known)}.")
    for language in _names(options.languages):
        corpus.sections(language)
    if strange := set(_names(options.variants)) - set(corpus.VARIANTS):
        raise UsageError(f'There is no variant "{min(strange)}".', f"We have {', '.join(corpus.VARIANTS)}.")
    espeak.speak(espeak.Request("a", "en"))  # if it cannot speak, say so before anything is written


def _remember(options: Speech) -> None:
    """Keep the settings beside the clips, so that no run mixes two kinds."""
    said = {name: _names(getattr(options, name)) for name in ("languages", "variants")}
    settings = {"layout": 1, "kind": "speech", **said, "texts": options.texts, "fps": options.fps, "seed": options.seed}
    file = options.out / _SETTINGS_FILE
    text = json.dumps(settings, indent=2) + "\n"
    if file.is_file():
        if file.read_text() != text:
            raise UsageError(f"{options.out} holds a set with other settings.", "Choose another --out, or the same.")
        if not options.resume:
            raise UsageError(f"{options.out} holds a set already.", "Add --resume to go on with it.")
    write_bytes(file, text.encode())


def _progress(clips: int, missing: int, waiting: int, seconds: float) -> str:
    done = missing - waiting
    rate = 60 * done / max(seconds, 1e-3)
    left = waiting / rate if rate else 0.0
    return f"{clips - waiting}/{clips} clips, {rate:.0f} a minute, {left:.1f} min left"


def _finish(options: Speech) -> str:
    """Write the list of what is said in which clip, and return the checksum of all files."""
    lines = []
    checksum = hashlib.sha256()
    for index in range(options.clips):
        files = clip.files_of(options.out, index)
        plan = _plan(options, index)
        lines.append(json.dumps({"clip": files[-1].relative_to(options.out).as_posix(), **asdict(plan)}))
        for file in files:
            checksum.update(hashlib.sha256(file.read_bytes()).digest())
    text = "\n".join(lines) + "\n"
    write_bytes(options.out / _LIST_FILE, text.encode())
    checksum.update(text.encode())
    return checksum.hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 done, 1 failed, 2 wrong usage."""
    options = tyro.cli(Speech, args=arguments, prog="training.synthesize speech")
    try:
        checksum = make_clips(options, report=lambda line: print(line, file=sys.stderr, flush=True))
    except PortraitError as error:
        print(f"training.synthesize: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("training.synthesize: stopped; go on with --resume.", file=sys.stderr)
        return 1
    print(f"{options.out}: {options.clips} clips, checksum {checksum}")
    return 0
