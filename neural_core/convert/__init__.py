# SPDX-License-Identifier: Apache-2.0
"""Published weights -> ours. Their files are read as data; nothing in them is executed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import checkpoints, models
from ..errors import ModelError
from ..human.flame import face_of_file
from ..human.model_files import read_model_file
from ..progress import Report, silent
from . import eg3d, next3d
from .snapshots import Record, read_snapshot

VERSION = 2
"""Of the converters, kept in what they make."""


@dataclass(frozen=True)
class Converted:
    """A published model in our terms; the fields are the arguments of `checkpoints.save`."""

    tensors: dict[str, Tensor]
    system: str
    config: dict[str, Any]
    metadata: dict[str, str | dict[str, Any]]


def convert(source: Path, target: Path, face: str = "", report: Report = silent) -> str:
    """Write the checkpoint of a published file, and return its sha256.

    Args:
        source: the published file.
        target: where to.
        face: name of the user's face model, for weights that are driven by one; empty for the only one of its kind.
        report: told of progress; may raise to stop, and nothing is written then.

    Raises:
        ModelError: if the file is no published model that we know, or needs a face model that is not there; nothing is
            written then.
        PortraitError: kind "output", if the target cannot be written.
    """
    found = read(source, face, report)
    report(f"Writing {target.name}", 0, 1)
    return checkpoints.save(target, found.tensors, found.system, found.config, found.metadata)


def read(path: Path, face: str = "", report: Report = silent) -> Converted:
    """Return a published file's weights in our terms; arguments and errors as of `convert`."""
    generator = read_snapshot(path, report).get("G_ema")
    if not isinstance(generator, Record):
        raise ModelError(f'"{path.name}" holds no averaged generator ("G_ema").', "Choose a training snapshot.")
    if generator.class_name != eg3d.CLASS_NAME:
        raise ModelError(
            f'"{path.name}" holds a {generator.class_name}, which this version cannot convert.',
            "It converts the published generators of EG3D and Next3D.",
        )
    report("Looking whether all is there", 0, 1)
    origin = {"file": path.name, "sha256": checkpoints.file_hash(path), "converter": VERSION}
    if not next3d.recognises(generator):
        config, tensors = eg3d.convert(generator, path.name)
        metadata = {**eg3d.METADATA, "source": {**eg3d.SOURCE, **origin}}
        return Converted(tensors, "eg3d", dataclasses.asdict(config), metadata)
    found = models.find_face(face, "flame", f'"{path.name}"')
    file = read_model_file(found)
    config, tensors = next3d.convert(generator, path.name, face_of_file(file))
    plain = dataclasses.asdict(config)
    del plain["moving"]  # of our own weights; published ones need not know what becomes of it
    needed = {"flame": {"name": found.stem, "sha256": file.sha256}}
    metadata = {**next3d.METADATA, "source": {**next3d.SOURCE, **origin}, "requires": needed}
    return Converted(tensors, "next3d", plain, metadata)
