# SPDX-License-Identifier: Apache-2.0
r"""How like people come out who are reconstructed from one picture: at that picture's view, and from the side.

    python -m training.reconstruction --model NAME --data HELD --people 20 --latents 100 --weights 100 --size 128 \
        --workers 2 --out DIR

Of each person of a data set, at rest, the picture most from the front is given, and the one whose camera stands nearest
to 30 degrees beside is compared. Of all people those are taken for whom it stands nearest. The fit is that of
`neural-portrait reconstruct`, with the truth in place of what capture reads off a photo: camera and mask, and that the
face is at rest. It is told neither code nor face shape. Beside it stand the mean portrait and the picture of the true
code, which is what the model could show of the person without tuning.

People who are finished are not measured again, and who is half done is taken up. Set malloc's variables
(docs/status.md, "Known"), which make iterations quicker. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_core import media, models, systems
from neural_core.errors import InputError, PortraitError, UsageError
from neural_core.files import make_folder, write_bytes
from neural_core.fitting.inversion import Length, Target, to_size
from neural_core.fitting.reconstruct import Options, fit, pixel_weights
from neural_core.fitting.tunable import Tunable
from neural_core.records import Record
from neural_core.systems.common import Portrait

from .metrics.pictures import GREY, psnr
from .metrics.sources import TruePictures, people_files
from .metrics.subject import Subject
from .metrics.worst import side_by_side

BESIDE = 30.0
"""Degrees between the picture that is given and the one that is compared."""
SHOWN = ("given", "reconstructed", "true beside", "reconstructed beside", "mean portrait beside")
"""What the sheet has of each person."""


@dataclass(frozen=True)
class Sitter:
    """One who is reconstructed, and two of their pictures."""

    file: Path
    """Their record."""
    given: int
    """The picture that the fit sees."""
    beside: int
    """The one that it does not see."""
    angle: float
    """Degrees between their cameras."""


@dataclass(frozen=True)
class Task:
    """What a process needs to know."""

    model: Path
    size: int
    length: Length
    out: Path

    def settings(self) -> dict[str, Any]:
        """Return what figures depend on."""
        iterations = [self.length.latents, self.length.weights]
        return {"model": self.model.stem, "size": self.size, "iterations": iterations}


def sitters(folder: Path, count: int) -> list[Sitter]:
    """Return the people whose pictures lie nearest to 30 degrees apart, the nearest first.

    Raises:
        InputError: there are none, or fewer than asked for.
    """
    found = []
    for file in people_files(folder):
        true = TruePictures(file)  # refuses those whom their code does not tell
        given = true.frontal
        angles = _angles(true.record, given)
        if len(angles) > 1:
            beside = min((k for k in range(len(angles)) if k != given), key=lambda k: abs(angles[k] - BESIDE))
            found.append(Sitter(file, given, beside, angles[beside]))
    if len(found) < count:
        raise InputError(f"{folder} has {len(found)} people with two pictures, not {count}.", "Ask for fewer.")
    return sorted(found, key=lambda sitter: (abs(sitter.angle - BESIDE), sitter.file))[:count]


def _angles(record: Record, given: int) -> list[float]:
    """Return the degrees between the directions in which a frame's camera and every other one lie from the head."""
    places = record.cameras[:, [3, 7, 11]].astype(np.float64)
    ways = places / np.linalg.norm(places, axis=1, keepdims=True)
    return [math.degrees(math.acos(min(1.0, cosine))) for cosine in ways @ ways[given]]


