# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models there are, read from the files' headers with the standard library: no engine needed to choose one."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).with_name("assets") / "models"
_MAX_HEADER_BYTES = 1 << 26


@dataclass(frozen=True)
class ModelFile:
    """A model and what its header says; `problem` is a sentence if the file cannot be read."""

    name: str
    path: Path
    size_mb: float
    licence: str = ""
    use: str = ""
    problem: str = ""


def models(folder: str = "") -> dict[str, ModelFile]:
    """Return the shipped models and those in `folder`, by name. A file of the folder beats a shipped one."""
    places = [SHIPPED, *([Path(folder)] if folder else [])]
    return {
        path.stem: _read(path) for place in places if place.is_dir() for path in sorted(place.glob("*.safetensors"))
    }


def names(folder: str = "") -> list[str]:
    """Return the names of the models, the shipped ones first."""
    return list(models(folder))


def _read(path: Path) -> ModelFile:
    try:
        size_mb = path.stat().st_size / 1e6
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError("the header is too long")
            metadata = json.loads(file.read(length).decode("utf-8")).get("__metadata__", {})
        return ModelFile(path.stem, path, size_mb, str(metadata.get("licence", "")), str(metadata.get("use", "")))
    except (OSError, ValueError, struct.error, AttributeError) as error:
        return ModelFile(path.stem, path, 0.0, problem=f'"{path.name}" is no model: {error}.')
