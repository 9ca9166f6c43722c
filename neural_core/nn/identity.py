# SPDX-License-Identifier: Apache-2.0
"""What our own EG3D weights add to the paper's generator, so that a seed knows its face.

The first `shape_dims` numbers of z are the identity coefficients of the face model, hence three parts that a code of
noise could not have:

* `IdentityWarp` carries sample points of a person's head to the same points of the mean head, so that one tri-plane
  holds everybody's eyes at the same place (the idea of a canonical space, as in HumanNeRF or AniPortraitGAN's
  deformation fields; here it is given in closed form by the face model).
* `MeanPlanes` are learned planes of the mean person, to which the synthesis network adds the person's difference.
* `TraitPlanes` add what the code's traits (`human/traits.py`) say, place by place.
* `FiLMDecoder` is EG3D's decoder with feature-wise modulation by z (Perez et al. 2018), which gives colours their code;
  they start from the person's palette (`human/palette.py`), and hair from patterns of `locks`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .decoders import squash_colour


class Modulation(NamedTuple):
    """What a `FiLMDecoder` needs of each of some people."""

    weights: Float[Tensor, "b c h"]
    """Of its first layer: FiLM scales and shifts a layer's output; done to its weights, it costs nothing a point."""
    biases: Float[Tensor, "b 1 h"]
    """Likewise."""
    palette: Float[Tensor, "b m 3"] | None
    """Colours of their materials."""


def spread_over_grid(
    positions: Float[Tensor, "v 3"], values: Float[Tensor, "v c"], resolution: int, box: float, chunk: int = 4096
) -> Float[Tensor, "c r r r"]:
    """Return values known at points, interpolated to every node of a cubic grid (Shepard's method, power 4).

    Args:
        positions: where the values are known, in the box's unit.
        values: what is known there.
        resolution: nodes along an edge; the outer nodes lie on the faces of the box.
        box: side length of the cube around the origin.
        chunk: nodes handled at a time, which bounds the memory.

    Returns:
        The grid with axes (channel, z, y, x), the order of `grid_sample`.
    """
    nodes = grid_nodes(resolution, box).to(positions)
    softening = (0.004 * box) ** 2  # keeps the weight finite where a node lies on a point
    rows = []
    for part in nodes.split(chunk):
        weights = (torch.cdist(part, positions).square() + softening).square().reciprocal()
        rows.append(weights @ values / weights.sum(1, keepdim=True))
    return torch.cat(rows).T.reshape(values.shape[1], resolution, resolution, resolution)


def grid_nodes(resolution: int, box: float) -> Float[Tensor, "n 3"]:
    """Return the (x, y, z) of the nodes of a cubic grid in the order of a (z, y, x) volume."""
    axis = torch.linspace(-box / 2, box / 2, resolution)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def sample_grid(grid: Float[Tensor, "b c r r r"], points: Float[Tensor, "b n 3"], box: float) -> Float[Tensor, "b n c"]:
    """Read a volume at points by trilinear interpolation; outside the box the value of the nearest face holds."""
    where = (points * (2 / box))[:, :, None, None]
    values = F.grid_sample(grid, where, mode="bilinear", padding_mode="border", align_corners=True)
    return values[..., 0, 0].transpose(1, 2)


