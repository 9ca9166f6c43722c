# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files import check_folder_of

MAX_SEEDS = 10_000


@dataclass(frozen=True)
class Common:
    """Options of every command."""

    device: str = "auto"
    """What computes: auto, cpu, cuda or cuda:N."""
    json: bool = False
    """Print what was made as JSON, as the last line."""


@dataclass(frozen=True)
class View:
    """From where a portrait is seen."""

    yaw: float = 0.0
    """Degrees around the head; positive shows the subject's left side."""
    pitch: float = 0.0
    """Degrees above the head's centre; positive looks down."""
    size: int | None = None
    """Side of the picture in pixels (default: the model's own)."""
    expression: str = ""
    """What the face does, for models that can: jawOpen=0.5,mouthSmileLeft=1 (the 52 ARKit actions)."""
    background: str = "transparent"
    """transparent, black, white, grey, or #rrggbb."""


def parse_seeds(text: str) -> range:
    """Return the seeds that "7" or "0-99" mean. Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", text.strip())
    if not match:
        raise UsageError(f'The seed "{text}" is no number.', "Give a whole number like 7, or a range like 0-9.")
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if not first <= last < first + MAX_SEEDS:
        raise UsageError(f'"{text}" is no range of at most {MAX_SEEDS} seeds.', "Write the smaller seed first.")
    return range(first, last + 1)


def parse_background(text: str) -> tuple[int, int, int] | None:
    """Return a colour, 0..255 each, or None for transparent. Raises UsageError for anything else."""
    named = {"transparent": None, "black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255)}
    if text in named:
        return named[text]
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    raise UsageError(f'There is no background "{text}".', f"Use {', '.join(named)}, or #rrggbb.")


def parse_expression(text: str) -> dict[str, float]:
    """Return the values of the 52 actions in "jawOpen=0.5,...". Raises UsageError for unknown names and no numbers."""
    from ..human.arkit import ACTIONS

    values: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in ACTIONS:
            close = difflib.get_close_matches(name, ACTIONS, 1)
            raise UsageError(f'There is no action "{name}".', f'Did you mean "{close[0]}"?' if close else "")
        values[name] = _number(name, number, "jawOpen=0.5")
    return values


def parse_sliders(text: str) -> dict[str, float]:
    """Return the values of a person's sliders in "hair_length=2,...". Raises UsageError for what is no number."""
    values: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        values[name.strip()] = _number(name, number, "hair_length=2")
    return values


def _number(name: str, text: str, example: str) -> float:
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", text):
        raise UsageError(f'The value of {name}, "{text}", is no number.', f"Write {example}.")
    return float(text)


def check_output(path: Path, *suffixes: str) -> None:
    """Raise UsageError unless the file name ends in one of the suffixes, PortraitError if its folder is no good."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f'"{path}" does not end in {" or ".join(suffixes)}.', "The ending says which file is made.")
    check_folder_of(path)
