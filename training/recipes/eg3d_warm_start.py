# SPDX-License-Identifier: Apache-2.0
"""EG3D's warm start: planes of a known code, compared with pictures of that very person (`warm_start.py`).

Files to read next: `systems/eg3d/identity_generator.py` (the network), `warm_start.py` (what it is compared with).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from neural_core.cameras import orbit
from neural_core.errors import UsageError
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.identity_generator import IdentityGenerator
from neural_core.systems.identity_base import Shown

from ..config import RunConfig, not_negative
from ..data.portraits import Portraits
from ..data.ray_batches import PatchChoice, RayBatch
from ..recipe import Sample, Step
from .eg3d_config import new_generator
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

_PARTS = ("mean_planes", "synthesis", "decoder", "mapping", "superresolution", "trait_planes")


@dataclass(frozen=True)
class RateConfig:
    """Adam's learning rates; far above StyleGAN's, which a supervised loss permits."""

    mean_planes: float = 1e-2
    trait_planes: float = 1e-2
    synthesis: float = 4e-3
    decoder: float = 3e-3
    mapping: float = 1e-3
    superresolution: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        not_negative("rates", self, *(rate.name for rate in fields(self)))


@dataclass(frozen=True)
class Config:
    """Everything a run of this recipe is made of."""

    model: EG3DConfig = field(default_factory=EG3DConfig)
    data: DataConfig = field(default_factory=DataConfig)
    patches: PatchChoice = field(default_factory=PatchChoice)
    rays: RayConfig = field(default_factory=RayConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    rates: RateConfig = field(default_factory=RateConfig)
    run: RunConfig = field(default_factory=RunConfig)


def build(config: Config, device: torch.device) -> WarmStart:
    """Return the recipe, with its data in memory.

    Raises:
        UsageError: the model has no face code, its size is not the data's, or a step takes more than there is.
        InputError: there are no people in the data folder of whom the code says everything.
    """
    model = config.model
    if model.identity is None:
        raise UsageError("The warm start needs a model with a face code.", "Set [model.identity] in the configuration.")
    people = load_people(config.data, config.patches, model.z_dim, model.superresolution, moving=False)
    return WarmStart(config, people, device)


class WarmStart(OneNetwork):
    """The recipe that the trainer runs."""

    def __init__(self, config: Config, people: Portraits, device: torch.device) -> None:
        """Build the generator; the data stays on the CPU."""
        generator = cast(IdentityGenerator, new_generator(config.model)).to(device)
        super().__init__(generator, people, _PARTS)
        self.config, self.device, self.generator = config, device, generator
        inside = head_points(config.model.head_to_model)
        self.comparison = RayComparison(people, config.patches, config.rays, config.loss, inside, device)

    def losses(self, phase: str, batch: list[Tensor], step: Step) -> dict[str, Tensor]:
        """Compare a batch of rays with what was seen along them."""
        random = step.draws.generator
        rays = self.comparison.draw(batch[0], self.generator, random)
        person = self._people(rays, random)
        return self.comparison.losses(self.generator, person, len(rays.people), rays, step)

    def _people(self, batch: RayBatch, random: torch.Generator) -> Shown:
        codes, near = self.near(batch.people, random)
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.generator.person(near, shape=codes[:, : self.generator.shape_dims])

    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield a grid: four training people and four new ones, from three sides, over grey."""
        new = torch.randn(4, self.people.codes.shape[1], generator=torch.Generator().manual_seed(1))
        codes = torch.cat([self.people.codes[:4], new]).to(self.device)
        generator = cast(IdentityGenerator, averaged["G"])
        rows = []
        for yaw in (0.0, 40.0, 120.0):
            camera = orbit(yaw, 5.0).to(self.device)
            with torch.inference_mode():
                seen = [generator.render(generator.person(code[None]), camera) for code in codes]
            pictures = [(s.image[0] + 1) / 2 + 0.5 * (1 - s.opacity[0]) for s in seen]
            rows.append(torch.cat(pictures, dim=2).clamp(0, 1).cpu())
        yield Sample("grid", torch.cat(rows, dim=1)[None])

    def export(self, averaged: Mapping[str, nn.Module], trained: dict[str, Any], path: Path) -> None:
        """Write the averaged weights in half precision, with how they came about."""
        title = "Neural Portrait, default EG3D weights"
        export_weights(averaged["G"], "eg3d", self.config.model, title, self.people, trained, path)