class IdentityWarp(nn.Module):
    """Backward warp from a person's head to the mean head, given by the face model's identity basis.

    The displacement of the mean head's vertices, linear in the coefficients, is spread over a grid; the inverse map is
    found at the grid's nodes by fixed-point iteration (c <- x - displacement(c)), which converges since heads differ by
    far less than their size.
    """

    basis: Tensor
    nodes: Tensor

    def __init__(self, basis: Float[Tensor, "k 3 r r r"], box: float, iterations: int = 6) -> None:
        """Take the grid of each coefficient's displacement, in model units per standard deviation."""
        super().__init__()
        self.register_buffer("basis", basis, persistent=False)  # comes from the face model, not from the checkpoint
        self.register_buffer("nodes", grid_nodes(basis.shape[-1], box), persistent=False)
        self.box, self.iterations = box, iterations

    @classmethod
    def from_face(
        cls,
        vertices: Float[Tensor, "v 3"],
        directions: Float[Tensor, "v 3 k"],
        resolution: int,
        box: float,
    ) -> IdentityWarp:
        """Spread the face model's basis over a grid.

        Args:
            vertices: mean head, model units.
            directions: displacement per standard deviation of each coefficient, model units.
            resolution: nodes along an edge of the grid.
            box: side length of the planes' cube, model units.
        """
        count = directions.shape[2]
        grid = spread_over_grid(vertices, directions.reshape(len(vertices), 3 * count), resolution, box)
        return cls(grid.reshape(3, count, *grid.shape[1:]).transpose(0, 1).contiguous(), box)

    def volume(self, shape: Float[Tensor, "b k"]) -> Float[Tensor, "b 3 r r r"]:
        """Return, for each person, the offset that takes a node of the grid to its place on the mean head."""
        forward = torch.einsum("bk,kcxyz->bcxyz", shape, self.basis)
        nodes = self.nodes.to(shape).expand(shape.shape[0], -1, -1)
        canonical = nodes
        for _ in range(self.iterations):
            canonical = nodes - sample_grid(forward, canonical, self.box)
        return (canonical - nodes).transpose(1, 2).reshape(forward.shape)

    def forward(self, points: Float[Tensor, "b n 3"], volume: Float[Tensor, "b 3 r r r"]) -> Float[Tensor, "b n 3"]:
        """Carry points of each person's head to the mean head (model space)."""
        return points + sample_grid(volume, points, self.box)


class MeanPlanes(nn.Module):
    """Learned planes of the mean person; the person's difference is enlarged to their size and added."""

    def __init__(self, planes: int, channels: int, resolution: int) -> None:
        """Start from small noise, from which the decoder can tell places apart."""
        super().__init__()
        self.features = nn.Parameter(0.1 * torch.randn(1, planes, channels, resolution, resolution))

    def forward(self, difference: Float[Tensor, "b pc h w"]) -> Float[Tensor, "b p c r r"]:
        """Return the person's planes."""
        _, planes, channels, resolution, _ = self.features.shape
        larger = F.interpolate(difference, size=(resolution, resolution), mode="bilinear", align_corners=False)
        return self.features + larger.unflatten(1, (planes, channels))


class TraitPlanes(nn.Module):
    """Planes that every trait adds in proportion: what a person's hair or clothes change where they are.

    The weights of a place learn from that place alone, whatever the rest of the picture asks for; the synthesis
    network, whose weights serve all places, is slow to find a colour that only collars have.
    """

    def __init__(self, traits: int, planes: int, channels: int, resolution: int) -> None:
        """Start from nothing; they are added to the first `channels` channels of each plane."""
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(traits, planes, channels, resolution, resolution))

    def forward(self, traits: Float[Tensor, "b t"], difference: Float[Tensor, "b pc h w"]) -> Float[Tensor, "b pc h w"]:
        """Return the person's difference from the mean with what the traits add."""
        _, planes, channels, _, _ = self.basis.shape
        own = torch.einsum("bt,tpchw->bpchw", traits, self.basis).flatten(1, 2)
        own = F.interpolate(own, size=difference.shape[-2:], mode="bilinear", align_corners=False)
        features, own = difference.unflatten(1, (planes, -1)), own.unflatten(1, (planes, channels))
        return torch.cat([features[:, :, :channels] + own, features[:, :, channels:]], dim=2).flatten(1, 2)


LOCKS = 4
"""How many patterns `locks` gives."""
_CROWN = (0.012, 0.23, -0.124)
"""Model units: where hair whorls on the mean head."""
_ROUND = ((17, 23, 29), (37, 43, 53))
"""Waves around the crown of the two patterns of straight hair; locks are some 15 and 8 mm wide at the temples."""
_CURLS = (0.055, 0.032)
"""Model units: length of a curl in the other two."""


