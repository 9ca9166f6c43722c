# SPDX-License-Identifier: Apache-2.0
"""Published weights -> ours. Their files are read as data; nothing in them is executed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import checkpoints
from ..errors import ModelError
from . import eg3d
from .snapshots import Record, read_snapshot

VERSION = 1
"""Of the converters, kept in what they make."""


@dataclass(frozen=True)
class Converted:
    """A published model in our terms; the fields are the arguments of `checkpoints.save`."""

    tensors: dict[str, Tensor]
    system: str
    config: dict[str, Any]
    metadata: dict[str, str | dict[str, Any]]


def convert(source: Path, target: Path) -> str:
    """Write the checkpoint of a published file, and return its sha256.

    Raises:
        ModelError: if the file is no published model that we know; nothing is written then.
        PortraitError: kind "output", if the target cannot be written.
    """
    found = read(source)
    return checkpoints.save(target, found.tensors, found.system, found.config, found.metadata)


def read(path: Path) -> Converted:
    """Return a published file's weights in our terms. Raises ModelError if it is no model that we know."""
    generator = read_snapshot(path).get("G_ema")
    if not isinstance(generator, Record):
        raise ModelError(f'"{path.name}" holds no averaged generator ("G_ema").', "Choose a training snapshot.")
    if generator.class_name != eg3d.CLASS_NAME:
        raise ModelError(
            f'"{path.name}" holds a {generator.class_name}, which this version cannot convert.',
            f"It converts EG3D's {eg3d.CLASS_NAME}.",
        )
    config, tensors = eg3d.convert(generator, path.name)
    origin = {"file": path.name, "sha256": checkpoints.file_hash(path), "converter": VERSION}
    return Converted(
        tensors, "eg3d", dataclasses.asdict(config), {**eg3d.METADATA, "source": {**eg3d.SOURCE, **origin}}
    )
