# SPDX-License-Identifier: Apache-2.0
"""What the generators of our own weights share: a code that says who it is, and planes around the mean head.

z makes w, w makes planes, and planes are rendered as a volume, as in the papers; `nn/identity.py` has the parts that
differ. The planes hold the mean head, to which every person's sample points are carried first. Model space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..cameras import Camera
from ..human.appearance import CODE_SIZE
from ..human.model import FaceModel
from ..human.palette import MATERIALS, palette
from ..human.traits import LENGTHS, TRAITS, WAVES, Traits, hair_styles, spread
from ..nn.identity import LOCKS, FiLMDecoder, IdentityWarp, MeanPlanes, Modulation, TraitPlanes, locks
from ..nn.stylegan2 import MappingNetwork, SynthesisNetwork
from ..nn.superresolution import SubpixelSuperResolution
from ..planes import Triplane
from ..rendering.rays import camera_rays, pixel_centres
from ..rendering.sampling import HALF, Sampling
from ..rendering.volume import FieldFunction, Progress, VolumeRenderer
from .common import Rendering
from .plane_config import BackboneConfig, GeneratorConfig

STYLES = LENGTHS * WAVES
"""Styles of hair that people are told by."""


@dataclass(frozen=True)
class Reading:
    """What a code says of some people."""

    told: Float[Tensor, "b t"]
    """What networks are told: traits and styles of hair, or the code itself."""
    amounts: tuple[Float[Tensor, "b _"], ...]
    """The same in parts, by which `TraitPlanes` add: traits, and styles of hair. Empty without traits."""
    palette: Float[Tensor, "b m 3"] | None
    """SRGB 0..1 of their materials; None without traits."""


@dataclass(frozen=True)
class Shown:
    """Some people, ready to be rendered."""

    planes: Triplane
    """Features around the mean head; of people who do something, also where the drawn surface lies."""
    warp: Float[Tensor, "b 3 r r r"]
    """Offsets from the person's head to the mean head, at the nodes of a grid."""
    modulation: Modulation
    """What the decoder knows of them."""


