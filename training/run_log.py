# SPDX-License-Identifier: Apache-2.0
"""The run folder: options.json (what was asked), stats.jsonl (what happened), samples/, state/, model.safetensors."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

import torch

from neural_core.errors import UsageError
from neural_core.files import replacing, write_bytes


class RunLog:
    """Writes one run folder. Every file is written whole or not at all."""

    def __init__(self, folder: Path, recipe: str, config: Any, resume: bool) -> None:
        """Create the folder, or reopen it.

        Raises:
            UsageError: the folder already holds a run and `resume` is false.
        """
        self.folder = folder
        if (folder / "options.json").exists() and not resume:
            raise UsageError(f"{folder} already holds a run.", "Add --resume to go on, or choose another --run folder.")
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir(exist_ok=True)
        machine = {"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()}
        options = {"recipe": recipe, "config": dataclasses.asdict(config), "machine": machine}
        write_bytes(folder / "options.json", json.dumps(options, indent=1).encode())

    def stats(self, **values: float) -> None:
        """Append one line to stats.jsonl."""
        with (self.folder / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({key: round(value, 6) for key, value in values.items()}) + "\n")

    @property
    def state_path(self) -> Path:
        """Where the resumable state lies (weights, optimisers, step)."""
        return self.folder / "state" / "latest.pt"

    def save_state(self, state: dict[str, Any]) -> None:
        """Write the resumable state; an interrupted write leaves the previous one."""
        with replacing(self.state_path) as partial:
            torch.save(state, partial)

    def load_state(self) -> dict[str, Any] | None:
        """Return the last saved state, or None when there is none yet."""
        if not self.state_path.exists():
            return None
        return torch.load(self.state_path, map_location="cpu", weights_only=True)