def _target(subject: Subject, true: TruePictures, frame: int, size: int) -> tuple[Target, Float[Tensor, "1 3 s s"]]:
    """Return what a true picture asks of the model, and the picture over grey.

    Args:
        subject: the model.
        true: a person's pictures.
        frame: which of them.
        size: pixels of the picture.
    """
    record, device = true.record, subject.system.device
    picture = true.over_grey(size, only=frame)

    def averaged(values: np.ndarray) -> Tensor:
        return to_size(torch.from_numpy(values.astype(np.float32))[None, None], size).to(device)

    known = {control.name for control in subject.system.info.controls}
    target = Target(
        picture=picture.to(device),
        alpha=averaged(record.alpha[frame] / 255),
        background=torch.full_like(picture, GREY).to(device),
        weight=averaged(pixel_weights(record)[frame]),
        camera=subject.in_head_space(torch.from_numpy(record.cameras[frame : frame + 1])).to(device),
        controls={"actions": torch.zeros(52, device=device)} if "actions" in known else None,
    )
    return target, picture


def measure(subject: Subject, sitter: Sitter, task: Task) -> dict[str, Any]:
    """Return a person's figures; their pictures are written beside.

    Raises:
        PortraitError: the record is damaged, or pictures cannot be written.
    """
    system = subject.system
    if not isinstance(system, Tunable):
        raise UsageError(f'Models of "{system.info.name}" cannot be fitted to a picture.')
    true = TruePictures(sitter.file)
    target, given = _target(subject, true, sitter.given, task.size)
    options = Options(length=task.length, state=_place(task.out, sitter, ".state"))
    began = time.process_time()
    portrait = fit(system, target, options, {})
    seconds = time.process_time() - began
    truth = torch.cat([given, true.over_grey(task.size, only=sitter.beside)])
    cameras = subject.in_head_space(torch.from_numpy(true.record.cameras[[sitter.given, sitter.beside]]))

    def shown(portrait: Portrait) -> Float[Tensor, "2 3 s s"]:
        return subject.see(system.pose(portrait), cameras).compared

    people = {
        "reconstructed": shown(portrait),
        "mean_portrait": shown(system.create(0, 0.0)),
        "true_code": shown(subject.portrait_of_code(torch.from_numpy(true.record.z))),
    }
    own, mean = people["reconstructed"], people["mean_portrait"]
    media.write_png(_place(task.out, sitter, ".png"), side_by_side(given[0], own[0], truth[1], own[1], mean[1]), {})
    scores = {name: psnr(pictures, truth).tolist() for name, pictures in people.items()}
    return {
        "person": sitter.file.stem,
        "angle": sitter.angle,
        "given": {name: score[0] for name, score in scores.items()},
        "beside": {name: score[1] for name, score in scores.items()},
        "cpu_seconds_an_iteration": seconds / max(1, task.length.total),
    }


