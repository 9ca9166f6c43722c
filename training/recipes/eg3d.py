# SPDX-License-Identifier: Apache-2.0
"""Adversarial EG3D (Chan et al., CVPR 2022): pictures with camera labels in, a generator of people out.

Works for the paper's generator and for ours with a face code (`model.identity`), which has no pose conditioning: its
code says who it is and nothing else. Both may start from weights (`init`). What happens in a step: `adversarial.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_core import checkpoints
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.identity_generator import IdentityGenerator

from ..discriminators import Discriminator, DualDiscriminator
from ..recipe import Sample, Step
from .adversarial import AdversarialRecipe, Pictures, Wish
from .adversarial_config import LABEL, check, check_start
from .eg3d_config import Config, new_generator


def build(config: Config, device: torch.device) -> Adversarial:
    """Return the recipe with networks of random weights, or with the generator of `config.init`.

    Raises:
        UsageError: settings that do not fit each other.
        InputError: the data cannot be used.
        ModelError: the weights to start from are not those of the model.
    """
    from ..data.pictures import PictureSet

    check(config, config.model)
    generator = new_generator(config.model)
    start = None
    if config.init:
        start = checkpoints.load(Path(config.init))
        check_start("eg3d", config.model, start)
        checkpoints.fill(generator, start.tensors, start.name)
    size, options = config.model.image_size, config.discriminator
    kind = Discriminator if config.model.superresolution.kind == "none" else DualDiscriminator
    discriminator = kind(
        size, label_dim=LABEL, channel_base=options.channel_base, channel_max=options.channel_max, group=options.group,
        clamp=options.clamp,
    )  # fmt: skip
    pictures = PictureSet(Path(config.data.path), size, config.data.mirror, config.data.limit)
    return Adversarial(config, pictures, generator.to(device), discriminator.to(device), start)


class Adversarial(AdversarialRecipe):
    """The recipe that the trainer runs."""

    system, title = "eg3d", "EG3D"

    def __init__(
        self,
        config: Config,
        pictures: Pictures,
        generator: EG3DGenerator | IdentityGenerator,
        discriminator: Discriminator | DualDiscriminator,
        start: checkpoints.Checkpoint | None = None,
    ) -> None:
        """Take the parts; see `AdversarialRecipe`."""
        super().__init__(config, config.model, pictures, generator, discriminator, start)

    def wish(self, step: Step) -> Wish:
        """Return cameras from anywhere in the data set."""
        labels = self.pictures.labels
        return Wish(labels[step.draws.integers(len(labels))].to(self.device))

    def scene(
        self,
        generator: EG3DGenerator | IdentityGenerator,
        z: Float[Tensor, "b z"],
        wish: Wish,
        told: Float[Tensor, "b 25"] | None,
        noise: Any,
        track: bool = False,
    ) -> Any:
        """Return the people of codes."""
        if isinstance(generator, IdentityGenerator):
            return generator.person(z)
        w_plus = generator.mapping(z, told)
        if track:
            generator.mapping_network.track(w_plus[:, 0])
        return generator.person(w_plus, noise)

    @torch.no_grad()
    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield a grid, the same people every time from three sides, and a turntable of the first."""
        options, generator = self.config.samples, cast("Any", averaged["G"])
        front = Wish(self._camera(0.0).label())
        people = [self.scene(generator, code, front, None, "const") for code in self._sample_codes()]
        sides = (-options.yaw, 0.0, options.yaw)
        rows = [torch.cat([self._look(generator, person, yaw) for person in people], dim=2) for yaw in sides]
        yield Sample("grid", torch.cat(rows, dim=1)[None])
        turns = torch.linspace(-options.yaw, options.yaw, options.frames).tolist()
        yield Sample("turntable", torch.stack([self._look(generator, people[0], yaw) for yaw in turns]))
