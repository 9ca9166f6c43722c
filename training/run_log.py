# SPDX-License-Identifier: Apache-2.0
"""The run folder. The first process of a run writes it; every file is written whole or not at all.

    options.json         what was asked, and the machine
    stats.jsonl          what happened: one line every `run.log_every` steps
    tensorboard/         the same for TensorBoard, where that is installed
    samples/             pictures and turntables, named after their step
    state/0000500.pt     everything that is needed to go on from step 500 (`torch.load(weights_only=True)`)
    model.safetensors    what a user gets: averaged weights

A run that is killed goes on from its newest state; lines of stats.jsonl after that are dropped and written anew.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from neural_core.errors import InputError, UsageError
from neural_core.files import make_folder, output_error, replacing, write_bytes

CLOCK = ("minutes", "seconds_per_kimg", "images_per_second", "memory_mb", "damaged")
"""Fields of a line in stats.jsonl that depend on the machine, and on when the process began (damaged items that it
met). The others are the same after a resume."""

_KEPT = ("batch", "seed")
"""Settings of `run` that decide which samples a step sees; a resumed run has to keep them."""


class RunLog:
    """One run folder."""

    def __init__(self, folder: Path, recipe: str, config: Any, resume: bool) -> None:
        """Look whether such a run can be begun there or go on; nothing is written before `begin`.

        Raises:
            UsageError: the folder already holds a run and `resume` is false, or it holds another kind of run.
            InputError: its options cannot be read.
        """
        self.folder = folder
        self._board: Any = None
        options = {"recipe": recipe, "config": dataclasses.asdict(config), "machine": _machine()}
        self._options = json.loads(json.dumps(options))  # as it is read again: tuples are lists
        before = self._options_before()
        if before is not None:
            if not resume:
                raise UsageError(
                    f"{folder} already holds a run.", "Add --resume to go on, or choose another --run folder."
                )
            self._compare(before, self._options)

    def begin(self, step: int) -> None:
        """Claim the folder for a run that is ready to train, and forget what was logged after a step.

        A run that was killed goes on from a state that is older than its last lines.

        Raises:
            PortraitError: kind "output", if the folder cannot be written.
        """
        for name in ("samples", "state"):
            make_folder(self.folder / name)
        for leftover in (self.folder / "state").glob(".*.part.pt"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
        write_bytes(self.folder / "options.json", json.dumps(self._options, indent=1).encode())
        if self._stats.exists():
            kept = [line for line in self._stats.read_bytes().splitlines(keepends=True) if _step_of(line) <= step]
            write_bytes(self._stats, b"".join(kept))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("No TensorBoard files: the package tensorboard is not installed.", flush=True)
        else:
            self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def stats(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to stats.jsonl; numbers that are not finite become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            with self._stats.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **finite}) + "\n")
        except OSError as error:
            raise output_error(self._stats, error) from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def save_state(self, step: int, state: dict[str, Any], keep: int) -> None:
        """Write the state of a step; an interrupted write leaves those before it, of which `keep` - 1 stay."""
        path = self.folder / "state" / f"{step:07d}.pt"
        with replacing(path) as partial:
            torch.save(state, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut could leave the name without the bytes
        for old in self._states()[keep:]:
            old.unlink(missing_ok=True)

    def last_state(self) -> bytes | None:
        """Return the newest state that can be read, or None if there is none yet.

        Damaged ones are named, and deleted once an older one was read.

        Raises:
            InputError: there are states, and all are damaged.
        """
        damaged: list[Path] = []
        for path in self._states():
            data = path.read_bytes()
            try:
                read_state(data)
            except Exception as error:  # torch raises whatever the damage leads to
                print(f"{path} is damaged ({type(error).__name__}); going on from the state before it.", flush=True)
                damaged.append(path)
                continue
            for path in damaged:
                path.unlink()
            return data
        if damaged:
            raise InputError(f"No state in {self.folder / 'state'} can be read.", "Begin anew in another --run folder.")
        return None

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._board is not None:
            self._board.close()

    @property
    def _stats(self) -> Path:
        return self.folder / "stats.jsonl"

    def _states(self) -> list[Path]:
        """Return the saved states, newest first."""
        found = (self.folder / "state").glob("*.pt")
        return sorted((path for path in found if path.stem.isdigit()), key=lambda path: -int(path.stem))

    def _options_before(self) -> dict[str, Any] | None:
        path = self.folder / "options.json"
        if not path.exists():
            return None
        try:
            options = json.loads(path.read_bytes())
            return {"recipe": options["recipe"], "config": dict(options["config"])}
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{path} cannot be read.", "Restore it, or choose another --run folder.") from None

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Refuse to go on as something else; say what is different."""
        if before["recipe"] != now["recipe"]:
            raise UsageError(
                f"{self.folder} holds a run of the recipe {before['recipe']}, not of {now['recipe']}.",
                "Choose another --run folder.",
            )
        old, new = _flat(before["config"]), _flat(now["config"])
        changed = [name for name in new if new[name] != old.get(name)]
        for name in (f"run.{name}" for name in _KEPT):
            if name in changed and self._states():  # without a state the run begins anew
                raise UsageError(
                    f"{self.folder} holds a run with {name} {old.get(name)}, and it cannot go on with {new[name]}.",
                    "Leave it as it was, or choose another --run folder.",
                )
        for name in changed:
            print(f"resumed with {name} {new[name]}; before it was {old.get(name)}", flush=True)


def read_state(data: bytes) -> dict[str, Any]:
    """Return a state from its file's bytes, on the CPU; nothing in it is executed."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _step_of(line: bytes) -> float:
    """Return the step of a line of stats.jsonl; infinite if it was cut short."""
    if not line.endswith(b"\n"):
        return math.inf
    number = re.match(rb'\{"step": (\d+)', line)
    return int(number[1]) if number else math.inf


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _machine() -> dict[str, Any]:
    return {
        "torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }  # fmt: skip
