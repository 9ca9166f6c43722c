# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait demo`: the whole way from a seed to a rigged person in a .blend."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from ..errors import PortraitError, UsageError
from ..files import make_folder
from .console import Console
from .options import Common, View, parse_seeds

PICTURE_SIZE = 384
FILM_SIZE = 128
FILM_FRAMES = 48
"""Two seconds once round the head; sizes are such that two CPU cores make everything in less than a minute."""
MESH_DETAIL = 128


@dataclass(frozen=True)
class Demo:
    """Make a person: a picture, a film, a mesh, and a rigged portrait in a .blend with its Cycles rendering."""

    out: Path
    """Folder for the files; it is made."""
    seed: str = "4"
    """Whose portrait: a whole number."""
    model: str = "default-next3d"
    """Name of an installed model, or a .safetensors file."""
    truncation: float = 0.7
    """How far from the mean person."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Make all files; without Blender make the others, and say so."""
        started = time.monotonic()
        seeds = parse_seeds(self.seed)
        if len(seeds) != 1:
            raise UsageError("The demo makes one person.", "Give a whole number like 7.")
        make_folder(self.out)
        self._network(console, seeds[0])
        from .blender import make_blend

        try:
            make_blend(self.out, self.model, seeds[0], self.truncation, self.common.device, console)
        except PortraitError as error:
            raise PortraitError(
                f"portrait.blend and portrait_cycles.png were not made: {error.message}", error.hint, error.kind
            ) from error
        console.note(f"Done in {time.monotonic() - started:.0f} s.")

    def _network(self, console: Console, seed: int) -> None:
        """Make what needs no Blender."""
        console.report("Starting engine", 0, 1)
        from .. import media, mesh, studio
        from . import views
        from .render import FPS, turntable

        maker = studio.Studio(self.common.device)
        loaded, portrait = maker.create(self.model, seed, self.truncation, console.report)
        provenance = studio.provenance(portrait)
        field = maker.pose(loaded, portrait)

        path = self.out / "portrait.png"
        view = View(size=PICTURE_SIZE)
        media.write_png(path, views.picture(maker, loaded, field, view, console.report), provenance)
        console.made(path, f"what the network draws for seed {seed}")

        path = self.out / "portrait.glb"
        surface = maker.surface(field, MESH_DETAIL, console.report)
        mesh.export(surface, path)
        console.made(path, f"the same person as a coloured mesh of {len(surface.faces)} triangles, for any 3D program")

        path = self.out / "turntable.mp4"
        view = View(size=FILM_SIZE)
        media.write_mp4(path, turntable(maker, loaded, portrait, view, FILM_FRAMES, console), FPS, provenance)
        console.made(path, f"the network's pictures once around the head, {FILM_FRAMES} of them")
