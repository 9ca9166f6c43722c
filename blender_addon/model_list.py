# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models there are, read from the files' headers with the standard library: no engine needed to choose one."""

from __future__ import annotations

import json
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("assets") / "models"
_MAX_HEADER_BYTES = 1 << 26
_FACES = {
    5: ("FLAME", "FLAME licence: non-commercial, no redistribution"),
    24: ("SMPL", "SMPL licence: non-commercial, no redistribution"),
}
"""Kinds of face models and their licences, by the number of joints: the skinning weights have a column for each."""
_LIPSYNC = "lipsync"  # the system of models that make curves of speech


@dataclass(frozen=True)
class ModelFile:
    """A model and what its header says; `problem` is a sentence if the file cannot be read."""

    name: str
    path: Path
    size_mb: float
    licence: str = ""
    use: str = ""
    problem: str = ""
    system: str = ""


@dataclass(frozen=True)
class FaceFile:
    """A face model of the user's: its kind is FLAME or SMPL; `problem` is a sentence if it is neither."""

    name: str
    kind: str = ""
    licence: str = ""
    problem: str = ""


def models(folder: str = "") -> dict[str, ModelFile]:
    """Return the shipped models that make portraits and those in `folder`, by name.

    A file of the folder beats a shipped one. Without a folder it is the one where the engine looks.
    """
    places = [SHIPPED, user_folder(folder)]
    found = [
        _read(path) for place in places if os.access(place, os.R_OK) for path in sorted(place.glob("*.safetensors"))
    ]
    return {model.name: model for model in found if model.system != _LIPSYNC}


def user_folder(chosen: str = "") -> Path:
    """Return where the engine keeps the user's models: the chosen folder, or its own place. It need not exist."""
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "neural-portrait" / "models"


def faces(folder: str = "") -> dict[str, FaceFile]:
    """Return the user's face models by name; they lie beside the models."""
    place = user_folder(folder).parent / "faces"
    found = sorted(place.glob("*.safetensors")) if os.access(place, os.R_OK) else []
    return {path.stem: _read_face(path) for path in found if not path.name.startswith(".")}


def names(folder: str = "") -> list[str]:
    """Return the names of the models, the shipped ones first."""
    return list(models(folder))


def _header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file. Raises OSError, ValueError or struct.error if it has none."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _MAX_HEADER_BYTES:
            raise ValueError("the header is too long")
        header = json.loads(file.read(length).decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("the header is no table")
    return header


def _read_face(path: Path) -> FaceFile:
    try:
        _, joints = _header(path)["weights"]["shape"]
        return FaceFile(path.stem, *_FACES[joints])
    except (OSError, ValueError, struct.error, KeyError, TypeError):
        return FaceFile(path.stem, problem=f'"{path.name}" holds no FLAME and no SMPL.')


def _read(path: Path) -> ModelFile:
    try:
        size_mb = path.stat().st_size / 1e6
        metadata = _header(path).get("__metadata__", {})
        licence, use, system = (str(metadata.get(key, "")) for key in ("licence", "use", "system"))
        return ModelFile(path.stem, path, size_mb, licence, use, system=system)
    except (OSError, ValueError, struct.error, AttributeError) as error:
        return ModelFile(path.stem, path, 0.0, problem=f'"{path.name}" is no model: {error}.')
