# SPDX-License-Identifier: Apache-2.0
"""Make training data: people of our own, with exact labels.

    python -m training.synthesize portraits --out DIR --people 450 --workers 2
    python -m training.synthesize portraits --out DIR --variety wide --framing bust --renderer raster
    python -m training.synthesize portraits --out DIR --variety wide --seconds 4 --views 1 --people 50
    python -m training.synthesize speech --out DIR
    python -m training.synthesize checksum DIR
    python -m training.synthesize verify DIR

A run that was stopped, however it was, goes on with ``--resume``; the same seed gives the same files. ``--help`` after
any of the words says more; so does ``docs/data.md``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from neural_core.errors import PortraitError, UsageError
from neural_core.files import make_folder, write_bytes
from training.data.folders import checksum, clear_leftovers, finished_people, write_dataset_json
from training.synthetic.plan import Job, Plan

_SETTINGS_FILE = "synthesis.json"
_LAYOUT = 2
_POLL_SECONDS = 0.2
_RENDERERS = {"cycles": "training.synthetic.cycles", "raster": "training.synthetic.dataset"}


@dataclass(frozen=True)
class Portraits:
    """Render sampled people in EG3D's data set layout, with a record of everything that is known beside it."""

    out: Path
    """Folder of the data set."""
    people: int = 450
    """How many people."""
    variety: Literal["studio", "wide"] = "studio"
    """studio: the code of a person says everything, light is the same for all, nothing is behind. wide: hair style,
    glasses, garment, light and background are drawn as well."""
    expressions: Literal["neutral", "natural", "lively"] | None = None
    """Resting faces, or expressions with gaze, neck and shoulders; lively: open mouths, shut eyes and every action much
    more often than in life, to train portraits that move (stills only). As it suits the variety, if left out."""
    framing: Literal["head", "bust"] = "head"
    """EG3D's crop of FFHQ, or head and shoulders."""
    instants: int = 1
    """Poses of each person; with --seconds, clips of each."""
    views: int = 8
    """Cameras that see each instant; one of several is near-frontal."""
    close_ups: int = 0
    """How many of the views show only eyes, nose and mouth."""
    seconds: float = 0.0
    """Take clips of this length at 25 frames a second, not stills."""
    max_yaw: float = 180.0
    """Degrees that cameras stand to the side at most."""
    max_pitch: float = 25.0
    """Degrees that cameras stand above or below at most."""
    frontal_share: float = 0.55
    """Share of the views, after the near-frontal one, that lie within 60 degrees."""
    renderer: Literal["cycles", "raster"] = "cycles"
    """cycles: Blender's path tracer, for quality. raster: our rasteriser, for volume."""
    size: int = 128
    """Width and height of the pictures in pixels."""
    samples: int = 10
    """Cycles samples per pixel, before denoising."""
    seed: int = 0
    """The same seed gives the same people, pictures and labels."""
    workers: int = 2
    """Render processes; each uses one core."""
    resume: bool = False
    """Go on with a data set that exists."""
    json: bool = False
    """Print the result as one line of JSON at the end."""

    def job(self) -> Job:
        """What the render processes are told."""
        natural = "natural" if self.variety == "wide" else "neutral"
        names = Plan.__dataclass_fields__.keys() & Portraits.__dataclass_fields__.keys()
        values = {name: getattr(self, name) for name in names}
        plan = Plan(**{**values, "expressions": self.expressions or natural})
        # Render processes run elsewhere: a relative folder would be another one there.
        return Job(self.out.absolute(), self.seed, self.people, plan, self.renderer, self.samples)


@dataclass
class Progress:
    """How far a run is; updated while it goes on."""

    people: int
    """People that are finished."""
    pictures: int = 0
    """Pictures that this run made."""
    seconds: float = 0.0
    """Since it began."""
    left: int = 0
    """Pictures that are still to be made."""


@dataclass(frozen=True)
class Result:
    """What a data set is after a run."""

    out: str
    people: int
    pictures: int
    new_pictures: int
    seconds: float
    pictures_per_minute: float
    pictures_per_hour: float
    checksum: str


