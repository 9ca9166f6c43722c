# SPDX-License-Identifier: Apache-2.0
"""What a camera sees of a figure: which surface or strand through each sample, and the labels that follow from it.

Labels come from here whoever draws the picture, so that they mean the same beside Cycles' and our own pictures. Clear
things (lenses of glasses, corneas) are looked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.ops.rasterize import rasterize
from neural_core.records import BACKGROUND, GLASSES, HEAD_TO_MODEL, SKIN
from training.synthetic.figure import Fibres, Figure, Part

if TYPE_CHECKING:
    from training.synthetic.views import View

CLEAR = ("lens", "cornea")
SAMPLES = 3
"""Samples along a side of a pixel; odd, so that one of them is the pixel's centre."""
_SEGMENTS = (2, 3, 5, 8, 12, 18, 26)  # how many segments strands are simplified to
_PROBE = 11  # every so-maniest strand decides
_TOUCHING = 1.5e-3 * HEAD_TO_MODEL  # a point this far behind the surface is still on it, model units


@dataclass(frozen=True)
class Meshes:
    """Triangles of several things in one list."""

    vertices: NDArray[np.float64]
    """[n, 3] head space."""
    faces: NDArray[np.int32]
    """[m, 3]."""
    first_vertex: NDArray[np.int64]
    """[things + 1] where the vertices of each thing begin."""
    first_face: NDArray[np.int64]
    """[things + 1] where its faces begin."""

    @classmethod
    def joined(cls, things: Sequence[tuple[NDArray, NDArray]]) -> Meshes:
        """Join (vertices [v, 3], faces [f, 3]) of several things."""
        first_vertex = np.cumsum([0, *(len(vertices) for vertices, _ in things)])
        first_face = np.cumsum([0, *(len(faces) for _, faces in things)])
        vertices = np.concatenate([np.zeros((0, 3)), *(vertices for vertices, _ in things)])
        faces = [faces + start for (_, faces), start in zip(things, first_vertex, strict=False)]
        return cls(vertices, np.concatenate([np.zeros((0, 3), int), *faces]).astype(np.int32), first_vertex, first_face)


@dataclass(frozen=True)
class Sight:
    """What is seen through the samples of a picture, S x S = SAMPLES times its size."""

    meshes: Meshes
    """Parts of the figure that are not clear, then its fibres."""
    things: tuple[Part | Fibres, ...]
    """The same things, in the order of ``meshes``."""
    triangle: NDArray[np.int32]
    """[S, S] row of ``meshes.faces``, -1 where nothing is."""
    barycentric: NDArray[np.float32]
    """[S, S, 3]."""
    depth: NDArray[np.float32]
    """[S, S] along the axis of the camera, model units."""
    view: View
    through: Sight | None = None
    """The clear things that it is seen through, without what is behind them; None if there are none."""

    @property
    def regions(self) -> NDArray[np.uint8]:
        """Region [h, w] that most samples of each pixel show; BACKGROUND where more than half of them show nothing."""
        samples = _cells(np.concatenate([self._face_regions(), [BACKGROUND]]).astype(np.uint8)[self.triangle])
        share = np.stack([(samples == region).sum(-1) for region in range(GLASSES + 1)], -1)
        share[..., BACKGROUND] = np.where(share[..., BACKGROUND] * 2 > SAMPLES**2, SAMPLES**2 + 1, 0)
        return share.argmax(-1).astype(np.uint8)

    @property
    def ray_depth(self) -> NDArray[np.float32]:
        """[h, w] distance along the ray through the pixel's centre to the first surface, model units; 0: nothing."""
        return (self.depth * slant(self.view, self.depth.shape[0]))[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES]

    def _face_regions(self) -> NDArray[np.uint8]:
        counts = np.diff(self.meshes.first_face)
        regions = [np.broadcast_to(thing.region, count) for thing, count in zip(self.things, counts, strict=True)]
        return np.concatenate([np.zeros(0, np.uint8), *regions]).astype(np.uint8)


