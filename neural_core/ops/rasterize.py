# SPDX-License-Identifier: Apache-2.0
"""Which triangle is seen through each pixel, and where in it.

Next3D (Sun et al. 2023) textures planes with it, Real3D-Portrait (Ye et al. 2024) draws its motion input with it, and
``training/synthetic/raster.py`` draws people.

The rule, the same in every implementation, all in double precision:

* The centre of pixel i of n lies at (2 i + 1) / n - 1. Triangles cover the centres inside them.
* The three edge functions E(p, q; s) = (q - p) x (s - p) are evaluated from the end of the edge that is smaller in
  (x, y), so that two triangles with a common edge agree on which side a centre lies.
* A centre exactly on an edge belongs to the triangle for which the edge is a top or a left one: with ``edges="once"``
  exactly one of the triangles that share the edge has it. With ``edges="never"`` none has it (PyTorch3D's rule).
* The nearest triangle wins; of several at exactly the same depth, the one with the lowest number.
* Triangles without area, with a coordinate that is not finite, or (in perspective) with a corner that is not in front
  of the camera are not drawn. Nothing is clipped.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from . import backends

Edges = Literal["once", "never"]

_PAIRS = 1 << 20
"""Pairs of triangle and pixel that the reference looks at together; its memory is about 250 bytes a pair."""
_MARGIN = 1e-6
"""Pixels by which the box around a triangle is enlarged."""


@dataclass(frozen=True)
class Fragments:
    """What is seen through the pixels of b pictures, h x w."""

    triangle: Int[Tensor, "b h w"]
    """int32 number of the nearest triangle, -1 where there is none."""
    barycentric: Float[Tensor, "b h w 3"]
    """float32 weights of its corners, sum 1; 0 where there is none."""
    depth: Float[Tensor, "b h w"]
    """float32 depth of the place that is seen; 0 where there is none."""

    @property
    def covered(self) -> Bool[Tensor, "b h w"]:
        """Where there is a triangle."""
        return self.triangle >= 0


def rasterize(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    size: int | tuple[int, int],
    *,
    perspective: bool = False,
    cull: bool = False,
    edges: Edges = "once",
) -> Fragments:
    """Return the nearest triangle of every pixel, and the barycentric coordinates of the pixel's centre in it.

    Args:
        vertices: x to the right and y down, -1 to 1 over the picture, and a depth that grows away from the viewer.
        faces: corners of the triangles, shared by the batch.
        size: side of the pictures in pixels, or (height, width).
        perspective: x and y were divided by the depth, which is the distance along the axis of the camera, positive
            before it. Barycentric coordinates and depth are then those on the triangle in space, not in the picture.
        cull: whether triangles that appear clockwise (seen from behind) are left out.
        edges: who has a centre exactly on an edge, see the head of this file.

    Deterministic. No gradient flows into ``vertices``: visibility is a constant (as in Next3D).

    Raises:
        ValueError: if a face names a vertex that is not there, or shapes or devices do not fit.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels")
    # The back end reads memory by these shapes.
    if vertices.ndim != 3 or vertices.shape[2] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"vertices {list(vertices.shape)} and faces {list(faces.shape)}, not [b, v, 3] and [f, 3]")
    if vertices.device != faces.device:
        raise ValueError(f"vertices on {vertices.device} and faces on {faces.device}")
    if faces.numel() and not 0 <= int(faces.min()) <= int(faces.max()) < vertices.shape[1]:
        raise ValueError(f"faces name vertices {int(faces.min())} to {int(faces.max())} of {vertices.shape[1]}")
    vertices = vertices.detach().double()
    if vertices.device.type == "cpu":
        library = backends.native("rasterize")
        if library is not None:
            return _native(library, vertices, faces, height, width, perspective, cull, edges)
    return _reference(vertices, faces, height, width, perspective, cull, edges)