def render_portraits(options: Portraits, report: Callable[[Progress], object] = lambda _: None) -> Result:
    """Render what is missing of a data set.

    Args:
        options: What to render, and where.
        report: Told of the progress several times a second.

    Raises:
        UsageError: The options make no sense, or do not fit the data that is there.
        PortraitError: A render process failed.
    """
    _check(options)
    job = options.job()
    _prepare(job, options.resume)
    before = set(finished_people(job.out))
    missing = len(set(range(job.people)) - before)
    progress = Progress(len(before), left=missing * job.plan.frames)
    started = time.monotonic()
    # What renderers leave in their temporary folder goes with it, in the next run at the latest.
    rubbish = job.out / f".rendering-{os.getpid()}"
    make_folder(rubbish)
    crew = [_Worker(job, number, options.workers, rubbish) for number in range(options.workers)]
    try:
        # After one has failed the others have nothing to add: the cause is most often the disk's or the installation's.
        while any(worker.running for worker in crew) and not any(worker.failed for worker in crew):
            time.sleep(_POLL_SECONDS)
            made = sum((worker.pictures.copy() for worker in crew), Counter())  # threads add to them meanwhile
            progress.pictures, progress.seconds = made.total(), time.monotonic() - started
            progress.left = missing * job.plan.frames - progress.pictures
            progress.people = len(before) + sum(count == job.plan.frames for count in made.values())
            report(progress)
    finally:
        for worker in crew:
            worker.stop()
        shutil.rmtree(rubbish, ignore_errors=True)
        pictures = write_dataset_json(job.out)
    for worker in crew:
        worker.raise_failure()
    seconds = time.monotonic() - started
    new = sum(worker.pictures.total() for worker in crew)
    rate = new / seconds
    return Result(
        out=os.fspath(job.out),
        people=len(finished_people(job.out)),
        pictures=pictures,
        new_pictures=new,
        seconds=round(seconds, 1),
        pictures_per_minute=round(60 * rate, 1),
        pictures_per_hour=round(3600 * rate),
        checksum=checksum(job.out),
    )


def _check(options: Portraits) -> None:
    for name, low in (("people", 1), ("instants", 1), ("views", 1), ("close_ups", 0), ("size", 8), ("samples", 1),
                      ("workers", 1), ("seed", 0), ("seconds", 0), ("max_pitch", 0)):  # fmt: skip
        if getattr(options, name) < low:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {low}, not {getattr(options, name)}.")
    if options.close_ups >= options.views:
        raise UsageError(
            f"{options.close_ups} close-ups leave no ordinary view of {options.views}.", "Lower --close-ups."
        )
    if options.expressions == "lively" and options.seconds:
        raise UsageError("Lively expressions are for stills.", "Leave out --seconds, or use --expressions natural.")
    for name, high in (("max_yaw", 180), ("max_pitch", 80), ("frontal_share", 1)):
        if not 0 <= getattr(options, name) <= high:
            raise UsageError(
                f"--{name.replace('_', '-')} must lie between 0 and {high}, not at {getattr(options, name)}."
            )


