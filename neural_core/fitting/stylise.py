# SPDX-License-Identifier: Apache-2.0
"""People in the style that a text names (StyleGAN-NADA, Gal et al. 2022; Next3D, section 4.3 and appendix A.2).

Two networks begin equal. One stays; the other is trained until, in CLIP's space, the way from a picture of the first to
the same picture of the second points as the way from one text to another does ("photo" to "pencil drawing"). Only
directions are compared, so people stay different from each other, and who they are is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .. import checkpoints
from ..cameras import Camera, orbit
from ..errors import UsageError
from ..human.arkit import ACTIONS
from ..media import Picture, straight_alpha
from ..nn.style_unet import StyleUNet
from ..nn.stylegan2 import SynthesisNetwork
from ..progress import Report, silent
from ..systems.common import Portrait, Rendering, System
from .clip import Judge
from .tunable import PREFIX, Tunable, difference, tuned_copy, with_tuned

Preview = Callable[[Picture, int], object]
"""Called with a picture of the person so far, [h, w, 4], and the number of iterations done."""

TEMPLATES = ("{}", "a picture of {}", "a portrait, {}", "the face of a person, {}", "{} of a face")
"""Sentences that a text is put into; their mean in CLIP's space is less moody than one of them."""

MAX_YAW, MAX_PITCH = 30.0, 15.0
"""Degrees within which cameras are drawn: a style is to hold from all sides that faces are looked at from."""
MOVED = (
    ("jawOpen",),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("mouthSmileLeft", "mouthSmileRight"),
    ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
)
"""Actions that an animatable model is asked for while it learns a style, so that it goes on moving."""

GREY = 0.5
"""Of what stands behind people while CLIP looks at them."""
_BETAS = (0.0, 0.99)
_SMALL = 0.05
"""Length of a difference in CLIP's space, where pictures have length 1, below which its direction counts for less. Both
networks begin equal: a difference of nothing has no direction, and nearly none would have gradients without bounds."""


@dataclass(frozen=True)
class Options:
    """What is wanted, and how long to work on it. Defaults of rates are StyleGAN-NADA's."""

    text: str
    """The style: "a pencil drawing"."""
    source: str = "a photo"
    """What the model's pictures are now."""
    iterations: int = 200
    """Steps."""
    batch: int = 2
    """Pictures a step."""
    rate: float = 0.002
    """Learning rate."""
    truncation: float = 0.7
    """Of the people that a whole model is trained on."""
    preview_every: int = 10
    """Iterations between two previews."""
    seed: int = 0
    """Of the people, cameras and expressions that are drawn."""


