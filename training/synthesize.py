# SPDX-License-Identifier: Apache-2.0
"""Make training data: people that we render ourselves, with exact codes, cameras and depth.

    python -m training.synthesize portraits --out DIR --people 450 --workers 2
    python -m training.synthesize portraits --out HELD_OUT --people 50 --views 4 --close-ups 0 --seed 1000000

A run that was stopped goes on with ``--resume``; people that are finished are not rendered again. See ``docs/data.md``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from neural_core.errors import PortraitError, UsageError
from training.synthetic.labels import finished_people, write_dataset_json

_SETTINGS_FILE = "synthesis.json"
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Portraits:
    """Render heads of sampled people in EG3D's data set layout, with depth and codes beside it."""

    out: Path
    """Folder of the data set."""
    people: int = 450
    """How many people."""
    views: int = 8
    """Pictures of each person; one is near-frontal."""
    close_ups: int = 2
    """How many of the views show only eyes, nose and mouth."""
    size: int = 128
    """Width and height of the pictures in pixels."""
    samples: int = 10
    """Cycles samples per pixel, before denoising."""
    seed: int = 0
    """The same seed gives the same people and cameras."""
    workers: int = 2
    """Render processes; each uses one core."""
    resume: bool = False
    """Go on with a data set that exists."""


def render_portraits(options: Portraits, report: Callable[[str], None] = print) -> int:
    """Render what is missing of a data set.

    Args:
        options: What to render, and where.
        report: Receives a line of progress now and then.

    Returns:
        The number of pictures that the data set now has.

    Raises:
        UsageError: The options make no sense, or do not fit the data that is there.
        PortraitError: A render process failed.
    """
    _check(options)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        _remember(options)
    except OSError as error:
        raise PortraitError(
            f"The data set cannot be written to {options.out}: {error.strerror or error}.",
            "Choose a folder on a disk with room that you may write to.",
            kind="output",
        ) from error
    for leftover in options.out.glob(".rendering-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    before = len(finished_people(options.out))
    started = time.monotonic()
    processes = [_start(options, worker) for worker in range(options.workers)]
    seen = before
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(_POLL_SECONDS)
            done = len(finished_people(options.out))
            if done > seen:
                seen = done
                write_dataset_json(options.out)
                report(_progress(options, done, done - before, time.monotonic() - started))
            if any(process.poll() not in (None, 0) for process in processes):
                break
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        codes = [process.wait() for process in processes]
        pictures = write_dataset_json(options.out)
    if any(codes):
        raise PortraitError(
            f"Rendering stopped: a render process ended with code {next(code for code in codes if code)}.",
            "Its last lines stand above. What is finished is kept; run again with --resume. "
            "Rendering needs Python 3.11 and the `blender` extra.",
        )
    return pictures


def _check(options: Portraits) -> None:
    for name, low in (("people", 1), ("views", 1), ("close_ups", 0), ("size", 8), ("samples", 1), ("workers", 1)):
        if getattr(options, name) < low:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {low}, not {getattr(options, name)}.")
    if options.close_ups >= options.views:
        raise UsageError(
            f"{options.close_ups} close-ups leave no ordinary view of {options.views}.", "Lower --close-ups."
        )
    if options.seed < 0:
        raise UsageError(f"--seed must not be negative, and {options.seed} is.")


def _remember(options: Portraits) -> None:
    """Keep the settings beside the data, so that no run mixes people of two kinds."""
    picture_settings = {"layout": 1} | {
        name: value
        for name, value in asdict(options).items()
        if name in ("views", "close_ups", "size", "samples", "seed")
    }
    file = options.out / _SETTINGS_FILE
    if file.is_file():
        if json.loads(file.read_text()) != picture_settings:
            raise UsageError(
                f"{options.out} holds a data set with other settings.", "Choose another --out, or the same settings."
            )
        if not options.resume:
            raise UsageError(f"{options.out} holds a data set already.", "Add --resume to go on with it.")
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(picture_settings, indent=2) + "\n")
    temporary.replace(file)


def _start(options: Portraits, worker: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "training.synthetic.cycles", "--out", os.fspath(options.out)]
    for name in ("people", "views", "close_ups", "size", "samples", "seed", "workers"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    # One core each: numpy's threads would fight with the other renderer.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--worker", str(worker)],
        stdout=subprocess.DEVNULL,
        env=environment,
        cwd=Path(__file__).parents[1],
    )


def _progress(options: Portraits, done: int, new: int, seconds: float) -> str:
    rate = 60 * new / seconds
    left = (options.people - done) / rate if rate else 0.0
    return (
        f"{done}/{options.people} people, {done * options.views} pictures, "
        f"{rate * options.views:.0f} pictures a minute, {left:.0f} min left"
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 done, 1 failed, 2 wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] != ["portraits"]:
        asked_for_help = arguments[:1] in (["-h"], ["--help"])
        print(__doc__, file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    options = tyro.cli(Portraits, args=arguments[1:], prog="training.synthesize portraits")
    try:
        pictures = render_portraits(options, report=lambda line: print(line, flush=True))
    except PortraitError as error:
        print(f"training.synthesize: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("training.synthesize: stopped; go on with --resume.", file=sys.stderr)
        return 1
    print(f"{options.out}: {pictures} pictures")
    return 0


if __name__ == "__main__":
    # A polite end (SIGTERM) has to reach the renderers too: as an exit it passes the `finally` that stops them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise SystemExit(main())
