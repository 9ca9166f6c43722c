# SPDX-License-Identifier: Apache-2.0
"""Adversarial EG3D (Chan et al., CVPR 2022): pictures with camera labels in, a generator of people out.

A step, with the names of its phases (StyleGAN2's order):

    G_main     generated pictures shall look real to the discriminator
    G_density  neighbouring points shall be about equally dense, every 4 steps
    D_main     the discriminator tells real pictures from generated ones; the mean w follows the codes seen here
    D_r1       its gradient at real pictures shall be small, every 16 steps

Works for the paper's generator and for ours with a face code (`model.identity`), which has no pose conditioning: its
code says who it is and nothing else. Both may start from weights (`init`).

Where we knowingly differ from the published code: the generator runs in 32 bits (there its super-resolution has 16),
gradients that are not finite are counted and their step is skipped (there they become numbers), and augmented raw
pictures are not shrunk before the discriminator enlarges them (`Augment.pair`).

Files to read next: `eg3d_config.py` (settings), `training/losses/adversarial.py`, `training/discriminators.py`,
`training/conditioning.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from neural_core import checkpoints
from neural_core.cameras import Camera, eg3d_cam2world
from neural_core.rendering.sampling import RandomSampling
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.identity_generator import IdentityGenerator

from ..augment import AdaptiveProbability, Augment
from ..blur import blurred
from ..conditioning import swapped_labels
from ..discriminators import Discriminator, DualDiscriminator
from ..draws import Draws
from ..fades import fade
from ..losses.adversarial import non_saturating_discriminator, non_saturating_generator, r1
from ..losses.density import density_smoothness
from ..recipe import Optimiser, ParameterGroup, Phase, Sample, Step
from .eg3d_config import LABEL, Config, check, check_start, new_generator, pose_conditioned, swaps_poses


class Pictures(Protocol):
    """What the recipe needs of a data set whose items have "picture" ([3 or 4, h, w] uint8) and "label" ([25])."""

    labels: Tensor
    """[n, 25] the camera labels of all items."""


class Seen(NamedTuple):
    """What a discriminator is shown, -1..1."""

    image: Float[Tensor, "b 3 h w"]
    """Finished pictures."""
    raw: Float[Tensor, "b 3 hr wr"]
    """Their volume renderings; of real pictures the shrunk picture. A discriminator of one picture never sees it."""


def build(config: Config, device: torch.device) -> Adversarial:
    """Return the recipe with networks of random weights, or with the generator of `config.init`.

    Raises:
        UsageError: settings that do not fit each other.
        InputError: the data cannot be used.
        ModelError: the weights to start from are not those of the model.
    """
    from ..data.pictures import PictureSet

    check(config)
    generator = new_generator(config.model)
    start = None
    if config.init:
        start = checkpoints.load(Path(config.init))
        check_start(config.model, start)
        checkpoints.fill(generator, start.tensors, start.name)
    size, options = config.model.image_size, config.discriminator
    kind = Discriminator if config.model.superresolution.kind == "none" else DualDiscriminator
    discriminator = kind(
        size, label_dim=LABEL, channel_base=options.channel_base, channel_max=options.channel_max, group=options.group,
        clamp=options.clamp,
    )  # fmt: skip
    pictures = PictureSet(Path(config.data.path), size, config.data.mirror, config.data.limit)
    return Adversarial(config, pictures, generator.to(device), discriminator.to(device), start)


class Adversarial:
    """The recipe that the trainer runs."""

    def __init__(
        self,
        config: Config,
        pictures: Pictures,
        generator: EG3DGenerator | IdentityGenerator,
        discriminator: Discriminator | DualDiscriminator,
        start: checkpoints.Checkpoint | None = None,
    ) -> None:
        """Take the parts; the networks lie on the device that computes.

        Args:
            config: its settings.
            pictures: the data set.
            generator: trained, averaged and exported.
            discriminator: trained.
            start: where the generator's weights come from, for the exported file to tell.
        """
        self.config, self.pictures = config, pictures
        self.generator, self.discriminator = generator, discriminator
        self.device = next(generator.parameters()).device
        self.augment = None if config.augment.mode == "none" else Augment(config.augment.groups)
        self.adaptive = AdaptiveProbability(config.augment.target, config.augment.kimg, config.augment.every)
        self.images = 0
        self._start = start
        self._noted: dict[str, Tensor] = {}

    def networks(self) -> dict[str, nn.Module]:
        """Return generator and discriminator."""
        return {"G": self.generator, "D": self.discriminator}

    def averaged(self) -> tuple[str, ...]:
        """Return what people get: the generator."""
        return ("G",)

    def optimisers(self) -> dict[str, Optimiser]:
        """Return an Adam for each network."""
        rates = {"G": self.config.rates.generator, "D": self.config.rates.discriminator}
        return {
            name: Optimiser([ParameterGroup(name, list(network.parameters()), rates[name])])
            for name, network in self.networks().items()
        }

    def phases(self) -> Sequence[Phase]:
        """Return what happens in a step."""
        loss = self.config.loss
        found = [Phase("G_main", "G")]
        if loss.density > 0:
            found.append(Phase("G_density", "G", loss.density_every))
        found.append(Phase("D_main", "D"))
        if loss.r1_gamma > 0:
            found.append(Phase("D_r1", "D", loss.r1_every))
        return found

    def data(self) -> Dataset[Any]:
        """Return the pictures."""
        return cast("Dataset[Any]", self.pictures)

    def together(self) -> int:
        """Return how many samples the discriminator measures together, or 2 where poses are swapped."""
        group = self.config.discriminator.group
        return 2 if group == 1 and swaps_poses(self.config) else group

    def losses(self, phase: str, batch: Any, step: Step) -> dict[str, Tensor]:
        """Return the one loss of a phase.

        Args:
            phase: one of `phases`.
            batch: "picture" [b, 3 or 4, h, w] uint8 and "label" [b, 25]. Phases of the generator ignore both and draw
                cameras of their own from the data set.
            step: where the run is.
        """
        match phase:
            case "G_main":
                labels = self._cameras(step)
                return {"generator": non_saturating_generator(self._judge(self._generate(labels, step), labels, step))}
            case "G_density":
                return {"density": self.config.loss.density * self._roughness(step)}
            case "D_main":
                return {"discriminator": self._discriminator(batch, step)}
            case "D_r1":
                seen = Seen(*(part.requires_grad_() for part in self._real(batch, step)))
                logits = self._judge(seen, batch["label"], step)
                penalty = r1(logits, *(seen if self._dual else seen[:1]))
                return {"r1": self.config.loss.r1_gamma / 2 * penalty}
        raise ValueError(f"no phase is called {phase!r}")

    def figures(self) -> dict[str, float]:
        """Return how sure the discriminator is: means of its logits and of their signs (-1..1)."""
        noted, self._noted = self._noted, {}
        return {name: float(value) for name, value in noted.items()}

    def after_step(self, step: Step, logged: Mapping[str, float]) -> dict[str, float]:
        """Adapt the augmentation; return what changes with time."""
        batch = self.config.run.batch
        self.images = step.images + batch
        found = {"blur": self._blur(self.images)}
        if pose_conditioned(self.config.model):
            found["swap"] = self._swap(self.images)
        if self.config.neural_resolution.final:
            found["neural_resolution"] = float(self._neural_resolution(self.images))
        if self.config.augment.mode == "adaptive":
            self.adaptive.update(logged["sign_real"], batch)
            found["augment"] = self._augment_probability
        return found

    def state(self) -> dict[str, Any]:
        """Return pictures seen and the state of the augmentation."""
        return {"images": self.images, "adaptive": self.adaptive.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.images = state["images"]
        self.adaptive.load_state(state["adaptive"])

    @torch.no_grad()
    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield a grid, the same people every time from three sides, and a turntable of the first."""
        options = self.config.samples
        generator = cast("EG3DGenerator | IdentityGenerator", averaged["G"])
        codes = Draws(self.config.run.seed, "samples", range(options.people)).normal(self.config.model.z_dim)
        people = [self._person(generator, code[None].to(self.device), None, "const") for code in codes]
        size = self._neural_resolution(self.images)

        def look(person: Any, yaw: float) -> Tensor:
            picture = generator.render(person, self._camera(yaw), size).image[0]
            return ((picture + 1) / 2).clamp(0, 1).cpu()

        rows = [torch.cat([look(person, yaw) for person in people], dim=2) for yaw in (-options.yaw, 0.0, options.yaw)]
        yield Sample("grid", torch.cat(rows, dim=1)[None])
        turns = torch.linspace(-options.yaw, options.yaw, options.frames).tolist()
        yield Sample("turntable", torch.stack([look(people[0], yaw) for yaw in turns]))

    def export(self, averaged: Mapping[str, nn.Module], trained: dict[str, Any], path: Path) -> None:
        """Write the averaged generator in half precision, with how it came about."""
        model, options = self.config.model, self.config.export
        model = replace(model, render=replace(model.render, neural_resolution=self._neural_resolution(self.images)))
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in averaged["G"].state_dict().items()}
        source: dict[str, Any] = {"title": options.title or "EG3D", "method": "adversarial training"}
        inherited: Mapping[str, str] = {}
        if self._start is not None:
            inherited = self._start.metadata
            source["started_from"] = {
                "name": self._start.name, "sha256": self._start.hash, "licence": inherited.get("licence", ""),
                "use": inherited.get("use", ""),
            }  # fmt: skip
        metadata = {
            "licence": options.licence or inherited.get("licence") or "not stated",
            "licence_url": options.licence_url or inherited.get("licence_url", ""),
            "use": options.use or inherited.get("use") or "not stated: ask who trained it",
            "source": source,
            "data": {"name": options.data or Path(self.config.data.path).name, "pictures": len(self.pictures.labels)},
            "requires": {} if model.identity is None else {"face": model.identity.face},
            "trained": trained,
        }
        checkpoints.save(path, tensors, "eg3d", asdict(model), metadata)

    @property
    def _dual(self) -> bool:
        return isinstance(self.discriminator, DualDiscriminator)

    @property
    def _augment_probability(self) -> float:
        options = self.config.augment
        return self.adaptive.value if options.mode == "adaptive" else options.probability

    def _swap(self, images: int) -> float:
        return fade(images, self.config.pose.fade_kimg, 1.0, self.config.pose.swap)

    def _blur(self, images: int) -> float:
        return fade(images, self.config.blur.fade_kimg, self.config.blur.sigma, 0.0)

    def _neural_resolution(self, images: int) -> int:
        start, options = self.config.model.render.neural_resolution, self.config.neural_resolution
        return round(fade(images, options.fade_kimg, start, options.final)) if options.final else start

    def _camera(self, yaw: float) -> Camera:
        """Return the camera at a yaw in degrees, level with the subject, with the lens of the data's first camera."""
        model = self.config.model
        turned = torch.deg2rad(torch.tensor([yaw]))
        cam2world = eg3d_cam2world(turned, torch.zeros(1), model.camera_radius, model.camera_pivot)
        return Camera(cam2world, Camera.from_label(self.pictures.labels[:1]).intrinsics).to(self.device)

    def _cameras(self, step: Step) -> Float[Tensor, "b 25"]:
        """Return camera labels from anywhere in the data set: cameras of what is generated."""
        return self.pictures.labels[step.draws.integers(len(self.pictures.labels))].to(self.device)

    def _told(self, labels: Float[Tensor, "b 25"], step: Step) -> Float[Tensor, "b 25"] | None:
        """Return the labels that the mapping network is told, for cameras that will render."""
        if not pose_conditioned(self.config.model):
            return None
        return swapped_labels(labels, self._swap(step.images), step.draws.uniform(1).to(self.device))

    def _person(
        self,
        generator: EG3DGenerator | IdentityGenerator,
        z: Float[Tensor, "b z"],
        told: Float[Tensor, "b 25"] | None,
        noise: Any,
        track: bool = False,
    ) -> Any:
        """Return the people of codes; `track` moves the mean w towards theirs."""
        if isinstance(generator, IdentityGenerator):
            return generator.person(z)
        w_plus = generator.mapping(z, told)
        if track:
            generator.mapping_network.track(w_plus[:, 0])
        return generator.person(w_plus, noise)

    def _people(self, labels: Float[Tensor, "b 25"], step: Step, track: bool = False) -> Any:
        """Return new people, as many as there are cameras."""
        z = step.draws.normal(self.config.model.z_dim).to(self.device)
        return self._person(self.generator, z, self._told(labels, step), "random", track)

    def _generate(self, labels: Float[Tensor, "b 25"], step: Step, track: bool = False) -> Seen:
        """Return pictures of new people through some cameras."""
        with self._exactly():
            seen = self.generator.render(
                self._people(labels, step, track), Camera.from_label(labels), self._neural_resolution(step.images),
                RandomSampling(step.draws.generator),
            )  # fmt: skip
        return Seen(seen.image, seen.image_raw)

    def _real(self, batch: Any, step: Step) -> Seen:
        """Return the pictures of a batch; the shrunk ones are blurred here, which generated ones never are."""
        pixels = batch["picture"]
        colour = pixels[:, :3] / 127.5 - 1
        if pixels.shape[1] == 4:
            behind = 1.0 if self.config.model.render.white_back else -1.0
            colour = behind + (colour - behind) * (pixels[:, 3:] / 255)
        size = self._neural_resolution(step.images)
        raw = F.interpolate(colour, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        return Seen(colour, blurred(raw, self._blur(step.images)))

    def _judge(self, seen: Seen, labels: Float[Tensor, "b 25"], step: Step) -> Float[Tensor, "b 1"]:
        """Return the discriminator's logits, after blur and augmentation."""
        image, raw = blurred(seen.image, self._blur(step.images)), seen.raw
        discriminator, probability = self.discriminator, self._augment_probability
        if isinstance(discriminator, DualDiscriminator):
            if self.augment is not None:
                image, raw = self.augment.pair(image, raw, probability, step.draws)
            return discriminator(image, raw, labels)
        if self.augment is not None:
            image = self.augment(image, probability, step.draws)
        return discriminator(image, labels)

    def _discriminator(self, batch: Any, step: Step) -> Float[Tensor, ""]:
        """Return the loss of D_main."""
        labels = self._cameras(step)
        with torch.no_grad():
            generated = self._generate(labels, step, track=True)
        fake = self._judge(generated, labels, step)
        real = self._judge(self._real(batch, step), batch["label"], step)
        for kind, logits in (("real", real.detach()), ("generated", fake.detach())):
            self._noted |= {f"sign_{kind}": logits.sign().mean(), f"logit_{kind}": logits.mean()}
        return non_saturating_discriminator(real, fake)

    def _roughness(self, step: Step) -> Float[Tensor, ""]:
        """Return how much the density of new people changes over small steps."""
        options = self.config.loss
        with self._exactly():
            ask = self.generator.field(self._people(self._cameras(step), step))
            points = options.density_extent * (2 * step.draws.uniform(options.density_points, 3) - 1)
            steps = options.density_step * step.draws.normal(options.density_points, 3)
            # no view direction: EG3D's density does not depend on one
            return density_smoothness(
                lambda where: ask(where, torch.zeros_like(where))[0], points.to(self.device), steps.to(self.device)
            )

    def _exactly(self) -> torch.autocast:
        """Return a context without autocast: rays and densities need their 32 bits."""
        return torch.autocast(self.device.type, enabled=False)
