# SPDX-License-Identifier: Apache-2.0
"""Adversarial Next3D (Sun et al., CVPR 2023): pictures of people who do something in, people to be driven out.

As EG3D (`adversarial.py`), but what is generated is asked to show an instant of the data: its camera, its facial
actions and the turns of its joints. The discriminator sees the driving mesh beside the picture (section 3.5), so a
picture that shows another expression than the one asked for is told from the real ones, which always agree.

Works for ours with a face code (`model.identity`), whose mesh is posed with the code's own shape, and for the paper's
network on our head's mesh, which is posed with the shape of the person whose instant it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_core import checkpoints
from neural_core.cameras import Camera
from neural_core.human.arkit import ACTIONS
from neural_core.human.driver import driver
from neural_core.human.model import FaceModel
from neural_core.human.posing import FacePoser
from neural_core.records import JOINTS
from neural_core.systems.next3d.generator import Next3DGenerator
from neural_core.systems.next3d.identity_generator import IdentityNext3D

from ..discriminators import Discriminator, DualDiscriminator
from ..recipe import Sample, Step
from .adversarial import AdversarialRecipe, Pictures, Wish
from .adversarial_config import check
from .next3d_config import Config, face_of, new_discriminator, new_generator, reduced
from .next3d_start import fill

_SHOWN = (("jawOpen",), ("mouthSmileLeft", "mouthSmileRight"), ("eyeBlinkLeft", "eyeBlinkRight"))
"""Actions of the lower rows of samples."""


class MovingPictures(Pictures, Protocol):
    """A data set whose items also have "actions" [52], "joints" [10, 3], and "driver" [3, h, w] uint8."""

    driver_size: int
    """h and w of the drivers."""

    @property
    def actions(self) -> Tensor:
        """Return the facial actions [n, 52] of all items."""
        ...

    @property
    def joints(self) -> Tensor:
        """Return the rotations [n, 10, 3] of `records.JOINTS` of all items."""
        ...

    @property
    def shapes(self) -> Tensor:
        """Return the face model's coefficients [n, k] of all items."""
        ...


def build(config: Config, device: torch.device) -> Adversarial:
    """Return the recipe with networks of random weights, or with the generator filled from `config.init`.

    Raises:
        UsageError: settings that do not fit each other.
        InputError: the data cannot be used.
        ModelError: the weights to start from do not fit the model.
    """
    from ..data.instants import InstantSet

    config = reduced(config)
    check(config, config.model)
    face = face_of(config.model)
    generator, start = new_generator(config.model, face), None
    if config.init:
        start = checkpoints.load(Path(config.init))
        left = fill(generator, config.model, start)
        if left:
            print(f'"{start.name}" says nothing of {len(left)} tensors: {", ".join(left)}.', file=sys.stderr)
    pictures = InstantSet(Path(config.data.path), config.model.image_size, config.data.mirror, config.data.limit)
    return Adversarial(config, pictures, generator.to(device), new_discriminator(config).to(device), face, start)