def see(figure: Figure, view: View, size: int) -> Sight:
    """Look at a figure: a picture of ``size`` pixels."""
    parts = [part for part in figure.parts if part.material.kind not in CLEAR]
    clear = [part for part in figure.parts if part.material.kind in CLEAR]
    distance = np.linalg.norm(view.cam2world[:3, 3]) / HEAD_TO_MODEL
    sample = float(distance / (view.intrinsics[0, 0] * size * SAMPLES))  # metres that a sample covers at the head
    strands = [simplified(fibres, sample) for fibres in figure.fibres]
    return _sight([*parts, *strands], view, size, _sight(clear, view, size) if clear else None)


def _sight(things: Sequence[Part | Fibres], view: View, size: int, through: Sight | None = None) -> Sight:
    eye = view.cam2world[:3, 3] / HEAD_TO_MODEL
    meshes = Meshes.joined(
        [ribbons(thing, eye) if isinstance(thing, Fibres) else (thing.vertices, thing.faces) for thing in things]
    )
    return Sight(meshes, tuple(things), *_rasterized(meshes, view, size * SAMPLES), view, through)


def visible(figure: Figure, view: View, points: NDArray, size: int = 512) -> NDArray[np.bool_]:
    """Whether nothing is in front of points [n, 3] of the head (head space): no hair, glasses, cloth, nor the head.

    A point is hidden by the head where it lies behind every part of the surface near it, and by other things where
    they cover most of its surroundings. Lashes and brows (fibres of the region SKIN) hide nothing.

    Args:
        figure: The person.
        view: The camera.
        points: Points on the surface of the head.
        size: Samples along the side of the picture that decides; a landmark's surroundings are 3 x 3 of them.
    """
    eye = view.cam2world[:3, 3] / HEAD_TO_MODEL
    parts = [part for part in figure.parts if part.material.kind not in CLEAR]
    head = [(part.vertices, part.faces) for part in parts if not np.isin(part.region, GLASSES).any()]
    others = [(part.vertices, part.faces) for part in parts if np.isin(part.region, GLASSES).any()]
    others += [ribbons(simplified(fibres, 2e-3, every=3), eye) for fibres in figure.fibres if fibres.region != SKIN]
    places = to_picture(points, view)
    column = np.floor((places[:, 0] + 1) / 2 * size).astype(int)
    row = np.floor((places[:, 1] + 1) / 2 * size).astype(int)
    inside = (places[:, 2] > 0) & (np.minimum(row, column) >= 0) & (np.maximum(row, column) < size)
    around = np.arange(-1, 2)
    rows = np.clip(row[:, None, None] + around[:, None], 0, size - 1)
    columns = np.clip(column[:, None, None] + around, 0, size - 1)
    hidden = np.zeros((2, len(points), 3, 3), bool)
    for which, things in enumerate((head, others)):
        triangle, _, depth = _rasterized(Meshes.joined(things), view, size)
        there = triangle[rows, columns] >= 0
        hidden[which] = there & (depth[rows, columns] + _TOUCHING < places[:, 2, None, None])
    return inside & ~hidden[0].all((1, 2)) & (hidden[1].mean((1, 2)) < 0.5)


