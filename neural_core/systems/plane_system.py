# SPDX-License-Identifier: Apache-2.0
"""What the doors from head space to all generators with planes have in common: `eg3d/system.py`, `next3d/system.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..cameras import Camera
from ..errors import InputError, UsageError
from ..human.model import FaceModel
from ..rendering.compositing import activate_density
from ..rendering.volume import FieldFunction
from .common import Portrait, Progress, Rendering
from .identity_base import IdentityBase
from .plane_config import GeneratorConfig, IdentityConfig

_RAY_SAMPLES_A_CHUNK = 1 << 16
"""Field evaluations between two calls of `on_progress`: under 200 ms on two cores with the published decoder."""

_OFFSET = "offset/"
"""Begins the names of a portrait's tensors that are added to what its code makes (`IdentityBase.offsets`)."""

Render = Callable[..., Rendering]
"""A generator's `render` of someone: camera in model space, size of the volume rendering, chunk, on_progress."""


def own_face(config: IdentityConfig) -> FaceModel:
    """Return the face model of weights of our own. Raises UsageError if they need another than there is."""
    from ..human.anny import load_anny_head

    face = load_anny_head()
    if face.name != config.face:
        raise UsageError(f'These weights need the face model "{config.face}"; there is "{face.name}".')
    return face


