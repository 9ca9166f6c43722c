# SPDX-License-Identifier: Apache-2.0
"""Next3D's warm start: people of a known code who do something known, compared with pictures of just that.

What rests may start from still weights (`init`), which know people and hair already; what is left to learn is the
texture of the face, the inside of the mouth, and how the two meet the rest. Lids and teeth are few pixels, so patches
are placed at eyes and mouths, and pixels there count more ([patches] feature-...).

Files to read next: `systems/next3d/identity_generator.py` (the network), `warm_start.py` (what it is compared with).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from neural_core import checkpoints
from neural_core.cameras import orbit
from neural_core.errors import UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.nn.identity import Modulation
from neural_core.records import JOINTS
from neural_core.systems.identity_base import Shown
from neural_core.systems.next3d.config import Next3DConfig
from neural_core.systems.next3d.identity_generator import IdentityNext3D, Person

from ..config import RunConfig, not_negative
from ..data.portraits import Portraits
from ..data.ray_batches import PatchChoice, RayBatch
from ..recipe import Sample, Step
from .next3d_start import fill
from .warm_start import (
    DataConfig,
    LossConfig,
    OneNetwork,
    RayComparison,
    RayConfig,
    export_weights,
    head_points,
    load_people,
)

_SHOWN: tuple[dict[str, float], ...] = (
    {},
    {"jawOpen": 0.7},
    {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "jawOpen": 0.15, "mouthUpperUpLeft": 0.4, "mouthUpperUpRight": 0.4},
    {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    {"eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8, "browInnerUp": 0.8},
    {"mouthPucker": 0.8, "eyeBlinkLeft": 0.9},
)
"""Expressions of the sample pictures."""


@dataclass(frozen=True)
class MovingDataConfig(DataConfig):
    """Which people, and how often those who do something."""

    moving: float = 0.0
    """Share, below 1, of a run's samples that are people who do something; 0 takes everybody equally often. People at
    rest are many, since still weights were made of them; here they only keep what is behind the face."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        super().__post_init__()
        if not 0 <= self.moving < 1:
            raise UsageError(f"data.moving is {self.moving}, but is a share of 0 or more, and below 1.")


@dataclass(frozen=True)
class RateConfig:
    """Adam's learning rates, one for each part of the network; 0 leaves the part as it is, and saves its time."""

    mean_planes: float = 5e-3
    trait_planes: float = 5e-3
    synthesis: float = 4e-3
    decoder: float = 2e-3
    mapping: float = 1e-3
    superresolution: float = 1e-3
    mean_texture: float = 1e-2
    trait_textures: float = 1e-2
    texture_synthesis: float = 4e-3
    mouth: float = 2e-3
    blending: float = 2e-3

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        not_negative("rates", self, *_PARTS)


_PARTS = tuple(rate.name for rate in fields(RateConfig))


