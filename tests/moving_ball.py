# SPDX-License-Identifier: Apache-2.0
"""An animatable system whose pictures are known on paper: a ball that grows with jawOpen and moves with the neck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from neural_core import checkpoints
from neural_core.cameras import Camera, orbit
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from neural_core.rendering.rays import camera_rays, pixel_centres
from neural_core.systems.common import Control, Portrait, Progress, Rendering, SystemInfo

NAME = "moving_ball"
RADIUS, GROWTH, SHIFT = 0.08, 0.04, 0.2
"""Metres; metres a unit of jawOpen; metres along +X a radian of the neck about +Y."""
DENSITY = 400.0
"""At the centre, 1/metre; it falls to 0 at the outside."""
DISTANCE = 1.35
SIZE = 32


@dataclass(frozen=True)
class Config:
    """Nothing but what the ball looks like."""

    grey: float = 0.5


CONFIG = Config


def register(monkeypatch) -> None:
    """Make the system known to this process."""
    from neural_core import systems

    monkeypatch.setitem(systems.SYSTEMS, NAME, __name__)


def save(path: Path) -> Path:
    """Write a model and return its path."""
    metadata = {"licence": "CC0-1.0", "licence_url": "", "use": "any"}
    checkpoints.save(path, {"none": torch.zeros(1)}, NAME, {"grey": 0.5}, metadata)
    return path


def build(checkpoint: checkpoints.Checkpoint, config: Config, device: torch.device) -> MovingBall:
    return MovingBall(config, checkpoint.hash)


class MovingBall:
    """The system. `posed` counts how often a face was asked for."""

    def __init__(self, config: Config, checkpoint_hash: str) -> None:
        self.config, self.hash, self.posed = config, checkpoint_hash, 0

    @property
    def info(self) -> SystemInfo:
        controls = (
            Control("actions", len(ACTIONS), "1", 0.0, 1.0, "Facial actions."),
            Control("joints", 3 * len(JOINTS), "rad", -1.0, 1.0, "Rotations."),
        )
        return SystemInfo(NAME, ("seed",), SIZE, controls, knows_shape=True)

    def create(self, seed: int, truncation: float = 0.7) -> Portrait:
        provenance = {"system": NAME, "seed": seed, "truncation": truncation}
        return Portrait(NAME, self.hash, {"seed": torch.tensor([seed])}, torch.zeros(40), provenance)

    def pose(self, portrait: Portrait, controls: Mapping[str, Tensor] | None = None) -> Ball:
        self.posed += 1
        controls = controls or {}
        jaw = float(controls["actions"][ACTIONS.index("jawOpen")]) if "actions" in controls else 0.0
        turn = float(controls["joints"][JOINTS.index("neck"), 1]) if "joints" in controls else 0.0
        return Ball(RADIUS + GROWTH * jaw, SHIFT * turn, self.config.grey)

    def creation_camera(self) -> Camera:
        return orbit(0.0, 0.0, DISTANCE)


@dataclass(frozen=True)
class Ball:
    """The field: dense inside a sphere about (shift, 0, 0)."""

    radius: float
    shift: float
    grey: float

    @property
    def box(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        return (-0.25, -0.25, -0.25), (0.25, 0.25, 0.25)

    def render(
        self, camera: Camera, size: int | None = None, on_progress: Progress | None = None, draft: bool = False
    ) -> Rendering:
        size = (size or SIZE) // (2 if draft else 1)
        origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
        origins = origins - origins.new_tensor([self.shift, 0.0, 0.0])
        along = (origins * directions).sum(-1)
        under = along.square() - origins.square().sum(-1) + self.radius**2
        opacity = (under > 0).float().reshape(1, 1, size, size)
        depth = (-along - under.clamp(min=0).sqrt()).reshape(1, 1, size, size) * opacity
        image = (2 * self.grey * opacity - 1).expand(1, 3, size, size)
        return Rendering(image, image, image, depth, opacity)

    def density(self, points: Tensor) -> Tensor:
        distance = (points - points.new_tensor([self.shift, 0.0, 0.0])).norm(dim=-1)
        return DENSITY * F.relu(1 - distance / self.radius)

    def colour(self, points: Tensor) -> Tensor:
        return torch.full_like(points, self.grey)


def pixel_radius(radius: float, size: int) -> float:
    """Return the radius in pixels of the outline of a ball before the creation camera."""
    focal = float(orbit(0.0, 0.0, DISTANCE).intrinsics[0, 0, 0])
    return size * focal * radius / (DISTANCE**2 - radius**2) ** 0.5


def surface_radius(radius: float) -> float:
    """Return where half of the light from outside is stopped: the integral of D (1 - r / R) from there to R is ln 2."""
    return radius - math.sqrt(2 * radius * math.log(2) / DENSITY)
