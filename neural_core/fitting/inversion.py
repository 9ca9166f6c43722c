# SPDX-License-Identifier: Apache-2.0
"""From a picture of a person to their portrait: pivotal tuning inversion (Roich et al. 2022; Next3D, section 4.3).

First the *pivot* is found: the latents of a person of the model who is most like the picture, weights standing still.
Then the weights are tuned until that person is the one in the picture. Between its turns the picture gives way to two
others: its mirror image, since heads are nearly symmetric, and other views of the pivot, without which what the picture
does not show would change at will. Where there are other pictures of the person, they take the mirror image's place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..cameras import Camera, orbit
from ..human import arkit
from ..perceptual import perceptual_distance
from ..rendering.sampling import HALF, RandomSampling, Sampling
from ..rendering.volume import VolumeRenderer
from ..systems.common import Portrait, Rendering
from ..systems.identity_base import IdentityBase
from .likeness import unlikeness
from .tunable import Tunable, difference, tuned_copy

RATES = {"w_plus": 0.02, "z": 0.05, "offset/told": 0.01, "offset/w_plus": 0.01, "offset/palette": 0.005}
"""Learning rates of the latents, by their names."""
PRIORS = {"z": 1e-4, "offset/told": 2e-3, "offset/w_plus": 2e-3, "offset/palette": 2e-2}
"""Weight of the sum of squares that keeps a latent near where it started."""
WEIGHT_RATE = 1e-3
"""Learning rate of the weights, at its highest."""
WEIGHT_PRIOR = 1.0
"""Weight of the mean square of the weights' differences."""
KEEP = 0.5
"""Weight of the pivot's other views beside the picture."""
MIRROR = 0.3
"""Weight of the mirrored picture beside the picture, where that shows one side."""
OTHERS = 0.5
"""Weight of other pictures of the same person beside the picture. In 220 iterations two of them, 30 degrees to the
sides, made the sides 0.8 dB better and the front 1.5 dB worse; looked at as often as it, 1.0 better and 3.5 worse."""
MIRRORED_FROM = 0.3
"""How far from the side (0..1, from 30 degrees on) a picture has to be taken before the mirrored one is worth the time
of a look at the picture."""
PERCEPTION = 0.5
"""Weight of LPIPS beside the other likeness, for users who have brought it."""
COVERAGE = 0.3
"""Weight of coverage beside colours, for models that show people alone."""
SAMPLES = (16, 8)
"""Coarse and fine samples a ray, at most, for models of ours. Their places are random, so that one iteration's mistakes
are not the next one's. One picture was 35.6 dB from that of 32 and 32; rendering takes about half as long."""

_BETAS = (0.9, 0.99)
_VIEWS = (
    (-70.0, 0.0),
    (140.0, 0.0),
    (35.0, -15.0),
    (-105.0, 10.0),
    (-35.0, 15.0),
    (-140.0, 0.0),
    (70.0, 0.0),
    (105.0, 0.0),
)
"""Yaw and pitch in degrees from which the pivot is remembered."""
_NOT_TUNED = ("mapping", "mean_planes", "mean_texture", "decoder")
"""Latents do the mapping's work; the others are slow to learn, large, or change all places at once."""
_OTHER_ACTION = [arkit.ACTIONS.index(arkit.mirrored(name)) for name in arkit.ACTIONS]


@dataclass(frozen=True)
class Target:
    """A picture of one person, and what is known of it.

    Attributes:
        picture: sRGB 0..1, of the model's own size or of one that divides it; the model's is then averaged down.
        alpha: how much of every pixel the person covers, 0..1.
        background: what is behind them, 0..1.
        weight: how much every pixel matters.
        camera: in head space.
        shape: identity coefficients of the face, None if they are not known.
        controls: what the face does, as `System.pose` takes it; empty for a model of still faces.
    """

    picture: Float[Tensor, "1 3 s s"]
    alpha: Float[Tensor, "1 1 s s"]
    background: Float[Tensor, "1 3 s s"]
    weight: Float[Tensor, "1 1 s s"]
    camera: Camera
    shape: Float[Tensor, " k"] | None = None
    controls: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Length:
    """How long to fit."""

    latents: int = 450
    """Iterations that look for the pivot."""
    weights: int = 500
    """Iterations that tune the weights."""

    @property
    def total(self) -> int:
        """Return the iterations of both."""
        return self.latents + self.weights