def locks(points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n p"]:
    """Return patterns that look like locks of hair, about -1..1, at points around the mean head (model units).

    Which strand is where cannot be foretold from a person's traits, and a tri-plane of a few hundred people averages
    strands away. These patterns are the same for everybody: two run from the crown downwards, as straight hair does,
    and two are curls. The decoder decides where, and in which hair, they show.
    """
    x, y, z = (points - points.new_tensor(_CROWN)).unbind(-1)
    angle = torch.atan2(x, z)
    found = []
    for number, waves in enumerate(_ROUND):
        bend = 0.06 * torch.sin(14.0 * y + 3.0 * angle + number)
        found.append(sum(torch.sin(count * (angle + bend) + 2.0 * count) for count in waves) / 2)
    for number, length in enumerate(_CURLS):
        turn = 2 * torch.pi / length
        warp = 0.5 * torch.sin(0.31 * turn * torch.stack([y, z, x]) + number)
        found.append(sum(torch.sin(turn * axis + bent) for axis, bent in zip((x, y, z), warp, strict=True)) / 2)
    return torch.stack(found, dim=-1)


class FiLMDecoder(nn.Module):
    """Plane features -> density and colour, modulated by the code (EG3D's decoder with FiLM on its first layer).

    Colours start from a palette: the decoder says how much of each of the person's materials there is at a point, and
    by what light and shade change their mixture. What is rare (red hair, a yellow shirt) then needs no examples.
    """

    density_gain = 30.0
    """A head is opaque within a few millimetres, some hundreds per model unit; without this factor the last layer
    would have to grow that far by itself."""

    def __init__(
        self, channels: int, hidden: int, code_dims: int, features: int = 3, film_hidden: int = 0, materials: int = 0
    ) -> None:
        """Build two hidden layers of `hidden` and `hidden / 2` units.

        Args:
            channels: plane features.
            hidden: units of the first hidden layer.
            code_dims: numbers in the code.
            features: colour features, the first three of which are RGB, the last ones the shares of the materials.
            film_hidden: hidden units between code and modulation; 0 for a linear map. Skin and hair depend on the
                code as melanin does on light, which is anything but linear.
            materials: colours of the palette; 0 for none.
        """
        super().__init__()
        self.input = nn.Linear(channels, hidden)
        film = nn.Linear(film_hidden or code_dims, 2 * hidden)
        self.film = nn.Sequential(nn.Linear(code_dims, film_hidden), nn.SiLU(), film) if film_hidden else film
        self.middle = nn.Linear(hidden, hidden // 2)
        self.output = nn.Linear(hidden // 2, 1 + features)
        self.materials = materials
        nn.init.normal_(film.weight, std=0.02)
        nn.init.zeros_(film.bias)
        nn.init.zeros_(self.output.bias)

    def modulation(self, code: Float[Tensor, "b z"], palette: Float[Tensor, "b m 3"] | None = None) -> Modulation:
        """Return what the decoder needs of each person.

        Args:
            code: what is told of them.
            palette: sRGB 0..1 of their materials; None for a decoder without.
        """
        scale, shift = self.film(code).unsqueeze(1).chunk(2, dim=-1)
        scale = 1 + scale
        return Modulation(self.input.weight.T * scale, self.input.bias * scale + shift, palette)

    def forward(
        self, features: Float[Tensor, "b n c"], modulation: Modulation
    ) -> tuple[Float[Tensor, "b n 1"], Float[Tensor, "b n f"]]:
        """Return density before its softplus, as EG3D's ray marcher expects it, and colour features, about 0..1."""
        hidden = F.silu(torch.baddbmm(modulation.biases, features, modulation.weights))
        raw = self.output(F.silu(self.middle(hidden)))
        density, colour, shares = raw.tensor_split([1, raw.shape[-1] - self.materials], dim=-1)
        density = density * self.density_gain
        if modulation.palette is None:
            return density, squash_colour(colour)
        shares = shares.softmax(-1)
        mixture = shares @ modulation.palette.to(shares.dtype)
        unshaded = torch.logit(mixture.float(), eps=_DARKEST).to(colour.dtype)
        shaded = squash_colour(torch.cat([colour[..., :3] + unshaded, colour[..., 3:]], dim=-1))
        return density, torch.cat([shaded, shares], dim=-1)


_DARKEST = 0.01
"""A palette's colours are kept this far from black and white, where no correction would show."""