def summed_up(people: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of people's figures, and how many came out nearer to the truth than the mean portrait."""

    def mean(values: Iterator[float]) -> float:
        return float(np.mean(list(values)))

    views = {
        view: {name: mean(person[view][name] for person in people) for name in people[0][view]}
        for view in ("given", "beside")
    }
    better = {
        f"{view}_better_than_mean_portrait": sum(p[view]["reconstructed"] > p[view]["mean_portrait"] for p in people)
        for view in views
    }
    also = {name: mean(person[name] for person in people) for name in ("angle", "cpu_seconds_an_iteration")}
    return {"people": len(people), **views, **better, **also}


def table(people: Sequence[dict[str, Any]], means: dict[str, Any]) -> str:
    """Return the figures in Markdown: a row a person, and their mean."""
    names = list(means["given"])
    heads = [f"{name.replace('_', ' ')}, {view}" for view in ("given", "beside") for name in names]
    lines = ["| | degrees | " + " | ".join(heads) + " |", "|---" * (2 + len(heads)) + "|"]
    for title, person in [*((person["person"], person) for person in people), ("mean", means)]:
        values = [person[view][name] for view in ("given", "beside") for name in names]
        lines.append(f"| {title} | {person['angle']:.0f} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines)


def _measured(sitter: Sitter, task: Task) -> dict[str, Any]:
    """Measure a person, and write the figures down."""
    figures = measure(Subject(systems.load(task.model), task.size), sitter, task)
    write_bytes(_place(task.out, sitter, ".json"), json.dumps({**task.settings(), **figures}).encode())
    return figures


def _begin() -> None:
    """Get a process of several ready."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # fading averages in Adam can slow CPUs down


def _all_measured(missing: Sequence[Sitter], task: Task, workers: int) -> Iterator[tuple[Sitter, dict[str, Any]]]:
    """Yield people's figures as they come; one worker is this process."""
    if workers == 1:
        yield from ((sitter, _measured(sitter, task)) for sitter in missing)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        jobs = {pool.submit(_measured, sitter, task): sitter for sitter in missing}
        yield from ((jobs[job], job.result()) for job in as_completed(jobs))


def _place(out: Path, sitter: Sitter, ending: str) -> Path:
    """Return a person's file."""
    return out / "people" / f"{sitter.file.stem}{ending}"


def _finished(sitter: Sitter, task: Task) -> dict[str, Any] | None:
    """Return the figures of a person who was measured before, with the same settings."""
    file = _place(task.out, sitter, ".json")
    if not file.is_file():
        return None
    figures = json.loads(file.read_text())
    settings = {name: figures.pop(name, None) for name in task.settings()}
    return figures if settings == task.settings() else None


def run(task: Task, people: Sequence[Sitter], workers: int) -> dict[str, Any]:
    """Measure people who are not finished, and write `reconstruction.json` and `reconstruction.png`.

    Args:
        task: what to do.
        people: of whom.
        workers: processes at a time.

    Raises:
        PortraitError: somebody could not be measured; who is finished is kept.
    """
    make_folder(task.out / "people")
    found = {sitter.file: figures for sitter in people if (figures := _finished(sitter, task)) is not None}
    missing = [sitter for sitter in people if sitter.file not in found]
    for sitter, figures in _all_measured(missing, task, workers):
        found[sitter.file] = figures
        own = {view: figures[view]["reconstructed"] for view in ("given", "beside")}
        print(f"{figures['person']}: {own['given']:.2f} dB given, {own['beside']:.2f} dB beside", flush=True)
    ordered = [found[sitter.file] for sitter in people]
    report = {**task.settings(), "mean": summed_up(ordered), "people": ordered}
    write_bytes(task.out / "reconstruction.json", (json.dumps(report, indent=1) + "\n").encode())
    strips = [media.read_picture(_place(task.out, sitter, ".png"))[..., :3] for sitter in people]
    media.write_png(task.out / "reconstruction.png", np.concatenate(strips), {"columns": SHOWN})
    return report


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.reconstruction", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="name of installed weights, or a .safetensors file")
    parser.add_argument("--data", type=Path, required=True, help="people whom training did not see, at rest")
    parser.add_argument("--people", type=int, default=20, help="how many of them")
    parser.add_argument("--latents", type=int, default=450, help="iterations that look for the person")
    parser.add_argument("--weights", type=int, default=500, help="iterations that tune the model")
    parser.add_argument("--size", type=int, default=256, help="pixels of the pictures that are given and compared")
    parser.add_argument("--workers", type=int, default=1, help="processes; several have one thread each")
    parser.add_argument("--json", action="store_true", help="print the means as one line of JSON at the end")
    parser.add_argument("--out", type=Path, required=True, help="folder for figures and pictures")
    try:
        _main(parser.parse_args(argv))
    except PortraitError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _main(flags: argparse.Namespace) -> None:
    if min(flags.people, flags.workers) < 1 or min(flags.latents, flags.weights) < 0:
        raise UsageError("There is nothing to do.", "Give --people, --workers and iterations of 1 or more.")
    task = Task(models.find(flags.model).path, flags.size, Length(flags.latents, flags.weights), flags.out)
    own = systems.load(task.model).info.image_size
    if flags.size < 1 or own % flags.size:
        raise UsageError(f"--size {flags.size} does not divide the model's {own} pixels.", f"Give --size {own}.")
    report = run(task, sitters(flags.data, flags.people), flags.workers)
    print(table(report["people"], report["mean"]))
    if flags.json:
        print(json.dumps(report["mean"]))


if __name__ == "__main__":
    from .leaving import leave

    leave(main())
