# SPDX-License-Identifier: Apache-2.0
"""Next3D with a face code: the generator of our own weights.

`systems/identity_base.py` has what still people need, too: planes around the mean head, to which every person's sample
points are carried. What moves is drawn there as well: the mesh that is drawn is the *mean* head's with the expression,
so that where the drawing lies depends on the expression alone. Beside the paper:

* What a view shows of the mesh is what its static plane holds where that place of the face lies at rest, and to this
  the neural texture adds. So a neutral face is the static planes', and an expression moves what they hold.
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
from ...nn.style_unet import StyleUNet
from ...nn.stylegan2 import SynthesisBlock, SynthesisNetwork
from ...planes import Triplane, gather
from ...rendering.volume import FieldFunction
from ..identity_base import STYLES, IdentityBase, Shown
from .config import Next3DConfig
from .mouth import OUTER_LIPS, style_unet
from .spots import SpotFinder, Spots

_REACH = 0.02
"""Model units (1 cm) over which the decoder is told distances from the surface; beyond it is told the side alone."""
_NOTHING = -1.0
"""Height of what was not drawn, half widths of a plane: every point lies before it."""


@dataclass(frozen=True)
class Person:
    """Some people, whatever they do."""

    features: Float[Tensor, "b p r r d"]
    """Static planes around the mean head, and for each plane a channel of heights, which say that nothing is drawn."""
    texture: Float[Tensor, "b t t c"]
    """What is added to the moving face."""
    w: Float[Tensor, "b w"]
    """The style of mouth module and blending."""
    warp: Float[Tensor, "b 3 g g g"]
    """As `Shown` has it."""
    modulation: Modulation
    """Likewise."""


class IdentityNext3D(IdentityBase):
    """The network; no method changes it."""

    lip_faces: Tensor
    lip_weights: Tensor

    def __init__(self, config: Next3DConfig, face: FaceModel) -> None:
        """Build it with random weights; refusals as `IdentityBase` has them."""
        super().__init__(config, config.static, face, decoder_inputs=len(config.plane_axes))
        self.config = config
        self.spots = SpotFinder(FaceAtlas.of(face), config.plane_axes, config.mesh.resolution)
        self.poser = FacePoser(face)
        if face.landmarks_68 is None:
            raise ValueError(f"{face.name} does not say where its lips are")
        triangles, weights = face.landmarks_68
        lips = torch.from_numpy(face.faces[triangles[OUTER_LIPS]]).long()
        self.register_buffer("lip_faces", lips, persistent=False)
        self.register_buffer("lip_weights", torch.from_numpy(weights[OUTER_LIPS]), persistent=False)

        texture, moving, channels = config.texture, config.moving, config.static.plane_channels
        self.texture_synthesis = SynthesisNetwork(
            config.w_dim, texture.resolution, channels, texture.channels, clamp=texture.clamp
        )
        self.mean_texture = MeanPlanes(1, channels, moving.texture_resolution)
        self.trait_textures = nn.ModuleList()
        if self.traits is not None and config.identity is not None:
            added = min(config.identity.trait_channels, channels)
            for count in (len(TRAITS), STYLES):
                self.trait_textures.append(TraitPlanes(count, 1, added, moving.trait_resolution))
        if config.static_planes:
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
        """Return the people of some codes, whatever they do; arguments as EG3D's `IdentityGenerator.person` has."""
        offsets = offsets or {}
        reading = self.read(z, offsets)
        w_plus = self.w_plus(reading, offsets)
        of_planes, of_texture = w_plus.split([self.synthesis.layers, self.texture_synthesis.layers], dim=1)
        difference = self.texture_synthesis(of_texture).float()
        for amounts, textures in zip(reading.amounts, self.trait_textures, strict=True):
            difference = textures(amounts, difference)
        texture = self.mean_texture(difference)[:, 0].movedim(1, -1).contiguous()
        if self.config.static_planes:
            features = _resized(self.person_planes(reading, of_planes), self.config.mesh.resolution)
        else:
            size, channels = self.config.mesh.resolution, texture.shape[-1]
            features = texture.new_zeros(len(z), len(self.axes), channels, size, size)
        heights = _NOTHING * torch.eye(len(self.axes), device=z.device)[:, None, None]
        features = features.movedim(2, -1)
        features = torch.cat([features, heights.expand(*features.shape[:-1], -1)], dim=-1)
        shape = z[:, : self.shape_dims] if shape is None else shape
        modulation = self.decoder.modulation(reading.told, reading.palette)
        return Person(features, texture, of_texture[:, -1], self.warp.volume(shape), modulation)

    def vertices(self, actions: Float[Tensor, "b 52"], joints: Float[Tensor, "b 10 3"]) -> Float[Tensor, "b v 3"]:
        """Return the mean head that does something, head space, metres (`human/posing.py`)."""
        return self.poser(actions, joints)

    def instant(self, person: Person, vertices: Float[Tensor, "b v 3"]) -> Shown:
        """Return people who do something (sections 3.1 and 3.2).

        Args:
            person: from `person`.
            vertices: from `vertices`, for each person.

        Differentiable in the person; where the mesh is seen is a constant.
        """
        features, channels, planes = person.features, person.texture.shape[-1], len(self.axes)
        spots = self.spots(self._in_planes(vertices))
        moved = self._moved(person, spots)
        raised = F.one_hot(spots.plane, planes) * ((spots.height - _NOTHING) * spots.share)[:, None]
        rows = torch.cat([moved.float(), raised], dim=1)
        if self.mouth is not None or self.blending is not None:
            rows = torch.cat([rows[:, :channels] + self._refined(person, spots, rows, vertices), raised], dim=1)
        features = features.flatten(0, 3).index_add(0, spots.pixel, rows).reshape(features.shape)
        return Shown(Triplane(features.movedim(-1, 2), self.axes, self.box), person.warp, person.modulation)

    def canonical_field(self, shown: Shown) -> FieldFunction:
        """Return the field of points around the mean head, where the planes lie."""
        planes = len(self.axes)

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            features, height = shown.planes.sample_mean(points).tensor_split([-planes], dim=-1)
            place = self.told_of_place(points).to(features.dtype)
            before = self._before_surface(place[..., :3], planes * height)
            return self.decoder(torch.cat([features, place, before], dim=-1), shown.modulation)

        return ask

    def _in_planes(self, vertices: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Return places of head space in half widths of a plane."""
        mesh = self.config.mesh
        return (vertices + vertices.new_tensor(mesh.shift)) * mesh.scale

    def _moved(self, person: Person, spots: Spots) -> Float[Tensor, "n c"]:
        """Return by how much the features of the spots change: what moved there, less what was there."""
        channels = person.texture.shape[-1]
        added = gather(person.texture, spots.person, spots.uv)
        place = self._in_planes(spots.place)
        columns = torch.tensor(["xyz".index(column) for column, _ in self.axes], device=place.device)
        rows = torch.tensor(["xyz".index(row) for _, row in self.axes], device=place.device)
        axes = torch.stack([columns, rows], dim=1)[spots.plane]
        picture = spots.person * len(self.axes) + spots.plane
        change = gather(person.features.flatten(0, 1), picture, place.gather(1, axes), less=spots.pixel)
        return (change[:, :channels] + added) * spots.say[:, None]

    def _refined(
        self, person: Person, spots: Spots, rows: Float[Tensor, "n d"], vertices: Float[Tensor, "b v 3"]
    ) -> Float[Tensor, "n c"]:
        """Return what mouth module and blending add to the spots; they see the front view, and add to it alone."""
        people, _, size, _, width = person.features.shape
        channels = person.texture.shape[-1]
        front = int((spots.plane == 0).sum())
        owner, pixel = spots.person[:front], spots.pixel[:front] % size**2
        where = (2 * torch.stack([pixel % size, pixel // size], dim=1) + 1) / size - 1
        before = person.features[:, 0].reshape(-1, width)
        others = len(rows) - front
        rows = rows[:front]

        def seen() -> Float[Tensor, "b d2 r r"]:
            picture = before.index_add(0, owner * size**2 + pixel, rows)
            return picture.reshape(people, size, size, width).movedim(-1, 1)[:, : channels + 1]

        def drawn(unet: StyleUNet, picture: Tensor) -> Float[Tensor, "b s s c"]:
            made = unet(picture, person.w[:, None].expand(-1, unet.layers, -1))
            return made[:, :channels].float().movedim(1, -1)

        own = torch.zeros_like(rows[:, :channels])
        if self.mouth is not None:
            middle, half = self._mouths(vertices)
            frames = torch.cat([torch.eye(2).to(half) * half[:, None, None], middle[..., None]], dim=2)
            cut = self.mouth.input_resolution
            grid = F.affine_grid(frames, [people, 1, cut, cut], align_corners=False)
            made = drawn(self.mouth, F.grid_sample(seen(), grid, padding_mode="border", align_corners=False))
            inside = (where - middle[owner]) / half[owner, None]
            own = gather(made * _window(made.shape[1], made.device), owner, inside) * spots.say[:front, None]
            rows = torch.cat([rows[:, :channels] + own, rows[:, channels:]], dim=1)
        if self.blending is not None:
            cut = (self.blending.input_resolution,) * 2
            made = drawn(self.blending, F.interpolate(seen(), cut, mode="bilinear", antialias=True))
            own = own + gather(made, owner, where) * spots.say[:front, None]
        return F.pad(own, (0, 0, 0, others))

    def _before_surface(self, place: Float[Tensor, "b n 3"], height: Float[Tensor, "b n p"]) -> Float[Tensor, "b n p"]:
        """Return how far points lie before what each plane's view shows, -1..1: 1 well before it, -1 well behind.

        Args:
            place: half widths of a plane.
            height: where the surface lies along the axis that each plane does not see.
        """
        unseen = [({*"xyz"} - {*pair}).pop() for pair in self.axes]
        outwards = [place[..., 0].abs() if axis == "x" else place[..., "xyz".index(axis)] for axis in unseen]
        return torch.tanh((torch.stack(outwards, dim=-1) - height) * (self.box / 2 / _REACH))

    def _mouths(self, vertices: Float[Tensor, "b v 3"]) -> tuple[Float[Tensor, "b 2"], Float[Tensor, " b"]]:
        """Return middle and half side of the square around the lips in the front view, -1..1."""
        lips = (vertices[:, self.lip_faces] * self.lip_weights[..., None]).sum(2)
        lips = self._in_planes(lips)[..., :2]
        low, high = lips.amin(1), lips.amax(1)
        return (low + high) / 2, self.config.mesh.mouth_crop * (high - low).amax(1) / 2


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


def _window(size: int, device: torch.device) -> Float[Tensor, "s s 1"]:
    """Return weights that are 1 in the middle of a picture and fade to 0 at its edges, so that no square is seen."""
    along = torch.linspace(-1, 1, size, device=device)
    fade = ((1 - along.abs()) / 0.25).clamp(0, 1)
    return (fade[:, None] * fade)[..., None]


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