def _prepare(job: Job, resume: bool) -> None:
    """Make the folder; keep the settings in it, so that no run mixes people of two kinds; clear what a kill left."""
    make_folder(job.out)
    _refuse_a_second_run(job.out)
    settings = {"layout": _LAYOUT, **asdict(job)}
    del settings["out"], settings["people"]
    file = job.out / _SETTINGS_FILE
    if file.is_file():
        if json.loads(file.read_text()) != settings:
            raise UsageError(
                f"{job.out} holds a data set with other settings.", "Choose another --out, or the same settings."
            )
        if not resume:
            raise UsageError(f"{job.out} holds a data set already.", "Add --resume to go on with it.")
    write_bytes(file, (json.dumps(settings, indent=2) + "\n").encode())
    clear_leftovers(job.out)
    for leftover in job.out.glob(".rendering-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _refuse_a_second_run(out: Path) -> None:
    """Two runs would clear each other's files. The name of a run's temporary folder says which process it is."""
    for folder in out.glob(".rendering-*"):
        number = folder.name.removeprefix(".rendering-")
        if number.isdecimal() and int(number) != os.getpid() and _lives(int(number)):
            raise UsageError(
                f"Another run (process {number}) writes to {out}.",
                f"Wait for its end; if that process is something else, delete {folder}.",
            )


def _lives(process: int) -> bool:
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return False
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What starts within ignores Ctrl-C from its first line on: it is ours to hear, and we stop the others."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class _Worker:
    """A render process, and the thread that listens to it."""

    job: Job
    number: int
    of: int
    temporary: Path
    pictures: Counter[int] = field(default_factory=Counter)
    """How many it has made, by person."""
    error: PortraitError | None = None
    stopped: bool = False
    """Whether we ended it while it ran."""

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", _RENDERERS[self.job.renderer], "--job", self.job.to_json(), "--leash"]
        with _interrupts_ignored():
            self.process = subprocess.Popen(
                [*command, "--worker", str(self.number), "--workers", str(self.of)],
                stdin=subprocess.PIPE,  # never written to: it ends when we do, however we end
                stdout=subprocess.PIPE,
                text=True,
                # One core each: numpy's threads would fight with the other renderer.
                env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": os.fspath(self.temporary.absolute())},
                cwd=Path(__file__).parents[1],
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def stop(self) -> None:
        if self.running:
            self.stopped = True
            self.process.terminate()
        self.process.wait()
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def raise_failure(self) -> None:
        """Say why the process failed, if it did of its own accord. Raises PortraitError."""
        if self.error is not None:
            raise self.error
        if self.process.returncode != 0 and not self.stopped:
            raise PortraitError(
                f"Rendering stopped: a render process ended with code {self.process.returncode}.",
                "Its last lines stand above. What is finished is kept; run again with --resume. "
                "Cycles needs Python 3.11 and the `blender` extra; --renderer raster does not.",
            )

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "error" in said:
                self.error = PortraitError(said["error"], said["hint"], said["kind"])
            else:
                self.pictures[said["person"]] += 1


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 done, 1 failed, 2 wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {"portraits": _portraits, "speech": _speech, "checksum": _checksum, "verify": _verify}
    if not arguments or arguments[0] not in commands:
        asked_for_help = arguments[:1] in (["-h"], ["--help"])
        print(__doc__, file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    try:
        return commands[arguments[0]](arguments[1:])
    except PortraitError as error:
        print(f"training.synthesize: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("training.synthesize: stopped; go on with --resume.", file=sys.stderr)
        return 1


def _portraits(arguments: list[str]) -> int:
    options = tyro.cli(Portraits, args=arguments, prog="training.synthesize portraits")
    with _progress_bar(options.job()) as report:
        result = render_portraits(options, report)
    for name, value in asdict(result).items():
        print(f"{name.replace('_', ' '):20} {value}")
    if options.json:
        print(json.dumps(asdict(result)))
    return 0


@contextmanager
def _progress_bar(job: Job) -> Iterator[Callable[[Progress], object]]:
    """A bar on standard error with pictures done, rate and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.fields[people]}/{task.fields[of]} people"), BarColumn(),
               TextColumn("{task.completed} of {task.total} pictures, {task.fields[rate]:.0f} a minute"),
               TimeRemainingColumn())  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), speed_estimate_period=300) as bar:
        task = bar.add_task("render", total=None, people=0, of=job.people, rate=0.0)

        def report(progress: Progress) -> None:
            rate = 60 * progress.pictures / progress.seconds if progress.seconds else 0.0
            total = progress.pictures + progress.left
            bar.update(task, completed=progress.pictures, total=total, people=progress.people, rate=rate)

        yield report


def _speech(arguments: list[str]) -> int:
    from training.synthetic.speech import main as speech

    return speech(arguments)


def _checksum(arguments: list[str]) -> int:
    folder = tyro.cli(_Folder, args=arguments, prog="training.synthesize checksum").data
    print(checksum(folder))
    return 0


def _verify(arguments: list[str]) -> int:
    from training.synthetic.verify import main as verify

    return verify(arguments)


@dataclass(frozen=True)
class _Folder:
    """SHA-256 over names and content of all files of a data set: two runs of one seed have the same."""

    data: tyro.conf.Positional[Path]
    """Folder of the data set."""


if __name__ == "__main__":
    # A polite end (SIGTERM) has to reach the renderers too: as an exit it passes the `finally` that stops them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise SystemExit(main())
