# SPDX-License-Identifier: Apache-2.0
"""What adversarial training is whatever is generated (EG3D, Chan et al. 2022; Next3D, Sun et al. 2023).

A step, with the names of its phases (StyleGAN2's order):

    G_main     generated pictures shall look real to the discriminator
    G_density  neighbouring points shall be about equally dense, every 4 steps
    D_main     the discriminator tells real pictures from generated ones; the mean w follows the codes seen here
    D_r1       its gradient at real pictures shall be small, every 16 steps

A recipe adds what a generator is asked for beside a camera, and how it is asked.

Where we knowingly differ from the published code: the generator runs in 32 bits (there its super-resolution has 16),
gradients that are not finite are counted and their step is skipped (there they become numbers), and augmented raw
pictures are not shrunk before the discriminator enlarges them (`Augment.alike`).

Files to read next: `adversarial_config.py` (settings), `training/losses/adversarial.py`, `training/discriminators.py`,
`training/conditioning.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from neural_core import checkpoints
from neural_core.cameras import Camera, eg3d_cam2world
from neural_core.rendering.sampling import RandomSampling

from ..augment import AdaptiveProbability, Augment
from ..blur import blurred
from ..conditioning import swapped_labels
from ..discriminators import Discriminator, DualDiscriminator
from ..draws import Draws
from ..fades import fade
from ..losses.adversarial import non_saturating_discriminator, non_saturating_generator, r1
from ..losses.density import density_smoothness
from ..recipe import Optimiser, ParameterGroup, Phase, Sample, Step
from .adversarial_config import AdversarialConfig, Model, pose_conditioned, swaps_poses


class Pictures(Protocol):
    """What a recipe needs of a data set whose items have "picture" ([3 or 4, h, w] uint8) and "label" ([25])."""

    @property
    def labels(self) -> Tensor:
        """Return the camera labels [n, 25] of all items."""
        ...


@dataclass(frozen=True)
class Wish:
    """What the next pictures are asked to show."""

    labels: Float[Tensor, "b 25"]
    """Cameras."""
    actions: Float[Tensor, "b 52"] | None = None
    """Facial actions; None for people who do not move."""
    joints: Float[Tensor, "b 10 3"] | None = None
    """Rotations of `records.JOINTS`, likewise."""
    shape: Float[Tensor, "b k"] | None = None
    """Coefficients of the face that moves so, where the code does not say them."""


class Seen(NamedTuple):
    """What a discriminator is shown, -1..1."""

    image: Float[Tensor, "b 3 h w"]
    """Finished pictures."""
    raw: Float[Tensor, "b 3 hr wr"]
    """Their volume renderings; of real pictures the shrunk picture. A discriminator of one picture never sees it."""
    driver: Float[Tensor, "b 3 hd wd"] | None = None
    """The driving mesh, where the discriminator sees it."""


class AdversarialRecipe(ABC):
    """A recipe that the trainer runs, but for what a system does in its own way."""

    system: ClassVar[str]
    """Registered name of the system that is trained."""
    title: ClassVar[str]
    """What an exported model is called if the configuration does not say."""

    def __init__(
        self,
        config: AdversarialConfig,
        model: Model,
        pictures: Pictures,
        generator: nn.Module,
        discriminator: Discriminator | DualDiscriminator,
        start: checkpoints.Checkpoint | None = None,
    ) -> None:
        """Take the parts; the networks lie on the device that computes.

        Args:
            config: its settings.
            model: the generator's.
            pictures: the data set.
            generator: trained, averaged and exported.
            discriminator: trained.
            start: where the generator's weights come from, for the exported file to tell.
        """
        self.config, self.model, self.pictures = config, model, pictures
        self.generator, self.discriminator = generator, discriminator
        self.device = next(generator.parameters()).device
        self.augment = None if config.augment.mode == "none" else Augment(config.augment.groups)
        self.adaptive = AdaptiveProbability(config.augment.target, config.augment.kimg, config.augment.every)
        self.images = 0
        self._start = start
        self._noted: dict[str, Tensor] = {}

    @abstractmethod
    def wish(self, step: Step) -> Wish:
        """Return what is to be generated, drawn from the data set."""

    @abstractmethod
    def scene(
        self,
        generator: Any,
        z: Float[Tensor, "b z"],
        wish: Wish,
        told: Float[Tensor, "b 25"] | None,
        noise: Any,
        track: bool = False,
    ) -> Any:
        """Return what a generator's `render` and `field` take.

        Args:
            generator: which weights.
            z: codes of people.
            wish: what they do.
            told: cameras that the mapping network is told of; None for none.
            noise: the synthesis network's, where it has some.
            track: whether the mean w moves towards theirs.
        """

    @abstractmethod
    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield pictures of the same people every time."""

    def label(self, wish: Wish, step: Step) -> Tensor:
        """Return what the discriminator is told of pictures."""
        return wish.labels

    def asked(self, batch: Any) -> Wish:
        """Return what the real pictures of a batch show."""
        return Wish(batch["label"])

    def driver_of(self, batch: Any) -> Float[Tensor, "b 3 h w"] | None:
        """Return the driving meshes of real pictures, -1..1, where the discriminator sees them."""
        return None

    def drawn_driver(self, z: Float[Tensor, "b z"], wish: Wish) -> Float[Tensor, "b 3 h w"] | None:
        """Return the same of pictures that are generated from codes."""
        return None

    def face_name(self) -> str:
        """Return the face model that an exported network needs, or ""."""
        return "" if self.model.identity is None else self.model.identity.face

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
        return 2 if group == 1 and swaps_poses(self.config, self.model) else group

    def losses(self, phase: str, batch: Any, step: Step) -> dict[str, Tensor]:
        """Return the one loss of a phase.

        Args:
            phase: one of `phases`.
            batch: "picture" [b, 3 or 4, h, w] uint8, "label" [b, 25] and what else `asked` needs. Phases of the
                generator ignore it, and draw from the data set what they ask for.
            step: where the run is.
        """
        match phase:
            case "G_main":
                wish = self.wish(step)
                return {"generator": non_saturating_generator(self._judge(self._generate(wish, step), wish, step))}
            case "G_density":
                return {"density": self.config.loss.density * self._roughness(step)}
            case "D_main":
                return {"discriminator": self._discriminator(batch, step)}
            case "D_r1":
                seen = self._real(batch, step)
                shown = self._shown(seen)
                for picture in shown:
                    picture.requires_grad_()
                penalty = r1(self._judge(seen, self.asked(batch), step), *shown)
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
        if pose_conditioned(self.model):
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

    def export(self, averaged: Mapping[str, nn.Module], trained: dict[str, Any], path: Path) -> None:
        """Write the averaged generator in half precision, with how it came about."""
        model, options = self.model, self.config.export
        face = self.face_name()
        model = replace(model, render=replace(model.render, neural_resolution=self._neural_resolution(self.images)))
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in averaged["G"].state_dict().items()}
        source: dict[str, Any] = {"title": options.title or self.title, "method": "adversarial training"}
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
            "requires": {"face": face} if face else {},
            "trained": trained,
        }
        checkpoints.save(path, tensors, self.system, asdict(model), metadata)

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
        start, options = self.model.render.neural_resolution, self.config.neural_resolution
        return round(fade(images, options.fade_kimg, start, options.final)) if options.final else start

    def _camera(self, yaw: float) -> Camera:
        """Return the camera at a yaw in degrees, level with the subject, with the lens of the data's first camera."""
        model = self.model
        turned = torch.deg2rad(torch.tensor([yaw]))
        cam2world = eg3d_cam2world(turned, torch.zeros(1), model.camera_radius, model.camera_pivot)
        return Camera(cam2world, Camera.from_label(self.pictures.labels[:1]).intrinsics).to(self.device)

    def _look(self, generator: Any, scene: Any, yaw: float) -> Float[Tensor, "3 h w"]:
        """Return a picture for people to look at, 0..1 on the CPU."""
        picture = generator.render(scene, self._camera(yaw), self._neural_resolution(self.images)).image[0]
        return ((picture + 1) / 2).clamp(0, 1).cpu()

    def _sample_codes(self) -> list[Tensor]:
        """Return codes [1, z] of the people in samples."""
        options = self.config.samples
        codes = Draws(self.config.run.seed, "samples", range(options.people)).normal(self.model.z_dim)
        return list(codes.to(self.device).split(1))

    def _told(self, labels: Float[Tensor, "b 25"], step: Step) -> Float[Tensor, "b 25"] | None:
        """Return the labels that the mapping network is told, for cameras that will render."""
        if not pose_conditioned(self.model):
            return None
        return swapped_labels(labels, self._swap(step.images), step.draws.uniform(1).to(self.device))

    def _people(self, wish: Wish, step: Step, track: bool = False) -> tuple[Tensor, Any]:
        """Return codes of new people, and what the generator renders of them."""
        z = step.draws.normal(self.model.z_dim).to(self.device)
        return z, self.scene(self.generator, z, wish, self._told(wish.labels, step), "random", track)

    def _generate(self, wish: Wish, step: Step, track: bool = False) -> Seen:
        """Return pictures of new people as they are asked for."""
        generator = cast("Any", self.generator)
        with self._exactly():
            z, scene = self._people(wish, step, track)
            seen = generator.render(
                scene, Camera.from_label(wish.labels), self._neural_resolution(step.images),
                RandomSampling(step.draws.generator),
            )  # fmt: skip
            return Seen(seen.image, seen.image_raw, self.drawn_driver(z, wish))

    def _real(self, batch: Any, step: Step) -> Seen:
        """Return the pictures of a batch; the shrunk ones are blurred here, which generated ones never are."""
        pixels = batch["picture"]
        colour = pixels[:, :3] / 127.5 - 1
        if pixels.shape[1] == 4:
            behind = 1.0 if self.model.render.white_back else -1.0
            colour = behind + (colour - behind) * (pixels[:, 3:] / 255)
        size = self._neural_resolution(step.images)
        raw = F.interpolate(colour, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        return Seen(colour, blurred(raw, self._blur(step.images)), self.driver_of(batch))

    def _shown(self, seen: Seen) -> list[Tensor]:
        """Return what of it the discriminator is shown, the finished picture first."""
        parts = [seen.image, seen.raw if self._dual else None, seen.driver]
        return [part for part in parts if part is not None]

    def _judge(self, seen: Seen, wish: Wish, step: Step) -> Float[Tensor, "b 1"]:
        """Return the discriminator's logits, after blur and augmentation."""
        image, *others = self._shown(seen)
        pictures = [blurred(image, self._blur(step.images)), *others]
        label = self.label(wish, step)
        if self.augment is not None:
            pictures = self.augment.alike(pictures, self._augment_probability, step.draws)
        if isinstance(self.discriminator, DualDiscriminator):
            image, raw, *driver = pictures
            return self.discriminator(image, raw, label, *driver)
        size = pictures[0].shape[-2:]
        shown = [
            pictures[0],
            *(F.interpolate(other, size=size, mode="bilinear", antialias=True) for other in pictures[1:]),
        ]
        return self.discriminator(torch.cat(shown, dim=1), label)

    def _discriminator(self, batch: Any, step: Step) -> Float[Tensor, ""]:
        """Return the loss of D_main."""
        wish = self.wish(step)
        with torch.no_grad():
            generated = self._generate(wish, step, track=True)
        fake = self._judge(generated, wish, step)
        real = self._judge(self._real(batch, step), self.asked(batch), step)
        for kind, logits in (("real", real.detach()), ("generated", fake.detach())):
            self._noted |= {f"sign_{kind}": logits.sign().mean(), f"logit_{kind}": logits.mean()}
        return non_saturating_discriminator(real, fake)

    def _roughness(self, step: Step) -> Float[Tensor, ""]:
        """Return how much the density of new people changes over small steps."""
        options = self.config.loss
        with self._exactly():
            _, scene = self._people(self.wish(step), step)
            ask = cast("Any", self.generator).field(scene)
            points = options.density_extent * (2 * step.draws.uniform(options.density_points, 3) - 1)
            steps = options.density_step * step.draws.normal(options.density_points, 3)
            # no view direction: EG3D's density does not depend on one
            return density_smoothness(
                lambda where: ask(where, torch.zeros_like(where))[0], points.to(self.device), steps.to(self.device)
            )

    def _exactly(self) -> torch.autocast:
        """Return a context without autocast: rays and densities need their 32 bits."""
        return torch.autocast(self.device.type, enabled=False)
