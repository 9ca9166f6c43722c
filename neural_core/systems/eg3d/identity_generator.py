# SPDX-License-Identifier: Apache-2.0
"""EG3D with a face code: the generator of our own weights.

As in `generator.py` z makes w, w makes planes, and planes are rendered as a volume; `nn/identity.py` has the parts
that differ. The planes hold the mean head, to which every person's sample points are carried first. Model space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...cameras import Camera
from ...human.appearance import CODE_SIZE
from ...human.model import FaceModel
from ...human.palette import MATERIALS, palette
from ...human.traits import LENGTHS, TRAITS, WAVES, Traits, hair_styles, spread
from ...nn.identity import FiLMDecoder, IdentityWarp, MeanPlanes, Modulation, TraitPlanes
from ...nn.stylegan2 import MappingNetwork, SynthesisNetwork
from ...nn.superresolution import SubpixelSuperResolution
from ...planes import Triplane
from ...rendering.rays import camera_rays, pixel_centres
from ...rendering.sampling import HALF, Sampling
from ...rendering.volume import FieldFunction, Progress, VolumeRenderer
from ..common import Rendering
from .config import EG3DConfig


@dataclass(frozen=True)
class Person:
    """Some people, ready to be rendered."""

    planes: Triplane
    """Features around the mean head."""
    warp: Float[Tensor, "b 3 r r r"]
    """Offsets from the person's head to the mean head, at the nodes of a grid."""
    modulation: Modulation
    """What the decoder knows of them."""