class IdentityBase(nn.Module, ABC):
    """The networks that still and moving people have in common; no method changes them."""

    def __init__(
        self, config: GeneratorConfig, backbone: BackboneConfig, face: FaceModel, decoder_inputs: int = 0
    ) -> None:
        """Build it with random weights; `face` gives the warp, which is not part of the weights.

        Args:
            config: the generator's.
            backbone: the synthesis network of the planes.
            face: the face model.
            decoder_inputs: numbers that the decoder is told of a point beside features and `told_of_place`.

        Raises:
            ValueError: the config has no `identity`, asks for a published super-resolution, or fits neither the face
                model nor its code.
        """
        super().__init__()
        identity, render, superresolution = config.identity, config.render, config.superresolution
        if identity is None or superresolution.kind not in ("none", "subpixel"):
            raise ValueError("an identity generator needs config.identity, and no other super-resolution than subpixel")
        if identity.shape_dims > face.shapedirs.shape[2]:
            raise ValueError(f"{face.name} has {face.shapedirs.shape[2]} coefficients, not {identity.shape_dims}")
        self.shape_dims, self.w_dim = identity.shape_dims, config.w_dim
        self.box, self.neural_resolution, self.axes = render.box, render.neural_resolution, config.plane_axes
        if identity.traits and config.z_dim != CODE_SIZE:
            raise ValueError(f"traits are read from a code of {CODE_SIZE} numbers, not of {config.z_dim}")
        self.traits = Traits(face) if identity.traits else None
        told = self.told_dims = len(TRAITS) + STYLES if identity.traits else config.z_dim
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
            self.trait_planes.append(TraitPlanes(STYLES, planes, added, identity.style_resolution))
        features = config.decoder.features
        materials = len(MATERIALS) if identity.traits else 0
        self.decoder = FiLMDecoder(
            channels + 3 + LOCKS + decoder_inputs,
            config.decoder.hidden,
            told,
            features,
            identity.film_hidden,
            materials,
        )
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
    def layers(self) -> int:
        """Return how many w a person has."""
        return self.synthesis.layers

    @property
    def offsets(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what can be added for a person whom no code describes well.

        That is: to what the networks are told, to the w of each layer, and to the colours of the materials.
        """
        shapes = {"told": (self.told_dims,), "w_plus": (self.layers, self.w_dim)}
        return shapes if self.traits is None else {**shapes, "palette": (len(MATERIALS), 3)}

    def read(self, z: Float[Tensor, "b z"], offsets: Mapping[str, Tensor]) -> Reading:
        """Return what codes say.

        Args:
            z: the codes.
            offsets: "told" and "palette" of `offsets` are added.
        """
        told, amounts, colours = z, (), None
        if self.traits is not None:
            traits = self.traits(z)
            amounts = (spread(traits), hair_styles(traits["hair_length"], traits["wave"]))
            told, colours = torch.cat(amounts, dim=1), palette(traits)
            if "palette" in offsets:
                colours = (colours + offsets["palette"]).clamp(0, 1)
        if "told" in offsets:
            told = told + offsets["told"]
            amounts = told.split([amount.shape[1] for amount in amounts], dim=1) if amounts else ()
        return Reading(told, amounts, colours)

    def w_plus(self, reading: Reading, offsets: Mapping[str, Tensor]) -> Float[Tensor, "b n w"]:
        """Return the w of each layer; "w_plus" of `offsets` is added."""
        w_plus = self.mapping(reading.told)[:, None].expand(-1, self.layers, -1)
        return w_plus + offsets["w_plus"] if "w_plus" in offsets else w_plus

    def person_planes(self, reading: Reading, w_plus: Float[Tensor, "b n w"]) -> Float[Tensor, "b p c r r"]:
        """Return the features on the planes of some people.

        Args:
            reading: of their codes.
            w_plus: a w for each layer of the planes' synthesis.
        """
        difference = self.synthesis(w_plus).float()
        for amounts, planes in zip(reading.amounts, self.trait_planes, strict=True):
            difference = planes(amounts, difference)
        return self.mean_planes(difference)

    def field(self, shown: Shown) -> FieldFunction:
        """Return the function that the volume renderer integrates: a person's points to raw density and colour."""
        on_mean_head = self.canonical_field(shown)

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            return on_mean_head(self.warp(points, shown.warp), directions)

        return ask

    @abstractmethod
    def canonical_field(self, shown: Shown) -> FieldFunction:
        """Return the same function of points around the mean head, where the planes lie."""

    def told_of_place(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n p"]:
        """Return what the decoder is told of points around the mean head: their place, in half boxes, and `locks`."""
        return torch.cat([points * (2 / self.box), locks(points)], dim=-1)

    def render(
        self,
        shown: Shown,
        camera: Camera,
        size: int | None = None,
        sampling: Sampling = HALF,
        *,
        chunk: int | None = None,
        on_progress: Progress | None = None,
    ) -> Rendering:
        """Return people as cameras see them, one camera a person; sizes and depths as `PublishedBase.render` has.

        With a super-resolution the opacity has the picture's size, otherwise the volume rendering's.
        """
        size = size or self.neural_resolution
        origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
        field = self.field(shown)
        result = self.renderer(field, origins, directions, sampling, chunk=chunk, on_progress=on_progress)
        features = result.colour.transpose(1, 2).unflatten(2, (size, size))
        depth, opacity = (values[:, None].unflatten(2, (size, size)) for values in (result.depth, result.opacity))
        image = image_raw = features[:, :3]
        if self.superresolution is not None:
            image, opacity = self.superresolution(features, opacity)
            if not self.training:  # a limit would take the gradient from what lies beyond it
                image, opacity = image.clamp(-1, 1), opacity.clamp(0, 1)
        return Rendering(image, image_raw, features, depth, opacity)