@dataclass(frozen=True)
class Config:
    """Everything a run of this recipe is made of."""

    model: Next3DConfig = field(default_factory=Next3DConfig)
    init: str = ""
    """Checkpoint that training starts from: still weights with a face code (of the system eg3d), or weights of the same
    [model]. Empty for random weights."""
    data: MovingDataConfig = field(default_factory=MovingDataConfig)
    patches: PatchChoice = field(default_factory=PatchChoice)
    rays: RayConfig = field(default_factory=RayConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    rates: RateConfig = field(default_factory=RateConfig)
    run: RunConfig = field(default_factory=RunConfig)


def build(config: Config, device: torch.device) -> WarmStart:
    """Return the recipe, with its data in memory.

    Raises:
        UsageError: the model has no face code or cannot be built, its size is not the data's, or a step takes more than
            there is.
        ModelError: `config.init` does not become this model.
        InputError: there are no people in the data folder of whom code, actions and joints say everything.
    """
    model = config.model
    if model.identity is None:
        raise UsageError("The warm start needs a model with a face code.", "Set [model.identity] in the configuration.")
    try:
        generator = IdentityNext3D(model, load_anny_head())
    except ValueError as error:
        raise UsageError(f"This model cannot be built: {error}.", "Change [model] in the configuration.") from error
    if config.init:
        fill(generator, model, checkpoints.load(Path(config.init)))
    people = load_people(config.data, config.patches, model.z_dim, model.superresolution, moving=True)
    return WarmStart(config, generator, people, device)


class WarmStart(OneNetwork):
    """The recipe that the trainer runs."""

    def __init__(self, config: Config, generator: IdentityNext3D, people: Portraits, device: torch.device) -> None:
        """Take the generator; the data stays on the CPU."""
        self.config, self.device, self.generator = config, device, generator.to(device)
        super().__init__(self.generator, people, _PARTS)
        inside = head_points(config.model.head_to_model, mouth=False)
        self.comparison = RayComparison(people, config.patches, config.rays, config.loss, inside, device)

    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """Return the numbers of the people, those who do something as often as `data.moving` says, or nearly."""
        moves = self.people.actions.flatten(1).any(1) | self.people.joints.flatten(1).any(1)
        moving, resting = moves.nonzero()[:, 0], (~moves).nonzero()[:, 0]
        times = 1
        if len(moving) and self.config.data.moving:
            share = self.config.data.moving
            times = max(1, round(len(resting) * share / ((1 - share) * len(moving))))
        return TensorDataset(torch.cat([moving.repeat(times), resting]))

    def losses(self, phase: str, batch: list[Tensor], step: Step) -> dict[str, Tensor]:
        """Compare a batch of rays with what was seen along them."""
        random = step.draws.generator
        rays = self.comparison.draw(batch[0], self.generator, random)
        return self.comparison.losses(self.generator, self._instants(rays, random), len(rays.cameras), rays, step)

    def _instants(self, batch: RayBatch, random: torch.Generator) -> Shown:
        """Return each view's person at its instant."""
        codes, near = self.near(batch.people, random)
        with torch.no_grad():
            vertices = self.generator.vertices(batch.actions.to(self.device), batch.joints.to(self.device))
        with torch.autocast(self.device.type, torch.bfloat16):
            person = self.generator.person(near, shape=codes[:, : self.generator.shape_dims])
            return self.generator.instant(repeated(person, self.config.patches.views), vertices)

    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield a grid over grey: two training people and two new ones, each with some expressions, from two sides."""
        new = torch.randn(2, self.people.codes.shape[1], generator=torch.Generator().manual_seed(1))
        codes = torch.cat([self.people.codes[:2], new]).to(self.device)
        generator = cast(IdentityNext3D, averaged["G"])
        rows = []
        with torch.inference_mode():
            vertices = generator.vertices(
                torch.tensor([[shown.get(name, 0.0) for name in ACTIONS] for shown in _SHOWN], device=self.device),
                torch.zeros(len(_SHOWN), len(JOINTS), 3, device=self.device),
            )
            for number, code in enumerate(codes):
                person = generator.person(code[None])
                camera = orbit(25.0 * (number % 2), 5.0).to(self.device)
                seen = [generator.render(generator.instant(person, one[None]), camera) for one in vertices]
                rows.append(torch.cat([(s.image[0] + 1) / 2 + 0.5 * (1 - s.opacity[0]) for s in seen], dim=2))
        yield Sample("grid", torch.cat(rows, dim=1).clamp(0, 1).cpu()[None])

    def export(self, averaged: Mapping[str, nn.Module], trained: dict[str, Any], path: Path) -> None:
        """Write the averaged weights in half precision, with how they came about."""
        title = "Neural Portrait, default Next3D weights"
        export_weights(averaged["G"], "next3d", self.config.model, title, self.people, trained, path)


def repeated(person: Person, times: int) -> Person:
    """Return every one of some people several times in a row: once for each instant."""
    if times == 1:
        return person

    def again(tensor: Any) -> Any:
        return None if tensor is None else tensor.repeat_interleave(times, dim=0)

    modulation = Modulation(*map(again, person.modulation))
    own = {f.name: again(getattr(person, f.name)) for f in fields(person) if f.name != "modulation"}
    return replace(person, **own, modulation=modulation)
