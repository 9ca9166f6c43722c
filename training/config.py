# SPDX-License-Identifier: Apache-2.0
"""Run settings and the strict reading of TOML configuration files."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from neural_core.errors import UsageError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What the trainer needs to know; the same for every recipe."""

    steps: int = 1000
    """Length of the schedule in optimiser steps (used when `minutes` is 0)."""
    minutes: float = 0.0
    """Length of the schedule in minutes of wall-clock time; 0 counts steps instead. A run timed by the clock resumes
    where it stopped, but two such runs differ, since the machine decides how many steps fit."""
    seed: int = 0
    """Seed of the initial weights and of every batch (a batch depends on the seed and its step alone)."""
    threads: int = 0
    """CPU threads; 0 leaves torch's default."""
    ema: float = 0.999
    """Decay per step of the averaged weights that are exported."""
    warmup: float = 0.01
    """Share of the schedule over which the learning rate rises from 0."""
    log_every: int = 20
    """Steps between lines in stats.jsonl."""
    save_every: int = 500
    """Steps between saved states (also saved on SIGINT and SIGTERM, and at the end)."""
    sample_every: int = 1000
    """Steps between sample pictures and exported models."""
    max_bad_steps: int = 20
    """Abort when more steps than this had a non-finite gradient; such a step is skipped, counted and logged."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; `extends = "other.toml"` (beside it, one level) supplies what it leaves out.

    Raises:
        UsageError: the file is missing, is not TOML, or extends a file that itself extends.
    """
    table = _parse(path)
    parent = table.pop("extends", None)
    if parent is None:
        return table
    base = _parse(path.parent / parent)
    if "extends" in base:
        raise UsageError(f"{path} extends {parent}, which itself extends another file.", "Only one level is allowed.")
    return _merge(base, table)


def build(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Return the dataclass `kind` filled from a table; unknown keys and wrong types are errors that name the key.

    Raises:
        UsageError: with the dotted name of the first field that is wrong.
    """
    try:
        # As JSON, in which a list may stand for a tuple; types are strict all the same.
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(table), strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {field}: {first['msg']}.", "Run with --help to see every field.") from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the configuration {path}: {error.strerror}.", "Check --config.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", "Mend the line that it names.") from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
