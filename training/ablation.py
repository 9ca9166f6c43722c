# SPDX-License-Identifier: Apache-2.0
"""What each part of a network is worth: variants of a configuration, each trained with some seeds, on held-out people.

    python -m training.ablation next3d-warm-start --config F.toml --held-out DIR --out DIR --seeds 3
    python -m training.ablation next3d --config F.toml --held-out DIR --out DIR --seeds 3

Every variant leaves one part out; all see the same people for the same number of steps (or minutes). Runs that are
finished are not repeated, so an ablation that was stopped goes on. The table and `ablation.json` give the mean over the
seeds and, after ±, the standard deviation: differences within it say nothing. Fields of the configuration may be given
as flags (`--run.steps 500`), and exit codes are, as `training.train` has them.

An adversarial network that starts from nothing has people of its own, whom no held-out picture shows: let it start
(`init`) from weights that know whose code is whom. The variant "start" is what these show before training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neural_core import systems
from neural_core.errors import PortraitError, UsageError
from neural_core.files import write_bytes

from .data.portraits import Portraits, load_portraits
from .metrics.acting import READABLE, Figures, Finder, measure
from .metrics.subject import Subject
from .recipes import next3d_config, next3d_warm_start
from .train import configure, train

_UNTRAINED = {"rates.generator": 0.0, "run.steps": 1, "run.minutes": 0.0, "run.kimg": 0.0}


@dataclass(frozen=True)
class Ablation:
    """What can be left out of a recipe."""

    config: type
    """The recipe's."""
    variants: Mapping[str, Mapping[str, Any]]
    """By name, the fields that differ from the configuration: parts that the paper looks at (Next3D, Sun et al. 2023,
    section 4.3)."""


RECIPES: dict[str, Ablation] = {
    "next3d-warm-start": Ablation(
        next3d_warm_start.Config,
        {
            "full": {},
            "no static planes": {"model.static_planes": False},
            "no mouth module": {"model.mouth": None},
            "no blending": {"model.blending": None},
            "neither U-Net": {"model.mouth": None, "model.blending": None},
        },
    ),
    "next3d": Ablation(
        next3d_config.Config,
        {
            "start": _UNTRAINED,
            "full": {},
            "no static planes": {"without": ("static_planes",)},
            "neither U-Net": {"without": ("mouth",)},
            "no synthetic rendering": {"without": ("synthetic_rendering",)},
        },
    ),
}
"""The recipes that can be ablated."""


def changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """Return a configuration with other values in some fields, each named by its dotted path."""
    for path, value in changes.items():
        first, _, rest = path.partition(".")
        config = replace(config, **{first: changed(getattr(config, first), {rest: value}) if rest else value})
    return config


@dataclass(frozen=True)
class Summary:
    """A figure of a variant over its seeds."""

    mean: float
    deviation: float | None
    """Standard deviation (of a sample); None of one value."""
    values: tuple[float, ...]

    def __str__(self) -> str:
        """Return it as the table has it."""
        return f"{self.mean:.2f}" + ("" if self.deviation is None else f" ± {self.deviation:.2f}")


def summaries(runs: Mapping[str, Sequence[Figures]]) -> dict[str, dict[str, Summary]]:
    """Return the figures of each variant over the runs that have them."""
    result: dict[str, dict[str, Summary]] = {}
    for variant, found in runs.items():
        names = dict.fromkeys(name for figures in found for name in figures)
        values = {name: tuple(figures[name] for figures in found if name in figures) for name in names}
        result[variant] = {
            name: Summary(statistics.fmean(some), statistics.stdev(some) if len(some) > 1 else None, some)
            for name, some in values.items()
        }
    return result


def table(found: Mapping[str, Mapping[str, Summary]]) -> str:
    """Return a table in Markdown: a row a variant, a column a figure."""
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    rows = [["", *names], ["---"] * (1 + len(names))]
    rows += [[variant, *(str(figures.get(name, "")) for name in names)] for variant, figures in found.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def ablate(
    recipe: str,
    config: Any,
    variants: Sequence[str],
    seeds: Sequence[int],
    held_out: Portraits,
    out: Path,
    pixels: int,
    find: Finder | None,
) -> dict[str, dict[str, Summary]]:
    """Train and measure what is missing, seed by seed, and write `ablation.json`.

    Args:
        recipe: its name.
        config: of the full variant.
        variants: which of the recipe's.
        seeds: a run of every variant each.
        held_out: people whom training does not see.
        out: folder of the runs.
        pixels: width and height to which pictures are averaged down to be compared.
        find: as `measure` takes it.

    Raises:
        PortraitError: training or writing failed; what is finished is kept.
    """
    runs: dict[str, list[Figures]] = {variant: [] for variant in variants}
    for seed in seeds:  # all variants of a seed first: an ablation that is stopped compares what is there
        for variant in variants:
            folder = out / f"{variant.replace(' ', '-')}-{seed}"
            result = folder / "figures.json"
            if not result.is_file():
                own = changed(config, {**RECIPES[recipe].variants[variant], "run.seed": seed})
                train(recipe, own, folder, resume=folder.is_dir(), device="cpu")
                subject = Subject(systems.load(folder / "model.safetensors"), pixels)
                write_bytes(result, json.dumps(measure(subject, held_out, find)).encode())
            runs[variant].append(json.loads(result.read_text()))
            found = summaries(runs)
            plain = {name: {k: vars(v) for k, v in figures.items()} for name, figures in found.items()}
            write_bytes(out / "ablation.json", (json.dumps(plain, indent=1) + "\n").encode())
    return summaries(runs)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.ablation", description=__doc__, allow_abbrev=False)
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--config", type=Path, required=True, help="TOML file of the full variant")
    parser.add_argument("--held-out", type=Path, required=True, help="people whom training does not see")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of ablation.json")
    parser.add_argument("--variants", nargs="+", metavar="VARIANT", help="which of the recipe's; all if left out")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant, with the seeds 0, 1, ...")
    parser.add_argument("--people", type=int, default=0, help="how many held-out people are measured; 0 for all")
    parser.add_argument(
        "--size", type=int, default=0, help="pixels at which pictures are compared; 0: the held-out ones'"
    )
    flags, fields = parser.parse_known_args(argv)
    try:
        found = _run(flags, fields)
    except PortraitError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    print(table(found))
    return 0


def _run(flags: argparse.Namespace, fields: list[str]) -> dict[str, dict[str, Summary]]:
    from .metrics.faces import check_available
    from .metrics.sources import faces_in

    ablation = RECIPES[flags.recipe]
    if flags.seeds < 1:
        raise UsageError(f"--seeds is {flags.seeds}, but an ablation needs at least one.")
    variants = flags.variants or list(ablation.variants)
    if unknown := [name for name in variants if name not in ablation.variants]:
        raise UsageError(f'{flags.recipe} has no variant "{unknown[0]}".', f"It has: {', '.join(ablation.variants)}.")
    config = configure(ablation.config, flags.config, fields)
    held_out = load_portraits(flags.held_out, limit=flags.people, told_by_code=True, moving=True)
    pixels = flags.size or held_out.size
    if not 0 < pixels <= held_out.size:
        raise UsageError(f"--size is {pixels}, but the held-out pictures have {held_out.size} pixels a side.")
    find = None
    if pixels >= READABLE:
        check_available()
        find = faces_in
    return ablate(flags.recipe, config, variants, range(flags.seeds), held_out, flags.out, pixels, find)


if __name__ == "__main__":
    from .leaving import leave

    leave(main())