class Stylisation:
    """A style in the making. What it has become may be asked for after any number of `step`s."""

    def __init__(self, system: System, judge: Judge, options: Options, portrait: Portrait | None = None) -> None:
        """Begin with two equal networks.

        Args:
            system: also a `Tunable`.
            judge: CLIP.
            options: the text, and how long.
            portrait: whose style it is; None for everybody's, for a model.

        Raises:
            UsageError: if there is no text, if both texts mean the same, or the system has nothing to train.
        """
        if not isinstance(system, Tunable):
            raise UsageError(f'Models of "{system.info.name}" cannot be given a style.')
        if not options.text.strip():
            raise UsageError("There is no text that names a style.", 'Give one such as "a pencil drawing".')
        self.system: Tunable = system
        self.judge, self.options, self.start = judge, options, portrait
        self.frozen = system.generator if portrait is None else with_tuned(system.generator, portrait.tensors)
        self.names = trained_names(self.frozen)
        if not self.names:
            raise UsageError(f'Models of "{system.info.name}" cannot be given a style.')
        self.direction = text_direction(judge, options.source, options.text)
        self.trained = tuned_copy(self.frozen, self.names)
        wanted = set(self.names)
        weights = [value for name, value in self.trained.named_parameters() if name in wanted]
        self._adam = torch.optim.Adam(weights, lr=options.rate, betas=_BETAS)
        self._random = torch.Generator().manual_seed(options.seed)
        self.iteration = 0

    def step(self, tell: Callable[[], object] = lambda: None) -> float:
        """Do one iteration and return the loss; `tell` is called between its parts and may raise to stop the work."""
        latents, camera, controls = self._people(), self._cameras(), self._controls()
        tell()
        with torch.no_grad():
            before = self.judge.pictures(self._pictures(self.frozen, latents, camera, controls))
        tell()
        after = self.judge.pictures(self._pictures(self.trained, latents, camera, controls))
        tell()
        loss = directional_loss(before, after, self.direction)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self.iteration += 1
        return float(loss.detach())

    def portrait(self) -> Portrait:
        """Return the portrait that the work began with, in its style so far."""
        assert self.start is not None
        own = {name: value for name, value in self.start.tensors.items() if not name.startswith(PREFIX)}
        tuned = {name.removeprefix(PREFIX) for name in self.start.tensors if name.startswith(PREFIX)}
        changes = difference(self.trained, self.system.generator, {*self.names, *tuned})
        said = {**self.start.provenance, "style": self.facts()}
        return dataclasses.replace(self.start, tensors={**own, **changes}, provenance=said)

    def save_model(self, path: Path, original: checkpoints.Checkpoint) -> str:
        """Write the model so far, and return its sha256. What was not trained is stored bit for bit as it was.

        Args:
            path: FILE.safetensors.
            original: the file of the model that the work began with.

        Raises:
            PortraitError: kind "output", if the file cannot be written.
        """
        trained = dict(self.trained.named_parameters())
        changed = {name: trained[name].detach().to(original.tensors[name]) for name in self.names}
        said: dict[str, Any] = {
            key: original.metadata[key] for key in checkpoints.CHECKPOINT_KEYS if original.metadata.get(key)
        }
        source = checkpoints.parse_json_object(said.get("source", "{}"), "source", original.name)
        said["source"] = {**source, "style": {**self.facts(), "model": original.name, "model_sha256": original.hash}}
        return checkpoints.save(path, {**original.tensors, **changed}, original.system, original.config, said)

    def facts(self) -> dict[str, Any]:
        """Return what files say of the style."""
        return {"text": self.options.text, "from": self.options.source, "iterations": self.iteration}

    @torch.no_grad()
    def preview(self) -> Picture:
        """Return the first person from the front, [s, s, 4]."""
        system = self.system
        portrait = self.start or system.create(0, self.options.truncation)
        camera = system.creation_camera().to(self._device)
        seen = system.see(self.trained, system.latents(portrait), camera)
        colour, opacity = (seen.image[0] + 1) / 2, _covered(seen)[0, 0]
        return straight_alpha(colour.movedim(0, -1).cpu().numpy(), opacity.cpu().numpy())

    @property
    def _device(self) -> torch.device:
        return next(self.frozen.parameters()).device

    def _pictures(
        self, generator: nn.Module, latents: dict[str, Tensor], camera: Camera, controls: dict[str, Tensor] | None
    ) -> Float[Tensor, "b 3 s s"]:
        """Return what cameras see, before grey, 0..1."""
        seen = self.system.see(generator, latents, camera, controls)
        return ((seen.image + 1) / 2 + (1 - _covered(seen)) * GREY).clamp(0, 1)

    def _people(self) -> dict[str, Tensor]:
        """Return the latents of the portrait's person, as often as needed, or of new people."""
        count = self.options.batch
        if self.start is not None:
            return {
                name: value.expand(count, *value.shape[1:]) for name, value in self.system.latents(self.start).items()
            }
        seeds = torch.randint(1 << 31, (count,), generator=self._random).tolist()
        people = [self.system.latents(self.system.create(seed, self.options.truncation)) for seed in seeds]
        return {name: torch.cat([person[name] for person in people]) for name in people[0]}

    def _cameras(self) -> Camera:
        """Return cameras before the face, as far from it as the system's own."""
        usual = self.system.creation_camera()
        yaw, pitch = (2 * torch.rand(2, self.options.batch, generator=self._random) - 1).mul(
            torch.tensor([[MAX_YAW], [MAX_PITCH]])
        )
        around = orbit(yaw, pitch, float(usual.cam2world[0, :3, 3].norm()))
        lens = usual.intrinsics.cpu().expand(len(around), -1, -1)
        return Camera(around.cam2world, lens).to(self._device)

    def _controls(self) -> dict[str, Tensor] | None:
        """Return an expression, half of whose parts are at rest; None for a model of still faces."""
        if not any(control.name == "actions" for control in self.system.info.controls):
            return None
        amounts = torch.rand(len(MOVED), generator=self._random)
        amounts *= torch.rand(len(MOVED), generator=self._random) < 0.5
        actions = torch.zeros(len(ACTIONS))
        for names, amount in zip(MOVED, amounts, strict=True):
            actions[[ACTIONS.index(name) for name in names]] = amount
        return {"actions": actions.to(self._device)}


