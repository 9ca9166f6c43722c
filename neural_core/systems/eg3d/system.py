# SPDX-License-Identifier: Apache-2.0
"""The door to EG3D from head space: seeds to portraits, portraits to fields, fields to pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ...cameras import Camera
from ...checkpoints import Checkpoint, fill
from ...errors import UsageError
from ...fitting.tunable import with_tuned
from ...rendering.sampling import HALF, Sampling
from ...rendering.volume import FieldFunction
from ..common import Portrait, Rendering, SystemInfo
from ..plane_system import PlaneField, PlaneSystem, Render, offsets_of, own_face
from .config import EG3DConfig
from .generator import EG3DGenerator
from .identity_generator import IdentityGenerator

CONFIG = EG3DConfig


def build(checkpoint: Checkpoint, config: EG3DConfig, device: torch.device) -> EG3D:
    """Return the system of a checkpoint. Raises ModelError if its tensors do not fit its config."""
    generator = build_generator(config)
    fill(generator, checkpoint.tensors, checkpoint.name)
    return EG3D(generator.to(device), checkpoint.hash)


def build_generator(config: EG3DConfig) -> EG3DGenerator | IdentityGenerator:
    """Return the network of a config, with random weights."""
    if config.identity is None:
        return EG3DGenerator(config)
    return IdentityGenerator(config, own_face(config.identity))


class EG3D(PlaneSystem):
    """A generator with its weights (a `System`)."""

    name = "eg3d"

    def __init__(self, generator: EG3DGenerator | IdentityGenerator, checkpoint_hash: str = "") -> None:
        """Take the network; see `PlaneSystem`."""
        super().__init__(generator, generator.config, checkpoint_hash)
        self.config = generator.config

    @property
    def info(self) -> SystemInfo:
        """Return what is true of it."""
        identity = self.config.identity
        return SystemInfo(
            name=self.name,
            creates_from=("seed",),
            image_size=self.config.image_size,
            requires=() if identity is None else (identity.face,),
            knows_shape=identity is not None,
        )

    @torch.no_grad()
    def pose(self, portrait: Portrait, controls: Mapping[str, Tensor] | None = None) -> PlaneField:
        """Return the person as a field; their planes are made here, once.

        Raises:
            UsageError: if there are controls: EG3D shows a still face.
            InputError: if the portrait has not the numbers that these weights need.
        """
        _refuse_controls(controls)
        generator = with_tuned(self.generator, portrait.tensors)
        return PlaneField(self.config, *_of_latents(generator, self.latents(portrait)))

    def see(
        self,
        generator: nn.Module,
        latents: Mapping[str, Tensor],
        camera: Camera,
        controls: Mapping[str, Tensor] | None = None,
        sampling: Sampling = HALF,
    ) -> Rendering:
        """Return people as cameras of head space see them, differentiable (see `fitting.tunable.Tunable`)."""
        _refuse_controls(controls)
        _, render = _of_latents(generator, latents)
        return render(self._in_model(camera), sampling=sampling)


def _refuse_controls(controls: Mapping[str, Tensor] | None) -> None:
    if controls:
        raise UsageError(f"EG3D shows a still face and takes no {', '.join(controls)}.")


def _of_latents(generator: nn.Module, latents: Mapping[str, Tensor]) -> tuple[FieldFunction, Render]:
    """Return the field of some latents' people, and their generator's `render` of them."""
    if isinstance(generator, EG3DGenerator):
        plain = generator.person(latents["w_plus"])
        return generator.field(plain), partial(generator.render, plain)
    assert isinstance(generator, IdentityGenerator)
    person = generator.person(latents["z"], offsets=offsets_of(latents))
    return generator.field(person), partial(generator.render, person)