def offsets_of(latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what latents add to what a code makes, by the names of `IdentityBase.offsets`."""
    return {name.removeprefix(_OFFSET): value for name, value in latents.items() if name.startswith(_OFFSET)}


class PlaneSystem:
    """Seeds to portraits, portraits to latents, and spaces; what a system of planes needs besides `pose`."""

    name: str
    """As in the registry."""

    def __init__(self, generator: nn.Module, config: GeneratorConfig, checkpoint_hash: str = "") -> None:
        """Take the network; it is switched to inference.

        Args:
            generator: on the device that is to compute; an `IdentityBase`, or a `PublishedBase`.
            config: of the generator.
            checkpoint_hash: SHA-256 of the file that its weights come from.
        """
        self.generator: Any = generator.requires_grad_(False).eval()
        self.checkpoint_hash = checkpoint_hash
        self.device = next(generator.parameters()).device
        self._config = config

    @torch.no_grad()
    def create(self, seed: int, truncation: float = 0.7) -> Portrait:
        """Return the person of a seed.

        Args:
            seed: 0..2^32-1. z is drawn as the published scripts draw it, so their seeds show the same people.
            truncation: 1 for none, 0 for the mean person.

        Raises:
            UsageError: if the seed is out of range.
        """
        if not 0 <= seed < 1 << 32:
            raise UsageError(f"The seed {seed} is not between 0 and {(1 << 32) - 1}.")
        # numpy's legacy generator is what the published scripts use; a newer one would show other people
        code = np.random.RandomState(seed).randn(1, self._config.z_dim)
        z = torch.from_numpy(code).float().to(self.device)
        provenance = {"system": self.name, "seed": seed, "truncation": truncation}
        if isinstance(self.generator, IdentityBase):
            return self.portrait_of(z * truncation, provenance)
        w_plus = self.generator.mapping(z, truncation_psi=truncation)
        return Portrait(self.name, self.checkpoint_hash, {"w_plus": w_plus.contiguous()}, None, provenance)

    def portrait_of(self, z: Float[Tensor, "1 z"], provenance: Mapping[str, Any] | None = None) -> Portrait:
        """Return the person of a code whose first numbers are the face model's coefficients.

        Raises:
            UsageError: if these weights have no such code.
        """
        if not isinstance(self.generator, IdentityBase):
            raise UsageError("These weights know no face code: their people come from seeds.")
        shape = z[0, : self.generator.shape_dims].clone()
        return Portrait(self.name, self.checkpoint_hash, {"z": z}, shape, dict(provenance or {"system": self.name}))

    def latents(self, portrait: Portrait) -> dict[str, Tensor]:
        """Return what makes the portrait's person besides the weights: "w_plus", or "z" and every "offset/...".

        Raises:
            InputError: if the portrait has not the numbers that these weights need.
        """
        generator = self.generator
        if not isinstance(generator, IdentityBase):
            return {"w_plus": self._latent(portrait, "w_plus", (1, generator.layers, self._config.w_dim))}
        found = {"z": self._latent(portrait, "z", (1, self._config.z_dim))}
        for name, shape in generator.offsets.items():
            key = _OFFSET + name
            known = key in portrait.tensors
            found[key] = self._latent(portrait, key, (1, *shape)) if known else torch.zeros(1, *shape).to(self.device)
        return found

    def portrait_of_latents(self, latents: Mapping[str, Tensor]) -> Portrait:
        """Return the portrait of one person's latents; offsets of nothing but zeros are left out."""
        kept = {
            name: value.detach().clone() for name, value in latents.items() if name in ("z", "w_plus") or value.any()
        }
        generator = self.generator
        shape = kept["z"][0, : generator.shape_dims].clone() if isinstance(generator, IdentityBase) else None
        return Portrait(self.name, self.checkpoint_hash, kept, shape, {"system": self.name})

    def _latent(self, portrait: Portrait, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = portrait.tensors.get(name)
        if tensor is None or tuple(tensor.shape) != shape:
            found = "none" if tensor is None else f"one of shape {list(tensor.shape)}"
            raise InputError(
                f'These weights need a portrait with "{name}" of shape {list(shape)}; this one has {found}.',
                "Create it again with the model that is to show it.",
            )
        return tensor.to(self.device, torch.float32)

    def _in_model(self, camera: Camera) -> Camera:
        """Return cameras of head space in model space."""
        space = self._config.head_to_model
        return camera.scaled(space.scale, space.translation)

    def creation_camera(self) -> Camera:
        """Return the frontal camera of the training pictures, in head space."""
        return self.to_head_space(self._config.frontal_camera())

    def to_head_space(self, camera: Camera) -> Camera:
        """Return cameras of model space (as data sets are labelled) in head space; the pictures stay the same."""
        space = self._config.head_to_model
        x, y, z = space.translation
        return camera.scaled(1 / space.scale, (-x / space.scale, -y / space.scale, -z / space.scale))


def _draft_resolution(config: GeneratorConfig, resolution: int) -> int:
    """Return the rays along a side of a draft: half of them, but three quarters where a network enlarges what they see.

    Of our own weights' 64 rays that is 48, half the work; at 32 the eyes are gone.
    """
    return resolution // 2 if config.superresolution.kind == "none" else resolution * 3 // 4


class PlaneField:
    """A person whose planes are made (a `Field`)."""

    def __init__(self, config: GeneratorConfig, ask: FieldFunction, render: Render) -> None:
        """Take the config, the function from points of model space to density and colour, and the renderer."""
        self._config, self._ask, self._render = config, ask, render

    @property
    def box(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the corners of the planes' cube in metres."""
        space, half = self._config.head_to_model, self._config.render.box / 2
        x, y, z = space.translation
        low = ((-half - x) / space.scale, (-half - y) / space.scale, (-half - z) / space.scale)
        high = ((half - x) / space.scale, (half - y) / space.scale, (half - z) / space.scale)
        return low, high

    @torch.no_grad()
    def render(
        self, camera: Camera, size: int | None = None, on_progress: Progress | None = None, draft: bool = False
    ) -> Rendering:
        """Return the picture that a camera in head space sees.

        Args:
            camera: one camera.
            size: width and height of the picture in pixels; None for the network's own. Without super-resolution
                the volume is rendered at that size; with it the network's own picture is resized.
            on_progress: told after each chunk of rays.
            draft: with fewer rays, as `_draft_resolution` says.

        Depths are in metres.
        """
        config = self._config
        own = config.render.neural_resolution
        chunk = _RAY_SAMPLES_A_CHUNK // (config.render.coarse + config.render.fine)
        resolution = size if size and config.superresolution.kind == "none" else own
        if draft:
            resolution = _draft_resolution(config, resolution)
        space = config.head_to_model
        camera = camera.scaled(space.scale, space.translation)
        found = self._render(camera, resolution, chunk=chunk, on_progress=on_progress)
        image, opacity = found.image, found.opacity
        if size and size != image.shape[-1]:
            if opacity.shape[-1] == image.shape[-1]:  # coverage that a super-resolution told belongs to its picture
                opacity = F.interpolate(opacity, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
            image = F.interpolate(image, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        return Rendering(image, found.image_raw, found.features, found.depth / space.scale, opacity)

    @torch.no_grad()
    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the density at points of head space, in 1/metre; 0 outside the box."""
        where = self._in_model(points)
        density, _ = self._ask(where, torch.zeros_like(where))
        inside = (where.abs() <= self._config.render.box / 2).all(-1)[0]
        return torch.where(inside, activate_density(density[0, :, 0]) * self._config.head_to_model.scale, 0.0)

    @torch.no_grad()
    def colour(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the colour at points of head space, sRGB 0..1."""
        where = self._in_model(points)
        _, colour = self._ask(where, torch.zeros_like(where))
        return colour[0, :, :3].clamp(0, 1)

    def _in_model(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "1 n 3"]:
        space = self._config.head_to_model
        return (points * space.scale + points.new_tensor(space.translation))[None]