def stylise(
    system: System,
    judge: Judge,
    options: Options,
    portrait: Portrait | None = None,
    report: Report = silent,
    on_preview: Preview | None = None,
) -> Stylisation:
    """Return the finished work, of which `portrait` or `save_model` can be asked.

    Args:
        system: whose network; it stays as it is.
        judge: CLIP (`clip.load_clip`).
        options: the text, and how long.
        portrait: whose style it is; None for everybody's, for a model.
        report: told of progress; may raise to stop the work, which then leaves nothing behind.
        on_preview: shown the person every few iterations, and at the end.

    Raises:
        UsageError: as `Stylisation` does.
    """
    work = Stylisation(system, judge, options, portrait)
    total = options.iterations
    for done in range(total):
        work.step(lambda done=done: report("Learning the style", done, total))
        finished = done + 1
        if on_preview is not None and (finished % options.preview_every == 0 or finished == total):
            on_preview(work.preview(), finished)
    report("Learning the style", total, total)
    return work


def trained_names(generator: nn.Module) -> list[str]:
    """Return the parameters that learn a style (Next3D, appendix A.2 and C).

    They are those of the synthesis networks of static planes, texture and mouth, but for all toRGB layers below the
    last: fixing these keeps a portrait's composition (StyleGAN-NADA), and moving the last helped in 3D (figure 10).
    Mapping, decoder, super-resolution and the blending of front views stay, with whatever else there is.
    """
    names = []
    for place, network in generator.named_modules():
        if not isinstance(network, (SynthesisNetwork, StyleUNet)) or "blending" in place.split("."):
            continue
        last = list(network.blocks)[-1]
        for name, _ in network.named_parameters():
            part = name.split(".")
            if "to_rgb" not in part or part[1] == last:
                names.append(f"{place}.{name}")
    return names


def text_direction(judge: Judge, source: str, target: str) -> Float[Tensor, " d"]:
    """Return the way from one text to another in CLIP's space, of length 1 (StyleGAN-NADA, "CLIP-based guidance").

    Raises:
        UsageError: if CLIP does not tell them apart.
    """
    start, end = (judge.texts([template.format(text) for template in TEMPLATES]).mean(0) for text in (source, target))
    way = end - start
    if float(way.norm()) < 1e-4:
        raise UsageError(f'CLIP sees no difference between "{source}" and "{target}".', "Name another style.")
    return F.normalize(way, dim=0)


def directional_loss(
    before: Float[Tensor, "b d"], after: Float[Tensor, "b d"], direction: Float[Tensor, " d"]
) -> Float[Tensor, ""]:
    """Return 1 - cos of the angle between pictures' change and a direction of length 1, the mean over pictures.

    StyleGAN-NADA's directional loss, with a cosine that fades to 0 for changes of nearly nothing (`_SMALL`).
    """
    change = after - before
    length = (change.square().sum(1) + _SMALL**2).sqrt()
    return (1 - change @ direction / length).mean()


def _covered(seen: Rendering) -> Float[Tensor, "b 1 s s"]:
    """Return how much of every pixel of the picture is covered, 0..1."""
    size = seen.image.shape[-2:]
    opacity = seen.opacity
    if opacity.shape[-2:] != size:
        opacity = F.interpolate(opacity, size, mode="bilinear", align_corners=False)
    return opacity.clamp(0, 1)
