# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait stylise`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from ..errors import UsageError
from .console import Console
from .options import Common, check_output
from .render import read_portrait_file

if TYPE_CHECKING:
    from ..media import Picture

MOST_ITERATIONS, MOST_PICTURES = 100_000, 64


@dataclass(frozen=True)
class Stylise:
    """Give a portrait, or all people of a model, the style that a text names. Needs CLIP, which you bring."""

    text: str
    """The style: "a pencil drawing"."""
    out: Path
    """FILE.portrait for a portrait; FILE.safetensors for a model, which --model of other commands then takes."""
    file: tyro.conf.Positional[Path | None] = None
    """FILE.portrait; without it the model is given the style."""
    model: str = "default-next3d"
    """Name of an installed model, or a .safetensors file; a portrait knows its own."""
    source: str = "a photo"
    """What the model's pictures are before."""
    iterations: int = 200
    """Steps; more go further."""
    batch: int = 2
    """Pictures a step."""
    seed: int = 0
    """Of the people, cameras and expressions that are tried."""
    preview: Path | None = None
    """FILE.png that is drawn anew every few steps."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the portrait or the model."""
        check_output(self.out, ".portrait" if self.file else ".safetensors")
        if self.preview is not None:
            check_output(self.preview, ".png")
        if not 1 <= self.iterations <= MOST_ITERATIONS:
            raise UsageError(f"{self.iterations} iterations are not between 1 and {MOST_ITERATIONS}.")
        if not 1 <= self.batch <= MOST_PICTURES:
            raise UsageError(f"A batch of {self.batch} is not between 1 and {MOST_PICTURES}.")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"There is no seed {self.seed}.", "Seeds are whole numbers from 0.")
        data = read_portrait_file(self.file) if self.file else None
        console.report("Starting engine", 0, 1)
        from .. import checkpoints, studio
        from ..fitting.clip import load_clip
        from ..fitting.stylise import Options, stylise

        maker = studio.Studio(self.common.device)
        portrait = None
        if data is not None and self.file is not None:
            loaded, portrait = maker.open(data, self.file.name, console.report)
        else:
            loaded = maker.load(self.model, console.report)
        console.report("Loading CLIP", 0, 1)
        judge = load_clip("Stylisation", maker.device)
        options = Options(self.text, self.source, self.iterations, self.batch, seed=self.seed)
        shown = self._show if self.preview is not None else None
        work = stylise(loaded.system, judge, options, portrait, console.report, shown)
        if portrait is not None:
            studio.save(work.portrait(), self.out)
            console.made(self.out, f'{self.file} as "{self.text}"')
        else:
            work.save_model(self.out, checkpoints.load(loaded.model.path))
            console.made(self.out, f'everybody of {loaded.model.name} as "{self.text}"')
        if self.preview is not None:
            console.made(self.preview, "the first person in that style")

    def _show(self, picture: Picture, iteration: int) -> None:
        from .. import media

        assert self.preview is not None
        media.write_png(self.preview, picture, {"style": self.text, "iterations": iteration})
