# SPDX-License-Identifier: Apache-2.0
"""`python -m training.evaluate --model NAME|--run DIR --data DIR [--train-data DIR] [--metrics a,b,c] --out DIR`.

Measures exported weights; `--list` says with what. Writes metrics.json, a table and pictures of the worst cases. Under
`torchrun` the items are split among the processes, which gives the same figures. Exit codes: 0 done, 1 failed, 2 wrong
usage.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neural_core.errors import PortraitError, UsageError

from .metrics.registry import METRICS, SOURCES, Metric, SourceName

if TYPE_CHECKING:
    from .distributed import World
    from .metrics.protocol import Judge, Setting
    from .metrics.report import Report
    from .metrics.sources import Source


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _main(_parser().parse_args(arguments), arguments)
    except PortraitError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description="Take the papers' figures.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="name of installed weights, or a .safetensors file")
    which.add_argument("--run", type=Path, help="run folder of training.train: its exported weights")
    which.add_argument("--list", action="store_true", help="say what every metric means and needs, and stop")
    parser.add_argument("--data", type=Path, help="held-out people")
    parser.add_argument("--train-data", type=Path, help="training people")
    parser.add_argument("--clips", type=Path, help="real clips, for fvd")
    parser.add_argument("--films", type=Path, help="films with sound that the model made, for sync")
    parser.add_argument("--metrics", default="all", help="names with commas between; all: what can be taken here")
    parser.add_argument("--seeds", type=int, default=100, help="portraits that are looked at")
    parser.add_argument("--yaw", default="0,30", help="degrees at which portraits are looked at; the first is 0")
    parser.add_argument("--truncation", type=float, default=0.7, help="of the portraits")
    parser.add_argument("--generated", type=int, default=1000, help="random pictures that fid and kid look at")
    parser.add_argument("--compare-size", type=int, default=128, help="pixels at which pictures are compared")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON at the end")
    parser.add_argument("--out", type=Path, help="folder for metrics.json and pictures")
    return parser


def _main(flags: argparse.Namespace, arguments: list[str]) -> int:
    if flags.list:
        print("\n".join(_described(metric) for metric in METRICS.values()))
        return 0
    wanted, all_of_them = _wanted(flags.metrics)
    yaws = _yaws(flags.yaw)
    if flags.out is None:
        raise UsageError("There is no folder for the figures.", "Give --out DIR.")
    if min(flags.seeds, flags.generated) < 2 or flags.compare_size < 8:
        raise UsageError("The figures need at least two seeds, and pictures of at least 8 pixels.")
    if not math.isfinite(flags.truncation):
        raise UsageError("--truncation is no number.", "0.7 is usual; 1 truncates nothing.")

    from neural_core import devices, models, systems
    from neural_core.files import check_folder_of, make_folder

    from .distributed import joined, local_device
    from .metrics.protocol import Setting
    from .metrics.report import Report
    from .metrics.sharding import PATIENCE
    from .metrics.subject import Subject

    make_folder(flags.out)
    check_folder_of(flags.out / "metrics.json")
    path = models.find(flags.model).path if flags.model else models.find(str(flags.run / "model.safetensors")).path
    subject = Subject(systems.load(path, devices.choose(local_device(flags.device))), flags.compare_size)
    setting = Setting(
        subject,
        flags.data,
        flags.train_data,
        flags.clips,
        flags.films,
        flags.seeds,
        yaws,
        flags.truncation,
        flags.generated,
    )
    about = {
        "model": path.stem,
        "sha256": subject.system.checkpoint_hash,
        "command": shlex.join(["python", "-m", "training.evaluate", *arguments]),
        "compare_size": subject.pixels,
        "rendered_size": subject.size,
        "seeds": flags.seeds,
        "yaws": yaws,
        "truncation": flags.truncation,
    }
    with joined(PATIENCE) as world:
        report = Report(about)
        lenient = report if all_of_them else None
        tasks = _opened(_judges(wanted, setting, lenient), setting, lenient)
        errors: list[PortraitError] = []
        try:
            for source, judges in tasks:
                errors += _take(source, judges, world, report)
        finally:  # what was measured before something ended the command is not lost
            if world.first:
                report.write(flags.out)
                print(report.table())
                if flags.json:
                    print(json.dumps(report.values()))
    if errors and not all_of_them:
        raise errors[0]
    return 0


def _wanted(text: str) -> tuple[list[Metric], bool]:
    """Return the metrics of `--metrics`, and whether all were asked for."""
    if text == "all":
        return list(METRICS.values()), True
    for name in (names := text.split(",")):
        if name not in METRICS:
            raise UsageError(f"There is no metric {name!r}.", f"Choose from: all, {', '.join(METRICS)}.")
    return [METRICS[name] for name in names], False


def _yaws(text: str) -> tuple[float, ...]:
    try:
        yaws = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no list of angles.", "Give degrees: --yaw 0,30.") from None
    if not all(map(math.isfinite, yaws)) or len({f"{yaw:g}" for yaw in yaws}) < len(yaws):
        raise UsageError(f"{text!r} is no list of different angles.", "Give degrees: --yaw 0,30.")
    if yaws[0] != 0:
        raise UsageError("The first yaw must be 0: some figures are defined for the view from the front.")
    return yaws


def _judges(wanted: list[Metric], setting: Setting, lenient: Report | None) -> list[tuple[Metric, Judge]]:
    """Return the metrics' judges; with a report to say it in, those that lack something are left out."""
    judges = []
    for metric in wanted:
        try:
            judges.append((metric, metric.begin(setting)))
        except PortraitError as error:
            if lenient is None:
                raise
            lenient.left_out[metric.name] = str(error)
    return judges


