# SPDX-License-Identifier: Apache-2.0
"""`python -m training.train RECIPE [--config F.toml] [--run DIR] [--resume] [--dry-run] [--section.field VALUE ...]`.

The same under `torchrun --nproc-per-node N -m training.train RECIPE --run-dir DIR ...`, on one machine or many
(docs/training.md).
Priority: field default < configuration file < flag. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from neural_core.errors import PortraitError, UsageError

from .recipes import RECIPES

USAGE = "python -m training.train RECIPE [options]"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _main(arguments)
    except PortraitError as error:
        rank = os.environ.get("RANK", "0")
        print(error if rank == "0" else f"process {rank}: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, UsageError) else 1


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {USAGE}\n\nrecipes:")
        for name, (_, meaning) in RECIPES.items():
            print(f"  {name:14} {meaning}")
        print(f"\n{_flags().format_help()}\nRECIPE --help lists every field of its configuration.")
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if name not in RECIPES:
        raise UsageError(f"There is no recipe {name!r}.", f"Choose one of: {', '.join(RECIPES)}.")
    flags, fields = _flags().parse_known_args(rest)
    recipe = importlib.import_module(RECIPES[name][0])
    config = configure(recipe.Config, flags.config, fields)
    if flags.dry_run:
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(dataclasses.asdict(config), indent=1))
        return 0
    train(name, config, flags.run or Path("runs") / name, resume=flags.resume, device=flags.device)
    return 0


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=USAGE, add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help="TOML file with the recipe's fields")
    parser.add_argument(
        *("--run", "--run-dir"), type=Path, dest="run", metavar="DIR",
        help="run folder (default: runs/RECIPE); --run-dir is the name that torchrun does not mistake for its own",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:n]")
    return parser


def configure(kind: type, path: Path | None, fields: list[str]) -> Any:
    """Return settings: the file's, and over them flags, say `--run.steps 500`. Raises UsageError for a wrong file."""
    import tyro

    from .config import build, read_toml

    default = build(kind, read_toml(path), str(path)) if path else kind()
    return tyro.cli(kind, args=fields, default=default, prog=USAGE)


def train(name: str, config: Any, folder: Path, *, resume: bool = False, device: str = "auto") -> None:
    """Train.

    Args:
        name: of the recipe.
        config: of its `Config`.
        folder: the run's.
        resume: whether a run in that folder goes on.
        device: auto, cpu or cuda[:n].

    Raises:
        PortraitError: of many kinds, as recipe, data and machine have it.
    """
    import torch

    from neural_core import devices

    from .distributed import joined, local_device
    from .guards import enough_memory
    from .run_log import RunLog
    from .trainer import Trainer

    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    recipe = importlib.import_module(RECIPES[name][0])
    chosen = devices.choose(local_device(device))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    with joined(config.run.patience) as world:
        log = world.on_first(lambda: RunLog(folder, name, config, resume))
        torch.manual_seed(config.run.seed)
        torch.set_flush_denormal(True)  # fading averages in Adam can slow CPUs down
        try:
            with enough_memory("the networks and their optimisers", "Choose a smaller model."):
                trainer = Trainer(recipe.build(config, chosen), config.run, log, chosen, world)
            trainer.run()
        finally:
            torch.set_flush_denormal(False)
    if log:
        print(f"Exported {folder / 'model.safetensors'}.")


if __name__ == "__main__":
    from .leaving import leave

    leave(main())