class Inversion:
    """A portrait in the making: `step` after `step`; it can be looked at, put away and taken up again at any time."""

    def __init__(
        self,
        system: Tunable,
        target: Target,
        length: Length,
        lpips: nn.Module | None = None,
        others: Sequence[Target] = (),
    ) -> None:
        """Start from the mean person with the picture's face.

        Args:
            system: the model; it stays as it is.
            target: the picture.
            length: how many steps there will be.
            lpips: the network of LPIPS (`perceptual.lpips`), if there is one.
            others: further pictures of the same person, from other sides.
        """
        self.system, self.target, self.length, self.lpips = system, target, length, lpips
        self.others = tuple(others)
        self.iteration = 0
        self.latents = start_latents(system, target.shape)
        self.generator = tuned_copy(system.generator, tuned_names(system.generator)).train()
        if isinstance(self.generator, IdentityBase):
            self.generator.renderer = _hurried(self.generator.renderer)
        self._start = {name: value.clone() for name, value in self.latents.items()}
        self._weights = {
            name: p for name, p in self.generator.named_parameters() if name in tuned_names(self.generator)
        }
        self._original = dict(system.generator.named_parameters())
        self._mirrored = mirrored(target)
        self._pivot: list[tuple[Camera, Tensor]] = []
        self._free = self._leaves_background_free()
        self._adam = self._begin()

    @property
    def tunes(self) -> bool:
        """Return whether the next step tunes weights."""
        return self.iteration >= self.length.latents

    def step(self) -> float:
        """Do one iteration and return its loss."""
        if self.iteration == self.length.latents:
            self._adam = self._begin()
        length = self.length.weights if self.tunes else self.length.latents
        pace = _pace((self.iteration - self.tunes * self.length.latents) / length)
        for group in self._adam.param_groups:
            group["lr"] = group["rate"] * pace
        chance = RandomSampling(torch.Generator().manual_seed(self.iteration))  # the same when taken up again
        loss = self._loss(chance)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self.iteration += 1
        return float(loss.detach())

    def portrait(self) -> Portrait:
        """Return the person so far."""
        made = self.system.portrait_of_latents(self.latents)
        tuned = difference(self.generator, self.system.generator, self._weights)
        return dataclasses.replace(made, tensors={**made.tensors, **tuned})

    def state(self) -> dict[str, Tensor]:
        """Return everything that `resume` needs beside the iteration."""
        kept = {f"latents/{name}": value for name, value in self.latents.items()}
        if self.tunes:
            kept |= {f"weights/{name}": value for name, value in self._weights.items()}
        for index, moments in self._adam.state_dict()["state"].items():
            kept |= {f"adam/{index}/{name}": value for name, value in moments.items()}
        return {name: value.detach() for name, value in kept.items()}

    @torch.no_grad()
    def resume(self, iteration: int, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned after some iterations of the same inversion."""
        self.iteration = iteration
        for name, value in self.latents.items():
            value.copy_(state[f"latents/{name}"])
        self._adam = self._begin()
        for name, value in self._weights.items():
            value.copy_(state.get(f"weights/{name}", value))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            kind, _, rest = name.partition("/")
            if kind == "adam":
                index, _, name = rest.partition("/")
                moments.setdefault(int(index), {})[name] = value
        self._adam.load_state_dict({**self._adam.state_dict(), "state": moments})

    @torch.no_grad()
    def preview(self) -> Float[Tensor, "s s 4"]:
        """Return the person so far as the picture's camera sees them: sRGB 0..1, straight alpha."""
        seen = self._see(self.target.camera)
        opacity = to_size(seen.opacity, seen.image.shape[-1]).clamp(0, 1)
        colour = (((seen.image + 1) / 2) / opacity.clamp(min=1e-3)).clamp(0, 1)
        return torch.cat([colour, opacity], dim=1)[0].movedim(0, -1).cpu()

    def _loss(self, chance: Sampling) -> Tensor:
        """Return the loss of this iteration.

        One of four looks at another picture of the person or, without any, at the mirrored picture, if that shows what
        the picture does not; where weights are tuned, one looks at another view of the pivot; the rest look at the
        picture.
        """
        turn, from_the_side = self.iteration % 4, self._from_the_side()
        if turn == 1 and self.tunes:
            camera, pivot = self._pivot[self.iteration // 4 % len(self._pivot)]
            seen = to_size(self._see(camera, self.target.controls, chance).image, self.target.picture.shape[-1])
            loss = KEEP * unlikeness((seen + 1) / 2, (pivot + 1) / 2, torch.ones_like(pivot[:, :1]))
        elif turn == 3 and self.others:
            loss = OTHERS * self._unlike(self.others[self.iteration // 4 % len(self.others)], chance)
        elif turn == 3 and from_the_side >= MIRRORED_FROM:
            loss = MIRROR * from_the_side * self._unlike(self._mirrored, chance)
        else:
            loss = self._unlike(self.target, chance)
        if self.tunes:
            apart = [value - self._original[name] for name, value in self._weights.items()]
            return loss + WEIGHT_PRIOR * torch.cat([x.flatten() for x in apart]).square().mean()
        for name, weight in PRIORS.items():
            if name in self.latents:
                loss = loss + weight * (self.latents[name] - self._start[name]).square().sum()
        return loss

    def _unlike(self, target: Target, chance: Sampling) -> Tensor:
        """Return how unlike a picture the person is."""
        seen = self._see(target.camera, target.controls, chance)
        found, opacity = over(seen, target.background)
        loss = unlikeness(found, target.picture, target.weight)
        if self.lpips is not None:
            loss = loss + PERCEPTION * perceptual_distance(self.lpips, found, target.picture).mean()
        return loss + COVERAGE * (opacity - target.alpha).abs().mean() if self._free else loss

    def _see(self, camera: Camera, controls: Mapping[str, Tensor] | None = None, chance: Sampling = HALF) -> Rendering:
        return self.system.see(self.generator, self.latents, camera, controls or self.target.controls, chance)

    def _begin(self) -> torch.optim.Adam:
        """Return the optimiser of this phase, and let move what it moves."""
        for value in self.latents.values():
            value.requires_grad_(not self.tunes)
        if self.tunes:
            with torch.no_grad():
                size = self.target.picture.shape[-1]
                views = ((camera, self._see(camera).image) for camera in _around(self.target.camera))
                self._pivot = [(camera, to_size(image, size)) for camera, image in views]
            groups = [{"params": [*self._weights.values()], "rate": WEIGHT_RATE}]
        else:
            groups = [{"params": [value], "rate": RATES[name]} for name, value in self.latents.items()]
        return torch.optim.Adam(groups, betas=_BETAS)

    def _from_the_side(self) -> float:
        """Return 0 for a picture from the front, whose mirror image shows nothing else, to 1 from 30 degrees on."""
        x, _, z = self.target.camera.cam2world[0, :3, 3].tolist()
        return min(1.0, abs(math.degrees(math.atan2(x, z))) / 30)

    @torch.no_grad()
    def _leaves_background_free(self) -> bool:
        """Return whether the model shows people alone: where the picture has none, it covers nothing."""
        beyond = 1 - self.target.alpha
        opacity = to_size(self._see(self.target.camera).opacity, beyond.shape[-1])
        return float((opacity * beyond).sum() / beyond.sum().clamp(min=1)) < 0.5


def tuned_names(generator: nn.Module) -> tuple[str, ...]:
    """Return the parameters that are tuned: all but those of parts that say less of a person than of people."""
    return tuple(name for name, _ in generator.named_parameters() if not name.startswith(_NOT_TUNED))


def start_latents(system: Tunable, shape: Float[Tensor, " k"] | None = None) -> dict[str, Tensor]:
    """Return the latents of the mean person, with the coefficients of a face if the model knows them."""
    mean = system.create(0, 0.0)
    latents = {name: value.clone() for name, value in system.latents(mean).items()}
    if shape is not None and mean.shape is not None:
        known = min(len(shape), len(mean.shape))
        latents["z"][0, :known] = shape[:known]  # codes begin with them
    return latents


def mirrored(target: Target) -> Target:
    """Return the target as a mirror shows it."""
    controls = dict(target.controls or {})
    if "actions" in controls:
        controls["actions"] = controls["actions"][..., _OTHER_ACTION]
    return Target(
        picture=target.picture.flip(-1),
        alpha=target.alpha.flip(-1),
        background=target.background.flip(-1),
        weight=target.weight.flip(-1),
        camera=target.camera.mirrored(),
        shape=target.shape,
        controls=controls,
    )


def _around(camera: Camera) -> Iterator[Camera]:
    """Yield cameras around the head, as far from it as this one."""
    radius = float(camera.cam2world[0, :3, 3].norm())
    for yaw, pitch in _VIEWS:
        yield Camera(orbit(yaw, pitch, radius).cam2world.to(camera.cam2world), camera.intrinsics)


def _pace(progress: float) -> float:
    """Return the factor of the learning rates: up over the first twentieth, down over the last quarter."""
    up, down = min(1.0, progress / 0.05 + 0.1), min(1.0, (1 - progress) / 0.25)
    return up * (0.5 - 0.5 * math.cos(math.pi * down))


def over(
    seen: Rendering, background: Float[Tensor, "b 3 s s"]
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 1 s s"]]:
    """Return people before a background, about 0..1, and how much of every pixel they cover; as large as that is."""
    size = background.shape[-1]
    opacity = to_size(seen.opacity, size)
    return to_size((seen.image + 1) / 2, size) + (1 - opacity) * background, opacity


def to_size(x: Float[Tensor, "b c h h"], size: int) -> Float[Tensor, "b c s s"]:
    """Return a picture of another size: averaged down, or enlarged."""
    if x.shape[-1] >= size:
        return x if x.shape[-1] == size else F.adaptive_avg_pool2d(x, size)
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def _hurried(renderer: VolumeRenderer) -> VolumeRenderer:
    """Return a renderer that takes no more than `SAMPLES` a ray."""
    coarse, fine = SAMPLES
    return dataclasses.replace(renderer, coarse=min(renderer.coarse, coarse), fine=min(renderer.fine, fine))