def _opened(
    judges: list[tuple[Metric, Judge]], setting: Setting, lenient: Report | None
) -> list[tuple[Source, dict[str, Judge]]]:
    """Return the sources with their judges by name; all are opened before the first is measured.

    With a report to say it in, the metrics of one that cannot be opened are left out.
    """
    tasks = []
    for name in SOURCES:
        of_source = {metric.name: judge for metric, judge in judges if metric.source == name}
        try:
            if of_source:
                tasks.append((_source(name, setting), of_source))
        except PortraitError as error:
            if lenient is None:
                raise
            lenient.left_out |= dict.fromkeys(of_source, str(error))
    return tasks


def _source(name: SourceName, setting: Setting) -> Source:
    from .metrics.set_sources import Films, GeneratedClips, GeneratedPictures
    from .metrics.sources import HeldOut, Seeds

    subject = setting.subject
    if name == "held-out":
        return HeldOut(subject, setting.folder("data", name))
    if name == "seeds":
        return Seeds(subject, setting.seeds, setting.truncation, setting.yaws)
    if name == "pictures":
        return GeneratedPictures(subject, setting.folder("pictures", name), setting.generated)
    if name == "clips":
        return GeneratedClips(subject, setting.folder("clips", name))
    return Films(setting.folder("films", name))


def _take(source: Source, judges: dict[str, Judge], world: World, report: Report) -> list[PortraitError]:
    """Measure a source's items, and let the first process's report know; return why figures could not be summed up."""
    from .metrics.sharding import measure

    errors: list[PortraitError] = []
    kept = measure(source, judges, world)
    if kept is None:
        return errors
    report.skipped |= {f"{source.what} {item}": why for item, why in kept.not_read().items()}
    for name, judge in judges.items():
        measured = kept.of(name)
        try:
            figures = judge.figures(measured) if measured else []
        except PortraitError as error:
            report.left_out[name] = str(error)
            errors.append(error)
            continue
        if figures:
            report.figures[name] = figures
            report.worst[name] = kept.worst[name]
        else:
            report.left_out[name] = "nothing could be measured"
    return errors


def _described(metric: Metric) -> str:
    from neural_core.others import NETWORKS

    network = f" Needs {NETWORKS[metric.network].what}." if metric.network else ""
    return f"{metric.name}: {metric.definition} ({metric.paper}).{network}"


if __name__ == "__main__":
    from .leaving import leave

    leave(main())