def interpolate(fragments: Fragments, corners: Float[Tensor, "#b f 3 c"]) -> Float[Tensor, "b h w c"]:
    """Return attributes at the places that are seen; 0 where nothing is.

    Args:
        fragments: from `rasterize`.
        corners: attributes of the corners of the triangles; of the vertices [b, v, c]: ``attributes[:, faces]``.

    Differentiable in the attributes, any number of times.
    """
    triangle = fragments.triangle.long().clamp(min=0)
    if corners.shape[1] == 0:
        return corners.new_zeros(*triangle.shape, corners.shape[-1])
    batch = torch.arange(len(triangle), device=triangle.device)[:, None, None].expand_as(triangle)
    seen = corners.expand(len(triangle), -1, -1, -1)[batch, triangle]
    return (seen * fragments.barycentric.to(seen.dtype)[..., None]).sum(-2)


# The torch reference ------------------------------------------------------------------------------------------------


def _reference(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    perspective: bool,
    cull: bool,
    edges: Edges,
) -> Fragments:
    shape = (len(vertices), height, width)
    triangle = torch.empty(shape, dtype=torch.int32, device=vertices.device)
    barycentric = torch.empty((*shape, 3), device=vertices.device)
    depth = torch.empty(shape, device=vertices.device)
    for sample, places in enumerate(vertices):  # one at a time bounds the memory
        triangle[sample], barycentric[sample], depth[sample] = _draw(
            places[faces.long()], height, width, perspective, cull, edges
        )
    return Fragments(triangle, barycentric, depth)


