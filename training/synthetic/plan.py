# SPDX-License-Identifier: Apache-2.0
"""What a data set of rendered people is made of: said once, passed to every render process, kept beside the data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FPS = 25
"""Frames a second of clips."""


@dataclass(frozen=True)
class Plan:
    """What every person of a data set is photographed in."""

    variety: Literal["studio", "wide"] = "studio"
    """studio: everything is a function of the code, the light is the same for everybody, nothing is behind the person.
    wide: attire, light and background are drawn as well."""
    expressions: Literal["neutral", "natural", "lively"] = "neutral"
    """neutral: the resting face, looking ahead. natural: expressions, gaze, neck and shoulders are drawn. lively: any
    part of the face may be anywhere (stills only)."""
    framing: Literal["head", "bust"] = "head"
    """head: EG3D's crop of FFHQ. bust: head and shoulders."""
    instants: int = 1
    """How many poses (or clips) a person is seen in."""
    views: int = 8
    """Cameras that see each instant."""
    close_ups: int = 0
    """How many of the views show only eyes, nose and mouth."""
    seconds: float = 0.0
    """Length of a clip; 0 takes stills."""
    max_yaw: float = 180.0
    """Degrees that views turn to either side at most."""
    max_pitch: float = 25.0
    """Degrees that views look from above or below at most."""
    frontal_share: float = 0.55
    """Share of the views (after the first) within 60 degrees, where more is allowed."""
    size: int = 128
    """Width and height of the pictures in pixels."""

    @property
    def instant_frames(self) -> int:
        """Moments of an instant: 1, or the frames of a clip."""
        return max(1, round(self.seconds * FPS))

    @property
    def frames(self) -> int:
        """Pictures of a person."""
        return self.instants * self.instant_frames * self.views


@dataclass(frozen=True)
class Job:
    """What a data set is made of; the same for all its render processes."""

    out: Path
    seed: int
    people: int
    plan: Plan
    renderer: Literal["cycles", "raster"] = "cycles"
    samples: int = 10
    """Samples per pixel, where the renderer takes them."""

    def to_json(self) -> str:
        """The job as one line."""
        return json.dumps({**asdict(self), "out": os.fspath(self.out)})

    @classmethod
    def from_json(cls, line: str) -> Job:
        """The job of ``to_json``."""
        fields = json.loads(line)
        return cls(**{**fields, "out": Path(fields["out"]), "plan": Plan(**fields["plan"])})
