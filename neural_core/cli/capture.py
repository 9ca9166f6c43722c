# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait capture`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from ..errors import InputError, UsageError
from ..files import make_folder
from .console import Console
from .options import Common

if TYPE_CHECKING:
    from ..capture.labels import Captured, Tools

SMALLEST, LARGEST = 64, 2048


@dataclass(frozen=True)
class Capture:
    """Find the person in a photo or a clip: EG3D's crop, camera, expression, masks, background, and the fitted mesh."""

    source: tyro.conf.Positional[Path]
    """A photo (JPEG, PNG, WebP, TIFF) or a clip (MP4, MOV, WebM, MKV)."""
    out: Path
    """Folder for the files; it is made."""
    size: int | None = None
    """Side of the crop in pixels (default: 512 for photos, 256 for clips)."""
    frames: int = 250
    """Clips: how many frames at most, from the start."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the files."""
        if self.size is not None and not SMALLEST <= self.size <= LARGEST:
            raise UsageError(f"A crop of {self.size} pixels cannot be made.", f"Give {SMALLEST} to {LARGEST}.")
        if self.frames < 1:
            raise UsageError(f"--frames must be at least 1, not {self.frames}.")
        if self.source.is_dir():
            raise InputError(
                f'"{self.source}" is a folder.', "Give one file, or run: python -m training.prepare FOLDER --out DIR."
            )
        if any((self.out / "frames").glob("*.png")):
            raise UsageError(f'"{self.out / "frames"}" holds frames already.', "Delete it or choose another --out.")
        make_folder(self.out)
        console.report("Starting the face finder", 0, 1)
        from .. import media
        from ..capture.clip import CLIP_SIZE, capture_clip
        from ..capture.labels import Tools
        from ..capture.photo import CROP_SIZE, capture_photo

        with Tools() as tools:
            if media.is_clip(self.source):
                found = capture_clip(tools, self.source, self.size or CLIP_SIZE, self.frames, console.report)
                self._write_clip(console, tools, found)
            else:
                found = capture_photo(tools, self.source, self.size or CROP_SIZE, console.report)
                self._write_photo(console, tools, found)
        for note in found.notes:
            console.note(note)
        console.facts.update(notes=found.notes, frames=len(found.record), source=dict(found.record.source))

    def _write_photo(self, console: Console, tools: Tools, found: Captured) -> None:
        from .. import media
        from ..capture.overlay import overlay
        from ..records import MASKS

        record = replace(found.record, images=("crop.png",))
        said = self._provenance()
        drawn = overlay(tools.model, found.vertices[0], record.cameras[0], found.pictures[0], found.detected[0])
        pictures = {
            "crop.png": (found.pictures[0], "EG3D's crop"),
            "alpha.png": (record.alpha[0], "how much of every pixel the person covers"),
            "background.png": (record.background[0], "what is behind the person, guessed from what is beside them"),
            "overlay.png": (drawn, "the fitted face over the crop, with the landmarks that were found"),
        }
        for name in MASKS:
            pictures[f"mask_{name}.png"] = (record.mask(name)[0].astype("uint8") * 255, f"where the {name} is")
        for name, (picture, what) in pictures.items():
            media.write_png(self.out / name, picture, said)
            console.made(self.out / name, what)
        record.save(self.out / "record.npz")
        console.made(self.out / "record.npz", "camera, identity, expression, gaze, landmarks, depth and masks")

    def _write_clip(self, console: Console, tools: Tools, found: Captured) -> None:
        from .. import media
        from ..capture.overlay import overlay

        record = replace(found.record, images=tuple(f"frames/{name}" for name in found.record.images))
        said = self._provenance()
        make_folder(self.out / "frames")
        for name, picture in zip(record.images, found.pictures, strict=True):
            media.write_png(self.out / name, picture, said)
        console.made(self.out / "frames", f"{len(record)} frames in EG3D's crop")
        drawn = (
            overlay(tools.model, vertices, camera, picture, points)
            for vertices, camera, picture, points in zip(
                found.vertices, record.cameras, found.pictures, found.detected, strict=True
            )
        )
        media.write_mp4(self.out / "overlay.mp4", drawn, float(record.source["fps"]), said)
        console.made(self.out / "overlay.mp4", "the fitted face over the crops, with the landmarks that were found")
        record.save(self.out / "record.npz")
        console.made(self.out / "record.npz", "cameras, identity, expressions, gaze, landmarks, depth and masks")

    def _provenance(self) -> dict[str, object]:
        """Return what the pictures say of themselves: they show somebody who exists."""
        return {"synthetic": False, "source": self.source.name}
