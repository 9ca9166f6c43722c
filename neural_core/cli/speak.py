# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait speak`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from .console import Console
from .options import Common, check_output


@dataclass(frozen=True)
class Speak:
    """Turn recorded speech into the curves of a face that says it; `animate --drive SPEECH.wav` makes a film of it."""

    audio: tyro.conf.Positional[Path]
    """A recording of somebody who speaks (.wav, .flac, .mp3, .m4a, .ogg), or a film with sound."""
    out: Path
    """FILE.json, of format portrait-curves/1."""
    fps: float = 25.0
    """Frames a second of the curves."""
    strength: float = 1.0
    """Size of the mouth's movements."""
    gestures: float = 1.0
    """Size of the movements of brows and head; 0 leaves out the blinks, too."""
    seed: int = 0
    """Of when the face blinks, nods and raises its brows."""
    model: str = "lipsync"
    """Name of an installed lip-sync model, or a .safetensors file."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Write the curves."""
        check_output(self.out, ".json")
        console.report("Starting engine", 0, 1)
        from .. import devices
        from ..audio.speech import Manner, speak
        from ..curves import write_curves

        manner = Manner(self.fps, self.strength, self.gestures, self.seed)
        curves = speak(self.audio, manner, self.model, devices.choose(self.common.device), console.report)
        write_curves(self.out, curves)
        console.facts.update(frames=len(curves), fps=curves.fps)
        console.made(self.out, f"{len(curves)} frames of a face that says {self.audio.name}")