class IdentityGenerator(nn.Module):
    """The network; no method changes it."""

    def __init__(self, config: EG3DConfig, face: FaceModel) -> None:
        """Build it with random weights; `face` gives the warp, which is not part of the weights.

        Raises:
            ValueError: the config has no `identity`, asks for a published super-resolution, or fits neither the face
                model nor its code.
        """
        super().__init__()
        identity, backbone, render = config.identity, config.backbone, config.render
        superresolution = config.superresolution
        if identity is None or superresolution.kind not in ("none", "subpixel"):
            raise ValueError("an identity generator needs config.identity, and no other super-resolution than subpixel")
        if identity.shape_dims > face.shapedirs.shape[2]:
            raise ValueError(f"{face.name} has {face.shapedirs.shape[2]} coefficients, not {identity.shape_dims}")
        self.config, self.shape_dims = config, identity.shape_dims
        if identity.traits and config.z_dim != CODE_SIZE:
            raise ValueError(f"traits are read from a code of {CODE_SIZE} numbers, not of {config.z_dim}")
        self.traits = Traits(face) if identity.traits else None
        styles = LENGTHS * WAVES
        told = self.told_dims = len(TRAITS) + styles if identity.traits else config.z_dim
        self.mapping = MappingNetwork(
            told, 0, config.w_dim, layers=config.mapping.layers, normalise_z=False, lr_multiplier=1.0,
            track_mean=False,
        )  # fmt: skip
        planes, channels = len(config.plane_axes), backbone.plane_channels
        self.synthesis = SynthesisNetwork(
            config.w_dim, backbone.resolution, planes * channels, backbone.channels, clamp=backbone.clamp
        )
        self.mean_planes = MeanPlanes(planes, channels, identity.mean_resolution)
        self.trait_planes = nn.ModuleList()
        if identity.traits:
            added = min(identity.trait_channels, channels)
            self.trait_planes.append(TraitPlanes(len(TRAITS), planes, added, identity.trait_resolution))
            self.trait_planes.append(TraitPlanes(styles, planes, added, identity.style_resolution))
        features = config.decoder.features
        materials = len(MATERIALS) if identity.traits else 0
        self.decoder = FiLMDecoder(channels + 3, config.decoder.hidden, told, features, identity.film_hidden, materials)
        self.superresolution = None
        if superresolution.kind == "subpixel":
            self.superresolution = SubpixelSuperResolution(features, superresolution.channels or (64, 32))
        head_to_model = config.head_to_model
        vertices = torch.from_numpy(face.v_template) * head_to_model.scale + torch.tensor(head_to_model.translation)
        directions = torch.from_numpy(face.shapedirs[:, :, : identity.shape_dims]) * head_to_model.scale
        self.warp = IdentityWarp.from_face(vertices, directions, identity.warp_resolution, render.box)
        self.renderer = VolumeRenderer(
            box=render.box, ray_start=render.ray_start, ray_end=render.ray_end, coarse=render.coarse, fine=render.fine
        )

    @property
    def offsets(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what can be added for a person whom no code describes well.

        That is: to what the networks are told, to the w of each layer, and to the colours of the materials.
        """
        shapes = {"told": (self.told_dims,), "w_plus": (self.synthesis.layers, self.config.w_dim)}
        return shapes if self.traits is None else {**shapes, "palette": (len(MATERIALS), 3)}

    def person(
        self,
        z: Float[Tensor, "b z"],
        shape: Float[Tensor, "b k"] | None = None,
        offsets: Mapping[str, Tensor] | None = None,
    ) -> Person:
        """Return the people of some codes.

        Args:
            z: the codes.
            shape: replaces the code's own coefficients in the warp.
            offsets: any of `offsets`, each for all people; they are found by inversion.
        """
        offsets = offsets or {}
        shape = z[:, : self.shape_dims] if shape is None else shape
        told, parts, colours = z, (), None
        if self.traits is not None:
            traits = self.traits(z)
            parts = (spread(traits), hair_styles(traits["hair_length"], traits["wave"]))
            told, colours = torch.cat(parts, dim=1), palette(traits)
            if "palette" in offsets:
                colours = (colours + offsets["palette"]).clamp(0, 1)
        if "told" in offsets:
            told = told + offsets["told"]
            parts = told.split([part.shape[1] for part in parts], dim=1) if parts else ()
        w_plus = self.mapping(told)[:, None].expand(-1, self.synthesis.layers, -1)
        if "w_plus" in offsets:
            w_plus = w_plus + offsets["w_plus"]
        difference = self.synthesis(w_plus).float()
        for amounts, planes in zip(parts, self.trait_planes, strict=True):
            difference = planes(amounts, difference)
        planes = Triplane(self.mean_planes(difference), self.config.plane_axes, self.config.render.box).channels_last()
        return Person(planes, self.warp.volume(shape), self.decoder.modulation(told, colours))

    def field(self, person: Person) -> FieldFunction:
        """Return the function that the volume renderer integrates: a person's points to raw density and colour."""
        on_mean_head = self.canonical_field(person)

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            return on_mean_head(self.warp(points, person.warp), directions)

        return ask

    def canonical_field(self, person: Person) -> FieldFunction:
        """Return the same function of points around the mean head, where the person's planes lie."""

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            features = person.planes.sample_mean(points)
            place = points * (2 / self.config.render.box)
            return self.decoder(torch.cat([features, place.to(features.dtype)], dim=-1), person.modulation)

        return ask

    def render(
        self,
        person: Person,
        camera: Camera,
        size: int | None = None,
        sampling: Sampling = HALF,
        *,
        chunk: int | None = None,
        on_progress: Progress | None = None,
    ) -> Rendering:
        """Return people as cameras see them, one camera a person; sizes and depths as `EG3DGenerator.render` has.

        With a super-resolution the opacity has the picture's size, otherwise the volume rendering's.
        """
        size = size or self.config.render.neural_resolution
        origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
        field = self.field(person)
        result = self.renderer(field, origins, directions, sampling, chunk=chunk, on_progress=on_progress)
        features = result.colour.transpose(1, 2).unflatten(2, (size, size))
        depth, opacity = (values[:, None].unflatten(2, (size, size)) for values in (result.depth, result.opacity))
        image = image_raw = features[:, :3]
        if self.superresolution is not None:
            image, opacity = self.superresolution(features, opacity)
            if not self.training:  # a limit would take the gradient from what lies beyond it
                image, opacity = image.clamp(-1, 1), opacity.clamp(0, 1)
        return Rendering(image, image_raw, features, depth, opacity)
