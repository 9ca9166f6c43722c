# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait mesh`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from ..errors import UsageError
from .console import Console
from .options import Common, check_output, parse_expression, parse_seeds
from .render import read_portrait_file


@dataclass(frozen=True)
class Mesh:
    """Extract a coloured surface by marching cubes, from a seed or a portrait file."""

    out: Path
    """FILE.glb, FILE.obj or FILE.ply; metres, +Y up, the face looks along +Z."""
    file: tyro.conf.Positional[Path | None] = None
    """FILE.portrait; else --seed says whose."""
    seed: str = "0"
    """Whose portrait: a whole number."""
    model: str = "default-next3d"
    """Name of an installed model, or a .safetensors file."""
    truncation: float = 0.7
    """How far from the mean person."""
    detail: int = 128
    """Grid cells along a side of the model's box, 16 to 512."""
    expression: str = ""
    """What the face does, for models that can: jawOpen=0.5,mouthSmileLeft=1 (the 52 ARKit actions)."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the mesh."""
        check_output(self.out, ".glb", ".obj", ".ply")
        seeds = parse_seeds(self.seed)
        if len(seeds) != 1:
            raise UsageError("A mesh is made of one seed.", "Give a whole number like 7.")
        expression = parse_expression(self.expression)
        data = read_portrait_file(self.file) if self.file else None
        console.report("Starting engine", 0, 1)
        from .. import mesh, studio

        maker = studio.Studio(self.common.device)
        if data is not None and self.file is not None:
            loaded, portrait = maker.open(data, self.file.name, console.report)
        else:
            loaded, portrait = maker.create(self.model, seeds[0], self.truncation, console.report)
        surface = maker.surface(maker.pose(loaded, portrait, {"actions": expression}), self.detail, console.report)
        mesh.export(surface, self.out)
        console.facts.update(vertices=len(surface.vertices), faces=len(surface.faces))
        console.made(self.out, f"{len(surface.faces)} triangles, {len(surface.vertices)} coloured vertices")