class Adversarial(AdversarialRecipe):
    """The recipe that the trainer runs."""

    system, title = "next3d", "Next3D"

    def __init__(
        self,
        config: Config,
        pictures: MovingPictures,
        generator: Next3DGenerator | IdentityNext3D,
        discriminator: Discriminator | DualDiscriminator,
        face: FaceModel,
        start: checkpoints.Checkpoint | None = None,
    ) -> None:
        """Take the parts, as `AdversarialRecipe` does, and the face model that drives the generator."""
        super().__init__(config, config.model, pictures, generator, discriminator, start)
        self.moving, self.options, self.face = pictures, config.discriminator, face
        self.poser = FacePoser(face).to(self.device)
        self._spread = self._said(Wish(pictures.labels, pictures.actions)).std(0, correction=0).to(self.device)

    def wish(self, step: Step) -> Wish:
        """Return instants from anywhere in the data set."""
        data = self.moving
        index = step.draws.integers(len(data.labels))
        found = (table[index].to(self.device) for table in (data.labels, data.actions, data.joints, data.shapes))
        return Wish(*found)

    def asked(self, batch: Any) -> Wish:
        """Return what the real pictures of a batch show."""
        return Wish(batch["label"], batch["actions"], batch["joints"])

    def scene(
        self,
        generator: Next3DGenerator | IdentityNext3D,
        z: Float[Tensor, "b z"],
        wish: Wish,
        told: Float[Tensor, "b 25"] | None,
        noise: Any,
        track: bool = False,
    ) -> Any:
        """Return the people of codes, who do what is asked for."""
        assert wish.actions is not None
        assert wish.joints is not None
        if isinstance(generator, IdentityNext3D):
            return generator.instant(generator.person(z), generator.vertices(wish.actions, wish.joints))
        w_plus = generator.mapping(z, told)
        if track:
            generator.mapping_network.track(w_plus[:, 0])
        vertices = self.poser(wish.actions, wish.joints, wish.shape)
        return generator.instant(generator.person(w_plus, noise), vertices, self.poser.landmarks(vertices), noise)

    def label(self, wish: Wish, step: Step) -> Tensor:
        """Return what the discriminator is told of pictures: cameras, and actions if configured, with noise."""
        said = self._said(wish)
        if self.options.label_noise == 0:
            return said
        return said + self.options.label_noise * self._spread * step.draws.normal(said.shape[1]).to(said)

    def driver_of(self, batch: Any) -> Float[Tensor, "b 3 h w"] | None:
        """Return the driving meshes of real pictures, -1..1."""
        return batch["driver"] / 127.5 - 1 if self.options.synthetic_rendering else None

    @torch.no_grad()
    def drawn_driver(self, z: Float[Tensor, "b z"], wish: Wish) -> Float[Tensor, "b 3 h w"] | None:
        """Return the driving meshes of generated pictures, -1..1, drawn and rounded as those of records are."""
        if not self.options.synthetic_rendering:
            return None
        assert wish.actions is not None
        assert wish.joints is not None
        identity = self.model.identity
        shape = wish.shape if identity is None else z[:, : identity.shape_dims]
        vertices = self.poser(wish.actions, wish.joints, shape)
        drawn = driver(self.face, vertices, Camera.from_label(wish.labels), self.moving.driver_size)
        return (drawn * 255).round() / 127.5 - 1

    def face_name(self) -> str:
        """Return the face model that an exported network needs."""
        return self.face.name

    @torch.no_grad()
    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield a grid of the same people every time, and a film of the first, who turns and opens the mouth.

        The grid's rows: from three sides without expression; then from the front with the jaw open, smiling, and with
        the eyes shut.
        """
        options, generator = self.config.samples, cast("Any", averaged["G"])
        codes = self._sample_codes()

        def row(yaw: float, *actions: str) -> Tensor:
            wish = self._acting(dict.fromkeys(actions, 1.0))
            people = [self.scene(generator, code, wish, None, "const") for code in codes]
            return torch.cat([self._look(generator, person, yaw) for person in people], dim=2)

        rows = [row(yaw) for yaw in (-options.yaw, 0.0, options.yaw)] + [row(0.0, *actions) for actions in _SHOWN]
        yield Sample("grid", torch.cat(rows, dim=1)[None])
        frames = []
        for turn in torch.linspace(-1, 1, options.frames).tolist():
            person = self.scene(generator, codes[0], self._acting({"jawOpen": 1 - abs(turn)}), None, "const")
            frames.append(self._look(generator, person, turn * options.yaw))
        yield Sample("turntable", torch.stack(frames))

    def _said(self, wish: Wish) -> Tensor:
        """Return what the discriminator is told, without noise."""
        if self.options.expression == "none":
            return wish.labels
        assert wish.actions is not None
        return torch.cat([wish.labels, wish.actions], dim=1)

    def _acting(self, actions: Mapping[str, float]) -> Wish:
        """Return a wish for one person on the mean face, seen from the front."""
        values = torch.tensor([[actions.get(name, 0.0) for name in ACTIONS]], device=self.device)
        joints = torch.zeros(1, len(JOINTS), 3, device=self.device)
        return Wish(self._camera(0.0).label(), values, joints)
