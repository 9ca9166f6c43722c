# SPDX-License-Identifier: Apache-2.0
"""Run settings and the strict reading of TOML configuration files."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import pydantic

from neural_core.errors import UsageError

T = TypeVar("T")


def above_zero(section: str, settings: object, *names: str) -> None:
    """Raise UsageError if one of these fields of a section is 0 or less."""
    for name in names:
        if getattr(settings, name) <= 0:
            raise UsageError(f"{section}.{name} is {getattr(settings, name)}, but has to be above 0.")


def not_negative(section: str, settings: object, *names: str) -> None:
    """Raise UsageError if one of these fields of a section is below 0."""
    for name in names:
        if getattr(settings, name) < 0:
            raise UsageError(f"{section}.{name} is {getattr(settings, name)}, but cannot be negative.")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What the trainer needs to know; the same for every recipe."""

    batch: int = 4
    """Samples an optimiser step, over all processes."""
    micro_batch: int = 0
    """Samples computed together on one process; a batch is cut into such pieces and their gradients are added up. Less
    needs less memory. What a recipe compares within a batch it compares within a micro-batch. 0: batch / processes."""
    steps: int = 1000
    """Length of the schedule in optimiser steps (used when `minutes` and `kimg` are 0)."""
    minutes: float = 0.0
    """Length of the schedule in minutes of wall-clock time, or 0. A run timed by the clock resumes where it stopped,
    but two such runs differ, since the machine decides how many steps fit."""
    kimg: float = 0.0
    """Length of the schedule in thousands of samples, or 0."""
    seed: int = 0
    """Seed of the initial weights, of the order of the data and of all random numbers."""
    threads: int = 0
    """CPU threads of a process; 0 leaves torch's default (1 under torchrun with several processes)."""
    workers: int = 0
    """Processes that read data ahead, for each training process; 0 reads in the training process."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the networks where the recipe lets it be less (the warm start always computes in bfloat16); float16 scales the
    loss by a factor that adapts itself."""
    ema: float = 0.999
    """Decay per step of the averaged weights that are exported (used when `ema_kimg` is 0)."""
    ema_kimg: float = 0.0
    """Half-life of the averaged weights in thousands of samples, or 0 for `ema`."""
    ema_rampup: float = 0.05
    """Early in a run the half-life is at most this share of the samples seen; 0 for no such limit."""
    warmup: float = 0.01
    """Share of the schedule over which learning rates rise from 0, where the recipe's schedule has that."""
    log_every: int = 20
    """Steps between lines in stats.jsonl."""
    save_every: int = 500
    """Steps between saved states (also saved on SIGINT and SIGTERM, and at the end)."""
    keep_states: int = 2
    """Saved states that are kept: the newest, and those before it in case that it is damaged."""
    sample_every: int = 1000
    """Steps between sample pictures and exported models."""
    max_bad_steps: int = 20
    """Abort when more optimiser steps than this, since the run was begun or resumed, had a gradient that was not
    finite; such steps are skipped, counted and logged."""
    patience: float = 10.0
    """Minutes that a process waits for the others before it gives the run up. The first one writes states, models and
    samples while they wait, so it has to be more than these take."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        above_zero("run", self, "batch", "steps", "log_every", "save_every", "keep_states", "sample_every", "patience")
        not_negative(
            "run", self, "micro_batch", "minutes", "kimg", "threads", "workers", "max_bad_steps", "ema_kimg",
            "ema_rampup",
        )  # fmt: skip
        if self.minutes and self.kimg:
            raise UsageError(
                "run.minutes and run.kimg both say how long the run is.", "Set one of them to 0, or leave it out."
            )


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; `extends = "other.toml"` (beside it, one level) supplies what it leaves out.

    Raises:
        UsageError: the file is missing, is not TOML, or extends a file that itself extends or is not named by a text.
    """
    table = _parse(path)
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str):
        raise UsageError(f"{path} extends {parent!r}, which is no file name.", 'Write extends = "other.toml".')
    base = _parse(path.parent / parent)
    if "extends" in base:
        raise UsageError(f"{path} extends {parent}, which itself extends another file.", "Only one level is allowed.")
    return _merge(base, table)


def build(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Return the dataclass `kind` filled from a table; unknown keys and wrong types are errors that name the key.

    Raises:
        UsageError: with the dotted name of the first field that is wrong.
    """

    def refuse(value: object) -> None:
        raise UsageError(f"{where}: {value} is a date or a time, which no field takes.", "A text needs quotes.")

    try:
        # As JSON, in which a list may stand for a tuple; types are strict all the same.
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(table, default=refuse), strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            raise UsageError(f"{where}: there is no field {field}.", _suggestion(kind, first["loc"])) from None
        raise UsageError(f"{where}: {field}: {first['msg']}.", "Run with --help to see every field.") from None


def _suggestion(kind: type, path: tuple[int | str, ...]) -> str:
    """Return which field was meant instead of the unknown one at the end of a path of fields."""
    for name in path[:-1]:
        kind = get_type_hints(kind).get(str(name), object) if dataclasses.is_dataclass(kind) else object
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    near = difflib.get_close_matches(str(path[-1]), names, n=1)
    return f"Did you mean {near[0]}?" if near else "Run with --help to see every field."


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the configuration {path}: {error.strerror}.", "Check --config.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file in UTF-8.", "Save it in that encoding.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", "Mend the line that it names.") from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
