# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait generate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from .console import Console
from .options import Common, View, check_output, parse_background, parse_expression, parse_seeds, parse_sliders


@dataclass(frozen=True)
class Generate:
    """Make portraits from seeds; a range of seeds writes FILE_0007.png and so on."""

    out: Path
    """FILE.png, or FILE.portrait to keep the person for `render` and `mesh`."""
    seed: str = "0"
    """Whose portrait: a number, or a range such as 0-9. The same seed is always the same person."""
    model: str = "default-next3d"
    """Name of an installed model (see `neural-portrait models`), or a .safetensors file."""
    truncation: float = 0.7
    """How far from the mean person: 0 is the mean, 1 as varied as in training."""
    mix_seed: int = 0
    """Somebody else to mix in, where --mix is more than 0."""
    mix: float = 0.0
    """How much of them: 0 nothing, 1 they alone."""
    set: str = ""
    """How the person is to look: hair_length=2,age=-1 (-3 to 3; 0 is the mean person; see docs/rig.md)."""
    view: tyro.conf.OmitArgPrefixes[View] = field(default_factory=View)
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the pictures."""
        seeds = parse_seeds(self.seed)
        check_output(self.out, ".png", ".portrait")
        parse_background(self.view.background)
        parse_expression(self.view.expression)
        sliders = parse_sliders(self.set)
        console.report("Starting engine", 0, 1)
        from .. import media, studio
        from ..mixing import Mix
        from . import views

        mix = Mix(self.mix_seed, self.mix) if self.mix else None
        maker = studio.Studio(self.common.device)
        for seed in seeds:
            loaded, portrait = maker.create(self.model, seed, self.truncation, console.report, mix)
            portrait = maker.change(loaded, portrait, sliders)
            path = self.out if len(seeds) == 1 else self.out.with_stem(f"{self.out.stem}_{seed:04d}")
            if path.suffix.lower() == ".portrait":
                studio.save(portrait, path)
            else:
                field = views.pose(maker, loaded, portrait, self.view)
                drawn = views.picture(maker, loaded, field, self.view, console.report)
                media.write_png(path, drawn, studio.provenance(portrait))
            console.made(path, f"seed {seed} of {loaded.model.name}")
