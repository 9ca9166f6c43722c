# SPDX-License-Identifier: Apache-2.0
"""Next3D with a face code: the generator of our own weights.

`systems/identity_base.py` has what still people need, too: planes around the mean head, to which every person's sample
points are carried. What moves is drawn there as well: the mesh that is drawn is the *mean* head's with the expression,
so that drawings depend on the expression alone, and the texture on the person alone. Beside the paper:

* To the texture is added, for each view, what its static plane holds at the face's surface. So a neutral face is drawn
  as the static planes have it, and an expression moves what they hold.
* The decoder is told how far a point lies before the surface that each view shows, so that shapes follow the mesh.
* Mouth module and blending (section 3.2) add to the drawing in place of redrawing it, and begin with adding nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ...human.face_atlas import FaceAtlas
from ...human.model import FaceModel
from ...human.posing import FacePoser
from ...human.traits import TRAITS
from ...nn.identity import MeanPlanes, Modulation, TraitPlanes
from ...nn.stylegan2 import SynthesisBlock, SynthesisNetwork
from ...planes import Triplane
from ...rendering.volume import FieldFunction
from ..identity_base import STYLES, IdentityBase
from .config import Next3DConfig
from .dynamic import FaceTopology, dynamic_planes
from .mouth import OUTER_LIPS, style_unet

_REACH = 0.02
"""Model units (1 cm) over which the decoder is told distances from the surface; beyond it is told the side alone."""
_NOTHING = -1.0
"""Height of what was not drawn, half widths of a plane: every point lies before it."""


@dataclass(frozen=True)
class Person:
    """Some people, whatever they do."""

    features: Float[Tensor, "b 3 c r r"] | None
    """Static planes around the mean head; None for a network without."""
    texture: Float[Tensor, "b 3 c t t"]
    """Of the moving face, as each plane's view shows it."""
    w: Float[Tensor, "b w"]
    """The style of mouth module and blending."""
    warp: Float[Tensor, "b 3 g g g"]
    """Offsets from the person's head to the mean head, at the nodes of a grid."""
    modulation: Modulation
    """What the decoder knows of them."""


@dataclass(frozen=True)
class Instant:
    """Some people who do something, ready to be rendered."""

    planes: Triplane
    """Features around the mean head, and where the drawn surface lies."""
    warp: Float[Tensor, "b 3 g g g"]
    """As the person has it."""
    modulation: Modulation
    """Likewise."""