def _draw(
    corners: Float[Tensor, "f 3 3"], height: int, width: int, perspective: bool, cull: bool, edges: Edges
) -> tuple[Int[Tensor, "h w"], Float[Tensor, "h w 3"], Float[Tensor, "h w"]]:
    """Return triangle, barycentric coordinates and depth of one picture."""
    device = corners.device
    nearest = torch.full((height * width,), torch.inf, dtype=torch.float64, device=device)
    triangle = torch.full((height * width,), -1, dtype=torch.int64, device=device)
    candidates = _drawable(corners, perspective, cull).nonzero()[:, 0]
    low, extent = _boxes(corners[candidates], height, width)
    count = extent.prod(1)
    candidates, low, extent, count = (each[count > 0] for each in (candidates, low, extent, count))
    total = count.cumsum(0)
    start = 0
    while start < len(candidates):
        done = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(total, done + _PAIRS, right=True)))
        part = slice(start, stop)
        which = torch.repeat_interleave(torch.arange(start, stop, device=device), count[part])
        place = torch.arange(len(which), device=device) + done - (total - count)[which]
        column = low[which, 0] + place % extent[which, 0]
        row = low[which, 1] + place // extent[which, 0]
        face = candidates[which]
        inside, _, depth = _solve(corners[face], row, column, height, width, perspective, edges)
        pixel, face, depth = (row * width + column)[inside], face[inside], depth[inside]
        best = torch.full_like(nearest, torch.inf).scatter_reduce(0, pixel, depth, "amin")
        first = depth == best[pixel]
        winner = torch.full_like(triangle, len(corners)).scatter_reduce(0, pixel[first], face[first], "amin")
        closer = best < nearest  # earlier triangles keep what they have at the same depth
        nearest, triangle = torch.where(closer, best, nearest), torch.where(closer, winner, triangle)
        start = stop

    barycentric = torch.zeros(height * width, 3, dtype=torch.float32, device=device)
    depth = torch.zeros(height * width, dtype=torch.float32, device=device)
    hit = (triangle >= 0).nonzero()[:, 0]
    _, weights, _ = _solve(corners[triangle[hit]], hit // width, hit % width, height, width, perspective, edges)
    barycentric[hit], depth[hit] = weights.float(), nearest[hit].float()
    shape = (height, width)
    return triangle.int().reshape(shape), barycentric.reshape(*shape, 3), depth.reshape(shape)


def _drawable(corners: Float[Tensor, "f 3 3"], perspective: bool, cull: bool) -> Bool[Tensor, " f"]:
    a, b, c = corners.unbind(1)
    # From above to below of the picture is +y, so what appears counter-clockwise has a negative area.
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    drawable = corners.isfinite().all(2).all(1) & ((area < 0) if cull else (area != 0))
    return drawable & (corners[..., 2] > 0).all(1) if perspective else drawable


def _boxes(corners: Float[Tensor, "f 3 3"], height: int, width: int) -> tuple[Int[Tensor, "f 2"], Int[Tensor, "f 2"]]:
    """Return the first (column, row) of a box of pixels around each triangle, and its (width, height)."""
    scale = torch.tensor([width, height], dtype=corners.dtype, device=corners.device)
    places = ((corners[..., :2] + 1) * scale - 1) / 2
    # The margin is far above the rounding of these places, so that no centre on an edge is lost.
    low = torch.minimum((places.amin(1) - _MARGIN).ceil().clamp(min=0), scale)
    high = torch.maximum((places.amax(1) + _MARGIN).floor(), torch.full_like(scale, -1)).minimum(scale - 1)
    return low.long(), (high - low + 1).clamp(min=0).long()


def _solve(
    corners: Float[Tensor, "n 3 3"],
    row: Int[Tensor, " n"],
    column: Int[Tensor, " n"],
    height: int,
    width: int,
    perspective: bool,
    edges: Edges,
) -> tuple[Bool[Tensor, " n"], Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """Return whether each pixel's centre is in its triangle, its barycentric coordinates and its depth."""
    x, y = (2.0 * column.double() + 1.0) / width - 1.0, (2.0 * row.double() + 1.0) / height - 1.0
    a, b, c = corners.unbind(1)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    turn = torch.where(area > 0, 1.0, -1.0).to(corners.dtype)
    weights = []
    inside = torch.ones_like(area, dtype=torch.bool)
    for start, end in ((b, c), (c, a), (a, b)):
        value = turn * _edge(start, end, x, y)
        ahead_x, ahead_y = turn * (end[:, 0] - start[:, 0]), turn * (end[:, 1] - start[:, 1])
        owned = (ahead_y < 0) | ((ahead_y == 0) & (ahead_x > 0))
        inside &= (value > 0) | ((value == 0) & owned) if edges == "once" else value > 0
        weights.append(value)
    total = (weights[0] + weights[1]) + weights[2]
    inside &= total > 0
    weights = [weight / total for weight in weights]
    if perspective:
        weights = [weight / corner[:, 2] for weight, corner in zip(weights, (a, b, c), strict=True)]
        total = (weights[0] + weights[1]) + weights[2]
        weights, depth = [weight / total for weight in weights], 1.0 / total
    else:
        depth = (weights[0] * a[:, 2] + weights[1] * b[:, 2]) + weights[2] * c[:, 2]
    return inside, torch.stack(weights, 1), depth


def _edge(
    start: Float[Tensor, "n 3"], end: Float[Tensor, "n 3"], x: Float[Tensor, " n"], y: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return (end - start) x (s - start), computed the same way from whichever side the edge is seen."""
    swap = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    p, q = torch.where(swap[:, None], end, start), torch.where(swap[:, None], start, end)
    value = (q[:, 0] - p[:, 0]) * (y - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x - p[:, 0])
    return torch.where(swap, -value, value)


# The C++ back end ---------------------------------------------------------------------------------------------------


def _native(
    library: ctypes.CDLL,
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    perspective: bool,
    cull: bool,
    edges: Edges,
) -> Fragments:
    """Return the same as `_reference`, from native/rasterize.cpp."""
    batch, count, _ = vertices.shape
    vertices, faces = vertices.contiguous(), faces.to(torch.int32).contiguous()
    triangle = torch.empty(batch, height, width, dtype=torch.int32)
    barycentric = torch.empty(batch, height, width, 3)
    depth = torch.empty(batch, height, width)
    numbers = (batch, count, len(faces), height, width, int(perspective), int(cull), int(edges == "once"))
    library.np_rasterize(
        ctypes.c_void_p(vertices.data_ptr()),
        ctypes.c_void_p(faces.data_ptr()),
        *(ctypes.c_int64(number) for number in (*numbers, torch.get_num_threads())),
        ctypes.c_void_p(triangle.data_ptr()),
        ctypes.c_void_p(barycentric.data_ptr()),
        ctypes.c_void_p(depth.data_ptr()),
    )
    return Fragments(triangle, barycentric, depth)