def to_picture(points: NDArray, view: View) -> NDArray[np.float64]:
    """Points [n, 3] of head space as x, y (-1..1 over the picture, y down) and depth in model units."""
    x, y, depth = ((HEAD_TO_MODEL * points - view.cam2world[:3, 3]) @ view.cam2world[:3, :3]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (
            view.intrinsics[axis, axis] * value / depth + view.intrinsics[axis, 2] for axis, value in ((0, x), (1, y))
        )
    return np.stack([2 * u - 1, 2 * v - 1, depth], 1)


def slant(view: View, size: int) -> NDArray[np.float32]:
    """How much longer than the depth along the axis the way along each pixel's ray is [size, size]."""
    return np.linalg.norm(camera_rays(view, size), axis=-1).astype(np.float32)


def camera_rays(view: View, size: int) -> NDArray[np.float64]:
    """Directions [size, size, 3] of the pixels in the camera's axes, of depth 1 along its axis."""
    centres = (np.arange(size) + 0.5) / size
    x = (centres - view.intrinsics[0, 2]) / view.intrinsics[0, 0]
    y = (centres - view.intrinsics[1, 2]) / view.intrinsics[1, 1]
    return np.stack([*np.meshgrid(x, y), np.ones((size, size))], -1)


def ribbons(fibres: Fibres, eye: NDArray, parallel: bool = False) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Strands as bands that face the eye: two vertices for each point of a strand, left and right of it.

    Args:
        fibres: n strands of p points.
        eye: [3] where it is looked at from, head space; or the direction towards it.
        parallel: Whether ``eye`` is a direction.
    """
    along = strand_directions(fibres.points)
    towards = eye if parallel else eye - fibres.points
    return ribbon_vertices(fibres.points, fibres.radii, along, towards), ribbon_faces(*fibres.radii.shape)


def ribbon_vertices(points: NDArray, radii: NDArray, along: NDArray, towards: NDArray) -> NDArray:
    """Both sides of strands [2 n p, 3], seen from the direction or directions ``towards``."""
    across = np.cross(along, towards)
    across *= (radii / (np.sqrt(np.einsum("npk,npk->np", across, across)) + 1e-12))[..., None]
    return np.stack([points - across, points + across], 2).reshape(-1, 3)


def ribbon_faces(count: int, length: int) -> NDArray[np.int32]:
    """Triangles between the vertices that `ribbon_vertices` gives for strands of some length in points."""
    start = 2 * (np.arange(count)[:, None] * length + np.arange(length - 1))[..., None]
    faces = np.stack([start + corners for corners in ([0, 1, 2], [2, 1, 3])], 2)
    return faces.reshape(-1, 3).astype(np.int32)


def simplified(fibres: Fibres, tolerance: float, every: int = 1) -> Fibres:
    """Strands with no more points than it takes.

    Args:
        fibres: n strands of p points.
        tolerance: How far, in metres, nine of ten strands may move at most.
        every: Only every so-maniest strand, so much thicker: as dense from a distance.
    """
    if not len(fibres.points):
        return fibres
    colours = {
        name: colour[::every] if colour.ndim == 2 else colour
        for name, colour in (("root_colour", fibres.root_colour), ("tip_colour", fibres.tip_colour))
    }
    segments = _segments(fibres.points[:: _PROBE + every], tolerance)
    points, radii = (_resampled(values, segments) for values in (fibres.points[::every], fibres.radii[::every] * every))
    return replace(fibres, points=points, radii=radii, **colours)


def _segments(strands: NDArray, tolerance: float) -> int:
    """How few segments strands [n, p, 3] may have."""
    last = strands.shape[1] - 1
    for segments in _SEGMENTS:
        if segments >= last:
            break
        straight = _resampled(_resampled(strands, segments), last)
        if np.quantile(np.linalg.norm(straight - strands, axis=2).max(1), 0.9) <= tolerance:
            return segments
    return last


def _resampled(values: NDArray, segments: int) -> NDArray:
    """Values [n, p ...] along strands at evenly spaced places, root and tip included."""
    last = values.shape[1] - 1
    if segments == last:
        return values
    place = np.linspace(0, last, segments + 1)
    before = np.minimum(place.astype(int), last - 1)
    share = (place - before).reshape(-1, *[1] * (values.ndim - 2))
    return values[:, before] * (1 - share) + values[:, before + 1] * share


def strand_directions(points: NDArray) -> NDArray[np.float64]:
    """Unit tangents [n, p, 3] of strands."""
    along = np.empty_like(points)
    along[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along[:, 0], along[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    return along / (np.linalg.norm(along, axis=-1, keepdims=True) + 1e-12)


def _rasterized(meshes: Meshes, view: View, size: int) -> tuple[NDArray, NDArray, NDArray]:
    seen = rasterize(
        torch.from_numpy(to_picture(meshes.vertices, view))[None],
        torch.from_numpy(meshes.faces),
        size,
        perspective=True,
    )
    return seen.triangle[0].numpy(), seen.barycentric[0].numpy(), seen.depth[0].numpy()


def _cells(samples: NDArray) -> NDArray:
    """The samples of each pixel: [S, S] to [h, w, SAMPLES^2]."""
    size = len(samples) // SAMPLES
    return samples.reshape(size, SAMPLES, size, SAMPLES).transpose(0, 2, 1, 3).reshape(size, size, SAMPLES**2)
