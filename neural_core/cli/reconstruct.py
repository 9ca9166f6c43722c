# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait reconstruct`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from ..errors import UsageError
from ..files import check_folder_of
from .console import Console
from .options import Common, check_output

if TYPE_CHECKING:
    from ..media import Picture

MOST_ITERATIONS = 100_000


@dataclass(frozen=True)
class Reconstruct:
    """Make a portrait of the person in a photo or a clip: a person of the model like them, then tuned to them.

    It takes minutes on a graphics card and up to an hour without one. With --state an interrupted run goes on where it
    was when the same command is given again.
    """

    photo: tyro.conf.Positional[Path]
    """A photo of one face (JPEG, PNG, WebP, TIFF), or a clip (MP4, MOV, WebM, MKV): its best frames are taken."""
    out: Path
    """FILE.portrait."""
    preview: Path | None = None
    """FILE.png that shows the person so far, again and again."""
    state: Path | None = None
    """FILE that keeps the work every half minute, and is deleted when it is done."""
    iterations: str = "450,500"
    """How many look for the person, and how many tune the model."""
    frames: int = 250
    """Clips: how many frames at most, from the start."""
    model: str = "default-next3d"
    """Name of an installed model (see `neural-portrait models`), or a .safetensors file."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the portrait."""
        check_output(self.out, ".portrait")
        if self.preview is not None:
            check_output(self.preview, ".png")
        if self.state is not None:
            check_folder_of(self.state)
        latents, weights = parse_iterations(self.iterations)
        if self.frames < 1:
            raise UsageError(f"--frames must be at least 1, not {self.frames}.")
        console.report("Starting engine", 0, 1)
        from .. import media, studio
        from ..fitting.inversion import Length
        from ..fitting.reconstruct import Options, reconstruct

        said = {"synthetic": False, "source": self.photo.name, "model": self.model}

        def show(picture: Picture, done: int) -> None:
            if self.preview is not None:
                media.write_png(self.preview, picture, {**said, "iterations": done})

        options = Options(self.model, Length(latents, weights), frames=self.frames, state=self.state)
        maker = studio.Studio(self.common.device)
        portrait = reconstruct(maker, self.photo, options, console.report, show if self.preview else None)
        studio.save(portrait, self.out)
        for note in portrait.provenance["notes"]:
            console.note(note)
        console.facts.update(psnr=portrait.provenance["psnr"], notes=portrait.provenance["notes"])
        size = self.out.stat().st_size / 1e6
        console.made(
            self.out, f"{self.photo.name} with {self.model}, {portrait.provenance['psnr']:.1f} dB, {size:.1f} MB"
        )


def parse_iterations(text: str) -> tuple[int, int]:
    """Return the two numbers in "450,500". Raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", text)
    if not match or not 0 < int(match[1]) + int(match[2]) <= MOST_ITERATIONS:
        raise UsageError(f'The iterations "{text}" are no two numbers.', "Write --iterations 450,500.")
    return int(match[1]), int(match[2])
