# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait render`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from ..errors import InputError, UsageError
from .console import Console
from .options import Common, View, check_output, parse_background, parse_expression

if TYPE_CHECKING:
    from ..media import Picture
    from ..studio import Loaded, Studio
    from ..systems.common import Portrait

FPS = 24.0
FILM_BACKGROUND = "grey"
"""Films have no alpha, so a transparent portrait stands before this."""


@dataclass(frozen=True)
class Render:
    """Draw a portrait file: a picture, or a turntable."""

    file: tyro.conf.Positional[Path]
    """FILE.portrait."""
    out: Path
    """FILE.png, or FILE.mp4 for a turntable."""
    turntable: bool = False
    """Make a film of the camera going round; --yaw is then how far to each side (0: all the way round)."""
    frames: int = 96
    """Frames of the turntable, 24 a second."""
    view: tyro.conf.OmitArgPrefixes[View] = field(default_factory=View)
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the picture or the film."""
        film = self.out.suffix.lower() == ".mp4"
        check_output(self.out, ".png", ".mp4")
        if self.turntable and not film:
            raise UsageError("A turntable is a film.", "Give --out FILE.mp4.")
        if film and not self.turntable:
            raise UsageError("A film of one picture is no film.", "Add --turntable, or give --out FILE.png.")
        if not 2 <= self.frames <= 10_000:
            raise UsageError(f"{self.frames} frames are not between 2 and 10000.")
        parse_background(self.view.background)
        parse_expression(self.view.expression)
        data = read_portrait_file(self.file)
        console.report("Starting engine", 0, 1)
        from .. import media, studio
        from . import views

        maker = studio.Studio(self.common.device)
        loaded, portrait = maker.open(data, self.file.name, console.report)
        provenance = studio.provenance(portrait)
        if film:
            pictures = turntable(maker, loaded, portrait, self.view, self.frames, console)
            media.write_mp4(self.out, pictures, FPS, provenance)
            console.made(self.out, f"{self.frames} frames around {self.file.name}")
        else:
            field = views.pose(maker, loaded, portrait, self.view)
            media.write_png(self.out, views.picture(maker, loaded, field, self.view, console.report), provenance)
            console.made(self.out, f"a picture of {self.file.name}")


def turntable(
    maker: Studio, loaded: Loaded, portrait: Portrait, view: View, frames: int, console: Console
) -> Iterator[Picture]:
    """Yield the pictures of a loop around the head: all the way round, or `view.yaw` degrees to either side."""
    import math

    from . import views

    field = views.pose(maker, loaded, portrait, view)
    background = FILM_BACKGROUND if view.background == "transparent" else view.background
    for frame in range(frames):
        console.report("Drawing the turntable", frame, frames)
        turn = frame / frames
        yaw = abs(view.yaw) * math.sin(2 * math.pi * turn) if view.yaw else 360 * turn
        step = dataclasses.replace(view, yaw=yaw, background=background)
        yield views.picture(maker, loaded, field, step, lambda *_: None)
    console.report("Drawing the turntable", frames, frames)


def read_portrait_file(path: Path) -> bytes:
    """Return the bytes of a .portrait file. Raises InputError if there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f'Cannot read "{path}": {error.strerror}.', "Make one with `neural-portrait generate --out FILE.portrait`."
        ) from error
