# SPDX-License-Identifier: Apache-2.0
"""What each part of a network is worth: variants of a configuration, each trained with some seeds, on held-out people.

    python -m training.ablation next3d-warm-start --config F.toml --held-out DIR --out DIR --seeds 3

Every variant leaves one part out; all see the same people for the same number of steps (or minutes). Runs that are
finished are not repeated, so an ablation that was stopped goes on. The table and `ablation.json` give the mean over the
seeds and, after ±, the standard deviation: differences within it say nothing. Exit codes as `training.train` has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neural_core import systems
from neural_core.errors import PortraitError, UsageError
from neural_core.files import write_bytes

from .config import build, read_toml
from .data.portraits import Portraits, load_portraits
from .metrics.expressions import READ, line_within, read_expression, rig_values
from .metrics.pictures import over_grey, psnr
from .metrics.subject import Subject
from .recipes import next3d_warm_start
from .train import train

CONFIGS: dict[str, type] = {"next3d-warm-start": next3d_warm_start.Config}
"""The recipes that can be ablated."""

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "no static planes": {"model.static_planes": False},
    "no mouth module": {"model.mouth": None},
    "no blending": {"model.blending": None},
    "neither U-Net": {"model.mouth": None, "model.blending": None},
}
"""By name, the fields that differ from the configuration: parts that the paper looks at (Next3D, Sun et al. 2023,
section 4.3)."""

_MOUTH, _EYES = 0.2, 0.12
"""Sides of the squares, in picture widths, around mouth and eyes that are looked at by themselves."""
_FRONTAL = 35.0
"""Degrees by which a picture may look from the side for landmarks to be read off it."""

Figures = dict[str, float]
Finder = Callable[[Float[Tensor, "n 3 h w"]], Sequence[NDArray[np.float64] | None]]


def changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """Return a configuration with other values in some fields, each named by its dotted path."""
    for path, value in changes.items():
        first, _, rest = path.partition(".")
        config = replace(config, **{first: changed(getattr(config, first), {rest: value}) if rest else value})
    return config


def measure(subject: Subject, people: Portraits, find: Finder) -> Figures:
    """Return how well a model shows held-out people who do something.

    * psnr, psnr_mouth, psnr_eyes: dB, over grey, of pictures and of squares around mouth and eyes;
    * gain_mouth, gain_eyes: dB by which these exceed the same person's resting face: what the motion is worth;
    * jawOpen, eyeBlink, mouthSmile: correlation of the rig with what landmarks on the model's frontal pictures say,
      each person's mean taken off; left out where too few faces were found.

    Args:
        subject: the model.
        people: their pictures, as large as the model compares.
        find: landmarks (0..1 of the picture) of each of some pictures, None where there is no face.
    """
    scores: dict[str, list[float]] = {}
    rig, seen, who = [], [], []

    def note(name: str, value: Tensor) -> None:
        scores.setdefault(name, []).append(float(value))

    for person in range(people.people):
        portrait = subject.system.portrait_of(people.codes[person][None].to(subject.system.device))
        for view in range(people.cameras.shape[1]):
            actions, joints = people.actions[person, view], people.joints[person, view]
            camera = subject.in_head_space(people.cameras[person, view][None])
            moving, resting = (
                subject.see(subject.acting(portrait, face, joints), camera).compared
                for face in (actions, torch.zeros_like(actions))
            )
            rgba = people.rgba[person, view].float()[None] / 255
            truth = over_grey(rgba[:, :3] * rgba[:, 3:], rgba[:, 3:])
            note("psnr", psnr(moving, truth))
            *eyes, mouth = people.features[person, view]
            for name, places, side in (("mouth", [mouth], _MOUTH), ("eyes", eyes, _EYES)):
                for where in (place[:2] for place in places if place[2] > 0):
                    part = psnr(_square(moving, where, side), _square(truth, where, side))
                    own = psnr(_square(resting, where, side), _square(truth, where, side))
                    note(f"psnr_{name}", part)
                    note(f"gain_{name}", part - own)
            if _is_frontal(people.cameras[person, view]):
                rig.append(actions.numpy())
                seen.append(next(iter(find(moving))))
                who.append(person)
    figures = {name: statistics.fmean(values) for name, values in scores.items()}
    return figures | _correlations(np.array(rig).reshape(-1, 52), seen, np.array(who))


def _square(picture: Float[Tensor, "1 3 h w"], where: Float[Tensor, " 2"], side: float) -> Tensor:
    """Return the square around a place, moved into the picture where it would leave it."""
    size = picture.shape[-1]
    extent = max(1, round(side * size))
    left, top = ((where * size).round().long() - extent // 2).clamp(0, size - extent).tolist()
    return picture[..., top : top + extent, left : left + extent]


def _is_frontal(label: Float[Tensor, " 25"]) -> bool:
    """Return whether a camera looks at the face, whose direction is +z, from `_FRONTAL` degrees at most."""
    backwards = -label[:16].reshape(4, 4)[:3, 2]
    return bool(backwards[2] >= np.cos(np.radians(_FRONTAL)))


def _correlations(
    rig: Float[NDArray, "n 52"], seen: Sequence[NDArray[np.float64] | None], who: NDArray[np.integer]
) -> Figures:
    found = np.array([points is not None for points in seen], bool)
    if found.sum() < 3:
        return {}
    asked = rig_values(rig[found])
    said = np.stack([read_expression(points) for points in seen if points is not None])
    lines = (line_within(asked[:, k], said[:, k], who[found]) for k in range(len(READ)))
    return {name: line.correlation for name, line in zip(READ, lines, strict=True) if line is not None}


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
    find: Finder,
) -> dict[str, dict[str, Summary]]:
    """Train and measure what is missing, seed by seed, and write `ablation.json`.

    Raises:
        PortraitError: training or writing failed; what is finished is kept.
    """
    runs: dict[str, list[Figures]] = {variant: [] for variant in variants}
    for seed in seeds:  # all variants of a seed first: an ablation that is stopped compares what is there
        for variant in variants:
            folder = out / f"{variant.replace(' ', '-')}-{seed}"
            result = folder / "figures.json"
            if not result.is_file():
                own = changed(config, {**VARIANTS[variant], "run.seed": seed})
                train(recipe, own, folder, resume=folder.is_dir(), device="cpu")
                subject = Subject(systems.load(folder / "model.safetensors"), held_out.size)
                write_bytes(result, json.dumps(measure(subject, held_out, find)).encode())
            runs[variant].append(json.loads(result.read_text()))
            found = summaries(runs)
            plain = {name: {k: vars(v) for k, v in figures.items()} for name, figures in found.items()}
            write_bytes(out / "ablation.json", (json.dumps(plain, indent=1) + "\n").encode())
    return summaries(runs)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.ablation", description=__doc__, allow_abbrev=False)
    parser.add_argument("recipe", choices=sorted(CONFIGS))
    parser.add_argument("--config", type=Path, required=True, help="TOML file of the full variant")
    parser.add_argument("--held-out", type=Path, required=True, help="people whom training does not see")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of ablation.json")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant, with the seeds 0, 1, ...")
    parser.add_argument("--steps", type=int, default=0, help="length of a run; 0 leaves the configuration's")
    parser.add_argument("--minutes", type=float, default=0.0, help="the same by the clock: slower variants do less")
    parser.add_argument("--people", type=int, default=0, help="how many held-out people are measured; 0 for all")
    flags = parser.parse_args(argv)
    try:
        found = _run(flags)
    except PortraitError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    print(table(found))
    return 0


def _run(flags: argparse.Namespace) -> dict[str, dict[str, Summary]]:
    from .metrics.faces import check_available
    from .metrics.sources import faces_in

    check_available()
    if flags.seeds < 1:
        raise UsageError(f"--seeds is {flags.seeds}, but an ablation needs at least one.")
    config = build(CONFIGS[flags.recipe], read_toml(flags.config), str(flags.config))
    if flags.steps or flags.minutes:
        length = {"run.steps": flags.steps or config.run.steps, "run.minutes": flags.minutes, "run.kimg": 0.0}
        config = changed(config, length)
    held_out = load_portraits(flags.held_out, limit=flags.people, told_by_code=True, moving=True)
    return ablate(flags.recipe, config, flags.variants, range(flags.seeds), held_out, flags.out, faces_in)


if __name__ == "__main__":
    from .leaving import leave

    leave(main())
