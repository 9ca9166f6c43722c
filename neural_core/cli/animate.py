# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait animate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..errors import UsageError
from .console import Console
from .options import Common, View, check_output, parse_background, parse_expression
from .render import FILM_BACKGROUND, read_portrait_file

if TYPE_CHECKING:
    from ..audio.io import Track
    from ..cameras import Camera
    from ..drive import Drive
    from ..media import Picture
    from ..studio import Loaded, Studio
    from ..systems.common import Portrait


@dataclass(frozen=True)
class Animate:
    """Make a film of a portrait that does what a clip, speech, curves or a record say; its model must move."""

    file: tyro.conf.Positional[Path]
    """FILE.portrait."""
    drive: Path
    """A clip of somebody (.mp4), speech (.wav), which is then heard, curves (.json), or a record (.npz)."""
    out: Path
    """FILE.mp4."""
    camera: Literal["front", "drive"] = "front"
    """front: a camera that stands still, turned by --yaw and --pitch; drive: as the clip or the record was filmed."""
    frames: int = 250
    """How many frames at most, from the start."""
    view: tyro.conf.OmitArgPrefixes[View] = field(default_factory=View)
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the film."""
        check_output(self.out, ".mp4")
        if self.frames < 1:
            raise UsageError(f"--frames must be at least 1, not {self.frames}.")
        if parse_expression(self.view.expression):
            raise UsageError("An animation has its own expressions.", "Leave --expression out, or use `render`.")
        parse_background(self.view.background)
        data = read_portrait_file(self.file)
        console.report("Starting engine", 0, 1)
        from .. import controls, drive, media, studio

        kind = drive.kind_of(self.drive)
        maker = studio.Studio(self.common.device)
        loaded, portrait = maker.open(data, self.file.name, console.report)
        if not loaded.system.info.controls:
            raise controls.still_face(loaded.title)
        driven = drive.read(self.drive, self.frames, console.report)
        if self.camera == "drive" and driven.cameras is None:
            raise UsageError("What drives it was not filmed by a camera.", "Leave --camera out.")
        pictures = self._pictures(maker, loaded, portrait, driven, console)
        track = self._track(driven, console) if kind == "speech" else None
        count = media.write_mp4(self.out, pictures, driven.fps, studio.provenance(portrait), track)
        console.facts.update(frames=count, fps=driven.fps)
        console.made(self.out, f"{count} frames of {self.file.name}, driven by {self.drive.name}")

    def _track(self, driven: Drive, console: Console) -> Track:
        """Return the sound of the film, and say so if it is cut."""
        from ..audio.io import read_track

        track = read_track(self.drive)
        missing = track.samples.shape[1] / track.rate - len(driven) / driven.fps
        if missing > 1 / driven.fps:
            console.note(f"The last {missing:.1f} s of the speech are left out: --frames takes more.")
        return track

    def _pictures(
        self, maker: Studio, loaded: Loaded, portrait: Portrait, driven: Drive, console: Console
    ) -> Iterator[Picture]:
        """Yield the frames."""
        from . import views

        background = FILM_BACKGROUND if self.view.background == "transparent" else self.view.background
        view = dataclasses.replace(self.view, background=background)
        for frame in range(len(driven)):
            console.report("Drawing the film", frame, len(driven))
            posed = maker.pose(loaded, portrait, driven.controls(frame))
            camera = self._camera(loaded, portrait, driven, frame)
            yield views.picture_from(maker, loaded, posed, camera, view, lambda *_: None)
        console.report("Drawing the film", len(driven), len(driven))

    def _camera(self, loaded: Loaded, portrait: Portrait, driven: Drive, frame: int) -> Camera:
        """Return the camera of a frame in head space, which moves with the skull."""
        import numpy as np
        import torch

        from .. import rigs
        from ..cameras import Camera
        from ..records import HEAD_TO_MODEL
        from . import views

        if self.camera == "drive" and driven.cameras is not None:
            label = torch.from_numpy(np.asarray(driven.cameras[frame : frame + 1], np.float32))
            return Camera.from_label(label).scaled(1 / HEAD_TO_MODEL)
        still = views.camera(loaded, self.view)
        back = np.linalg.inv(rigs.head_motion(portrait, driven.controls(frame)))
        return Camera(torch.from_numpy(back).to(still.cam2world) @ still.cam2world, still.intrinsics)