class IdentityNext3D(IdentityBase):
    """The network; no method changes it."""

    places: Tensor
    lip_faces: Tensor
    lip_weights: Tensor

    def __init__(self, config: Next3DConfig, face: FaceModel) -> None:
        """Build it with random weights; refusals as `IdentityBase` has them."""
        moving, channels, resolution = config.moving, config.static.plane_channels, config.moving.texture_resolution
        super().__init__(config, config.static, face, 3 if moving.surface else 0)
        self.config = config
        atlas = FaceAtlas.of(face)
        self.topology = FaceTopology(atlas.faces, atlas.corner_uv, atlas.say(resolution))
        self.poser = FacePoser(face)
        head_to_model = config.head_to_model
        places = atlas.places(resolution).reshape(1, -1, 3) * head_to_model.scale
        self.register_buffer("places", places + torch.tensor(head_to_model.translation), persistent=False)
        if face.landmarks_68 is None:
            raise ValueError(f"{face.name} does not say where its lips are")
        triangles, weights = face.landmarks_68
        lips = torch.from_numpy(face.faces[triangles[OUTER_LIPS]]).long()
        self.register_buffer("lip_faces", lips, persistent=False)
        self.register_buffer("lip_weights", torch.from_numpy(weights[OUTER_LIPS]), persistent=False)

        texture = config.texture
        self.texture_synthesis = SynthesisNetwork(
            config.w_dim, texture.resolution, channels, texture.channels, clamp=texture.clamp
        )
        self.mean_texture = MeanPlanes(1, channels, moving.mean_resolution)
        self.trait_textures = nn.ModuleList()
        if self.traits is not None and config.identity is not None:
            added = min(config.identity.trait_channels, channels)
            for count in (len(TRAITS), STYLES):
                self.trait_textures.append(TraitPlanes(count, 1, added, moving.trait_resolution))
        self.reads_planes = moving.from_planes and config.static_planes
        if self.reads_planes:  # begins with adding nothing
            nn.init.zeros_(self.mean_texture.features)
            _add_nothing(self.texture_synthesis.blocks)
        height = 1  # the U-Nets see where the drawn surface lies
        self.mouth = style_unet(config.mouth, channels + height, config.w_dim) if config.mouth else None
        self.blending = style_unet(config.blending, channels + height, config.w_dim) if config.blending else None
        for unet in (self.mouth, self.blending):
            if unet is not None:
                _add_nothing(unet.blocks)

    @property
    def layers(self) -> int:
        """Return how many w a person has: those of the static planes, then those of the texture."""
        return self.synthesis.layers + self.texture_synthesis.layers

    def person(
        self,
        z: Float[Tensor, "b z"],
        shape: Float[Tensor, "b k"] | None = None,
        offsets: Mapping[str, Tensor] | None = None,
    ) -> Person:
        """Return the people of some codes, in what they look like whatever they do.

        Args:
            z: the codes.
            shape: replaces the code's own coefficients in the warp.
            offsets: any of `offsets`, each for all people; they are found by inversion.
        """
        offsets = offsets or {}
        reading = self.read(z, offsets)
        w_plus = self.w_plus(reading, offsets)
        of_planes, of_texture = w_plus.split([self.synthesis.layers, self.texture_synthesis.layers], dim=1)
        difference = self.texture_synthesis(of_texture).float()
        for amounts, textures in zip(reading.amounts, self.trait_textures, strict=True):
            difference = textures(amounts, difference)
        resolution = self.config.moving.texture_resolution
        texture = _resized(self.mean_texture(difference), resolution).expand(-1, len(self.axes), -1, -1, -1)
        features = None
        if self.config.static_planes:
            features = self.person_planes(reading, of_planes, offsets)
            if self.reads_planes:
                texture = texture + self._at_surface(features, resolution)
            features = _resized(features, self.config.mesh.resolution)
        shape = z[:, : self.shape_dims] if shape is None else shape
        modulation = self.decoder.modulation(reading.told, reading.palette)
        return Person(features, texture, of_texture[:, -1], self.warp.volume(shape), modulation)

    def vertices(self, actions: Float[Tensor, "b 52"], joints: Float[Tensor, "b 10 3"]) -> Float[Tensor, "b v 3"]:
        """Return the mean head that does something, head space, metres (`human/posing.py`)."""
        return self.poser(actions, joints)

    def instant(self, person: Person, vertices: Float[Tensor, "b v 3"]) -> Instant:
        """Return people who do something (section 3.1 and 3.2).

        Args:
            person: from `person`.
            vertices: from `vertices`, for each person.

        Differentiable in the person; where the mesh is drawn is a constant.
        """
        config = self.config
        texture = person.texture.float()
        drawn = dynamic_planes(
            texture, vertices, self.topology, config.mesh, config.dynamic_planes, config.plane_axes
        )  # fmt: skip
        height = torch.where(drawn.coverage > 0, drawn.height, _NOTHING)
        front = self._refined(drawn.features[:, 0], height[:, 0], person.w, vertices)
        features = torch.cat([front[:, None], drawn.features[:, 1:]], dim=1) * drawn.coverage
        if person.features is not None:
            features = features + person.features * (1 - drawn.coverage)
        if config.moving.surface:
            features = torch.cat([features, _apart(height)], dim=2)
        planes = Triplane(features, self.axes, self.box).channels_last()
        return Instant(planes, person.warp, person.modulation)

    def canonical_field(self, person: Instant) -> FieldFunction:
        """Return the field of points around the mean head, where the planes lie."""

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            features = person.planes.sample_mean(points)
            place = points * (2 / self.box)
            told = [features, place.to(features.dtype)]
            if self.config.moving.surface:
                features, height = features.split([features.shape[-1] - 3, 3], dim=-1)
                told = [features, told[1], self._before_surface(place, 3 * height)]
            return self.decoder(torch.cat(told, dim=-1), person.modulation)

        return ask

    def _before_surface(self, place: Float[Tensor, "b n 3"], height: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """Return how far points lie before what each plane's view shows, -1..1: 1 well before it, -1 well behind.

        Args:
            place: half widths of a plane.
            height: where the surface lies along the axis that each plane does not see.
        """
        unseen = [({*"xyz"} - {*pair}).pop() for pair in self.axes]
        outwards = torch.stack(
            [place[..., 0].abs() if axis == "x" else place[..., "xyz".index(axis)] for axis in unseen], dim=-1
        )  # fmt: skip
        return torch.tanh((outwards - height) * (self.box / 2 / _REACH))

    def _at_surface(self, features: Float[Tensor, "b 3 c r r"], resolution: int) -> Float[Tensor, "b 3 c t t"]:
        """Return what each plane holds where the texture's texels lie on the mean head."""
        planes = Triplane(features, self.axes, self.box)
        found = planes.sample(self.places.expand(len(features), -1, -1))
        return found.mT.unflatten(-1, (resolution, resolution))

    def _refined(
        self,
        front: Float[Tensor, "b c r r"],
        height: Float[Tensor, "b 1 r r"],
        w: Float[Tensor, "b w"],
        vertices: Float[Tensor, "b v 3"],
    ) -> Float[Tensor, "b c r r"]:
        """Return the front view with what the mouth module and then blending add to it."""
        if self.mouth is not None:
            size = self.mouth.input_resolution
            there, back = self._mouth_frames(vertices)
            grid = F.affine_grid(there, [len(front), 1, size, size], align_corners=False)
            seen = F.grid_sample(torch.cat([front, height], 1), grid, padding_mode="border", align_corners=False)
            own = _of_w(self.mouth, seen, w)[:, :-1].float()
            own = own * _window(own)
            grid = F.affine_grid(back, [len(front), 1, *front.shape[-2:]], align_corners=False)
            front = front + F.grid_sample(own, grid, align_corners=False)
        if self.blending is not None:
            size = (self.blending.input_resolution,) * 2
            seen = F.interpolate(torch.cat([front, height], 1), size, mode="bilinear", antialias=True)
            own = _of_w(self.blending, seen, w)[:, :-1].float()
            front = front + F.interpolate(own, front.shape[-2:], mode="bilinear", align_corners=False)
        return front

    def _mouth_frames(self, vertices: Float[Tensor, "b v 3"]) -> tuple[Tensor, Tensor]:
        """Return affine maps [b, 2, 3] from the square around the lips to the front view, and back."""
        mesh = self.config.mesh
        lips = (vertices[:, self.lip_faces] * self.lip_weights[..., None]).sum(2)
        lips = ((lips + lips.new_tensor(mesh.shift)) * mesh.scale)[..., :2]
        low, high = lips.amin(1), lips.amax(1)
        middle, half = (low + high) / 2, mesh.mouth_crop * (high - low).amax(1, keepdim=True) / 2
        same = torch.eye(2).to(lips) * half[..., None]
        other = torch.eye(2).to(lips) / half[..., None]
        there = torch.cat([same, middle[..., None]], dim=2)
        back = torch.cat([other, -(middle / half)[..., None]], dim=2)
        return there, back


def _resized(features: Float[Tensor, "b p c r r"], size: int) -> Float[Tensor, "b p c s s"]:
    """Return planes of another size."""
    if size == features.shape[-1]:
        return features
    resized = F.interpolate(features.flatten(1, 2), (size, size), mode="bilinear", align_corners=False)
    return resized.unflatten(1, features.shape[1:3])


def _add_nothing(blocks: nn.ModuleDict) -> None:
    """Let a synthesis begin with a picture of nothing."""
    for block in blocks.values():
        assert isinstance(block, SynthesisBlock)
        nn.init.zeros_(block.to_rgb.weight)


def _of_w(unet: nn.Module, picture: Tensor, w: Float[Tensor, "b w"]) -> Tensor:
    """Return what a style U-Net makes of a picture in the style of one w."""
    return unet(picture, w[:, None].expand(-1, unet.layers, -1))


def _window(picture: Float[Tensor, "b c h w"]) -> Float[Tensor, "h w"]:
    """Return weights that are 1 in the middle of a picture and fade to 0 at its edges, so that no square is seen."""
    along = torch.linspace(-1, 1, picture.shape[-1], device=picture.device)
    fade = ((1 - along.abs()) / 0.25).clamp(0, 1)
    return fade[:, None] * fade


def _apart(height: Float[Tensor, "b 3 1 r r"]) -> Float[Tensor, "b 3 3 r r"]:
    """Return the heights in a channel for each plane, so that a mean over the planes keeps them apart."""
    own = torch.eye(3, dtype=height.dtype, device=height.device)[:, :, None, None]
    return height * own


def still_tensors(generator: IdentityNext3D, still: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with which a network can start from our still weights (the system EG3D's).

    Planes of another size are resized, and the decoder begins without caring about what only this one is told.

    Args:
        generator: gives the shapes, and what still weights do not have.
        still: tensors of a checkpoint, of any floating-point type.

    Raises:
        ValueError: if a tensor has another shape than by its planes' size.
    """
    state = dict(generator.state_dict())
    for name, own in state.items():
        if name not in still:
            continue
        tensor = still[name].to(own.dtype)
        if name == "decoder.input.weight":
            tensor = F.pad(tensor, (0, own.shape[1] - tensor.shape[1]))
        elif tensor.ndim == 5 and tensor.shape != own.shape:
            pictures = F.interpolate(tensor.flatten(0, 1), own.shape[-2:], mode="bilinear", antialias=True)
            tensor = pictures.unflatten(0, tensor.shape[:2])
        if tensor.shape != own.shape:
            raise ValueError(f"{name} is {list(still[name].shape)}, which does not become {list(own.shape)}")
        state[name] = tensor
    return state
