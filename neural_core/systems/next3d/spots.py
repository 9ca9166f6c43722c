# SPDX-License-Identifier: Apache-2.0
"""Where the moving face is seen in the planes, pixel by pixel (Next3D, Sun et al. 2023, section 3.1).

As `dynamic.py` draws, but for meshes that are small in the planes: a tenth of the pixels show the face, and only these
are dealt with. For each it is known which place of the mean head, and of the texture, is seen there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...human.face_atlas import FaceAtlas
from ...ops.rasterize import rasterize
from .dynamic import View


@dataclass(frozen=True)
class Spots:
    """Pixels of the three planes of b people that show the moving face; those of the first plane come first.

    A pixel of the side that both profiles cover is there twice, and the two share it.
    """

    pixel: Int[Tensor, " n"]
    """Counted through all planes of all people."""
    person: Int[Tensor, " n"]
    """Whose it is."""
    plane: Int[Tensor, " n"]
    """Which of their planes it is in."""
    uv: Float[Tensor, "n 2"]
    """What is seen: column and row in the texture, -1..1."""
    place: Float[Tensor, "n 3"]
    """The same on the mean head, metres."""
    height: Float[Tensor, " n"]
    """Where it is now, along the axis that the plane does not see, outwards; half widths of a plane."""
    say: Float[Tensor, " n"]
    """How much of the static plane's features it replaces, 0..1; in sum over the two of a pixel."""
    share: Float[Tensor, " n"]
    """How much of the pixel is its own; in sum over the two of a pixel 1, or 0 where it has no say."""


class SpotFinder(nn.Module):
    """Looks at a posed mesh along the axes. No parameters."""

    faces: Tensor
    corners: Tensor

    def __init__(self, atlas: FaceAtlas, plane_axes: tuple[str, ...], resolution: int) -> None:
        """Take what moves, what the planes see, and their width and height in pixels."""
        super().__init__()
        self.register_buffer("faces", atlas.faces, persistent=False)
        corners = torch.cat([atlas.corner_uv, atlas.corner_places, atlas.corner_say], dim=2)
        self.register_buffer("corners", corners, persistent=False)
        self.resolution, self.planes = resolution, len(plane_axes)
        self.views: list[tuple[int, View]] = []
        for plane, (column, row) in enumerate(plane_axes):
            unseen = ({*"xyz"} - {column, row}).pop()
            sides = ("x", "-x") if unseen == "x" else (unseen,)  # both profiles; the front, the top
            self.views += [(plane, View(column, row, side)) for side in sides]

    def forward(self, vertices: Float[Tensor, "b v 3"]) -> Spots:
        """Return the spots of posed meshes, half widths of a plane. What is seen is a constant to gradients."""
        looks = [self._look(plane, view, vertices) for plane, view in self.views]
        pixel, person, plane, values, height = (torch.cat(parts) for parts in zip(*looks, strict=True))
        uv, place, say = values.split([2, 3, 1], dim=1)
        say = say[:, 0]
        nothing = say.new_zeros(len(vertices) * self.planes * self.resolution**2)
        total = nothing.index_add(0, pixel, say)[pixel].clamp(min=1e-6)
        most = nothing.scatter_reduce(0, pixel, say, "amax")[pixel]
        return Spots(pixel, person, plane, uv, place, height, say * most / total, say / total)

    def _look(self, plane: int, view: View, vertices: Float[Tensor, "b v 3"]) -> tuple[Tensor, ...]:
        """Return pixel, person, plane, what is seen, and its height, of all that one view shows."""
        order = [0, 2, 1] if view.mirrored else [0, 1, 2]
        places = view.turn(vertices) * vertices.new_tensor([1.0, 1.0, -1.0])
        seen = rasterize(places, self.faces[:, order], self.resolution, cull=True)
        triangle = seen.triangle.flatten()
        found = (triangle >= 0).nonzero()[:, 0]
        weights = seen.barycentric.flatten(0, 2)[found]
        corners = self.corners[:, order][triangle[found].long()]
        values = (corners * weights[..., None]).sum(1)
        size = self.resolution**2
        person = found // size
        pixel = (person * self.planes + plane) * size + found % size
        return pixel, person, torch.full_like(person, plane), values, -seen.depth.flatten()[found]
