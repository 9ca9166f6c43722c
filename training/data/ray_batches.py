# SPDX-License-Identifier: Apache-2.0
"""Square patches of rays from the pictures of a few people, with what was seen along each ray and around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from neural_core.records import CLOTH, HAIR, SKIN, TORSO

from .portraits import Portraits

MATERIAL_REGIONS = ((SKIN, TORSO), (HAIR,), (CLOTH,))
"""The regions of a record that are skin, hair and cloth."""
HAIR_MATERIAL = 1
"""Which of them is hair."""
_CELL = 8
"""Pixels: patches are placed by how much of such a square is covered."""


@dataclass(frozen=True)
class RayBatch:
    """Rays of p people, v views of each, k patches a view of s x s rays: r = k s s rays a view.

    Neighbouring rays are d pixels apart, each in the middle of a square of d x d pixels (d = 1: in a pixel).
    """

    people: Int[Tensor, " p"]
    """Indices into the data set."""
    cameras: Float[Tensor, "pv 25"]
    """Camera label of each view."""
    pixels: Float[Tensor, "pv r 2"]
    """Where the rays meet the picture, (u, v) in picture widths, patch by patch, row by row."""
    colour: Float[Tensor, "pv r 3"]
    """sRGB in 0..1, multiplied by alpha: the mean of the ray's square of pixels."""
    alpha: Float[Tensor, "pv r"]
    """Coverage of that square in 0..1."""
    depth: Float[Tensor, "pv r"]
    """Distance along the ray, model units; 0 where nothing was hit, or where an edge runs between the pixels."""
    materials: Float[Tensor, "pv r 3"]
    """How much of that square is skin, hair and cloth, 0..1."""
    picture: Float[Tensor, "pvk 4 ds ds"]
    """The patches with all their pixels: colour multiplied by alpha, alpha; 0..1."""
    weight: Float[Tensor, "pvk 1 ds ds"]
    """What a pixel counts: 1, and more at eyes and mouth."""
    actions: Float[Tensor, "pv 52"]
    """What the face does in each view, 0..1."""
    joints: Float[Tensor, "pv 10 3"]
    """Rotations of `records.JOINTS` in each view, axis-angle, radians."""


@dataclass(frozen=True)
class PatchChoice:
    """How many rays a step sees, and where."""

    views: int = 2
    """Views of a person."""
    patches: int = 16
    """Patches a view."""
    side: int = 8
    """Rays along a patch's edge."""
    background: float = 0.08
    """Weight of empty regions when patches are placed; a region that the person fills has weight 1."""
    feature_weight: float = 0.0
    """What pixels in the middle of eyes and mouth count beyond 1."""
    feature_size: float = 0.04
    """Standard deviation of that weight's bell, picture widths."""
    feature_share: float = 0.0
    """Share of the patches that are placed at an eye or the mouth, where one is visible."""


def draw_rays(
    data: Portraits, people: Int[Tensor, " p"], choice: PatchChoice, spacing: int, generator: torch.Generator
) -> RayBatch:
    """Choose views of some people and patches in them at random; patches lie mostly on the person.

    Args:
        data: all people.
        people: indices of those to look at.
        choice: how many and where.
        spacing: pixels between neighbouring rays: 1, or an even number.
        generator: the random numbers come from here alone.
    """
    views = torch.stack([torch.randperm(data.cameras.shape[1], generator=generator)[: choice.views] for _ in people])
    owner = people.repeat_interleave(choice.views)
    view = views.flatten()
    rgba = data.rgba[owner, view].float() / 255
    rgba[:, :3] *= rgba[:, 3:]
    features = data.features[owner, view]
    rows, columns = _patch_pixels(rgba[:, 3], features, choice, spacing, generator)
    picture = torch.arange(len(owner))[:, None, None, None]
    patches = rgba.movedim(1, -1)[picture, rows[..., None], columns[..., None, :]]  # [pv, k, ds, ds, 4]
    depth = data.depth[owner, view].float()[picture, rows[..., None], columns[..., None, :]]
    regions = data.regions[owner, view][picture, rows[..., None], columns[..., None, :]]
    materials = torch.stack([torch.isin(regions, torch.tensor(of)) for of in MATERIAL_REGIONS], dim=-1).float()
    here = _around_rays(patches, spacing)
    where = torch.stack(torch.broadcast_tensors(columns[..., None, :], rows[..., None]), dim=-1).float()
    return RayBatch(
        people=people,
        cameras=data.cameras[owner, view],
        pixels=((_around_rays(where, spacing) + 0.5) / data.size).flatten(1, 3),
        colour=here[..., :3].flatten(1, 3),
        alpha=here[..., 3].flatten(1, 3),
        depth=_depth_at_rays(depth, spacing).flatten(1, 3),
        materials=_around_rays(materials, spacing).flatten(1, 3),
        picture=patches.flatten(0, 1).movedim(-1, 1),
        weight=_weight((where + 0.5) / data.size, features, choice).flatten(0, 1)[:, None],
        actions=data.actions[owner, view],
        joints=data.joints[owner, view],
    )


def _squares(patches: Float[Tensor, "pv k h w c"], spacing: int) -> Float[Tensor, "pv k s s d d c"]:
    """Return the square of pixels about each ray."""
    return patches.unflatten(3, (-1, spacing)).unflatten(2, (-1, spacing)).transpose(3, 4)


def _around_rays(patches: Float[Tensor, "pv k h w c"], spacing: int) -> Float[Tensor, "pv k s s c"]:
    """Return the mean of each ray's square.

    A ray stands for all of it: an edge inside shows as partial coverage, from which a super-resolution can tell where
    it runs.
    """
    return _squares(patches, spacing).mean(dim=(4, 5))


def _depth_at_rays(depth: Float[Tensor, "pv k h w"], spacing: int) -> Float[Tensor, "pv k s s"]:
    """Return the depth at the rays (of the four pixels that meet there), 0 where these do not lie on one surface."""
    low, high = (spacing - 1) // 2, spacing // 2 + 1
    near = _squares(depth[..., None], spacing)[:, :, :, :, low:high, low:high, 0].flatten(4)
    one_surface = (near.amin(-1) > 0) & (near.amax(-1) - near.amin(-1) < 0.03)
    return near.mean(-1) * one_surface


def _patch_pixels(
    alpha: Float[Tensor, "n h w"],
    features: Float[Tensor, "n f 3"],
    choice: PatchChoice,
    spacing: int,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "n k d"], Int[Tensor, "n k d"]]:
    """Return the rows and columns of the chosen patches' pixels."""
    size, extent = alpha.shape[-1], choice.side * spacing
    cell = min(_CELL, size)
    weight = F.avg_pool2d(alpha[:, None], cell).flatten(1) + choice.background
    cells = torch.multinomial(weight, choice.patches, replacement=True, generator=generator)
    corner = torch.stack([cells % (size // cell), torch.div(cells, size // cell, rounding_mode="floor")], dim=-1) * cell
    centre = corner + torch.randint(cell, corner.shape, generator=generator)
    at_feature = torch.rand(cells.shape, generator=generator) < choice.feature_share
    chosen = torch.multinomial(features[..., 2] + 1e-6, choice.patches, replacement=True, generator=generator)
    feature = features.gather(1, chosen[..., None].expand(-1, -1, 3))
    at_feature &= feature[..., 2] > 0
    scatter = torch.randn(centre.shape, generator=generator) * choice.feature_size
    there = ((feature[..., :2] + scatter) * size).long()
    start = (torch.where(at_feature[..., None], there, centre) - extent // 2).clamp(0, size - extent)
    step = torch.arange(extent)
    return start[..., 1, None] + step, start[..., 0, None] + step


def _weight(
    where: Float[Tensor, "pv k h w 2"], features: Float[Tensor, "pv f 3"], choice: PatchChoice
) -> Float[Tensor, "pv k h w"]:
    weight = torch.ones(where.shape[:-1])
    if choice.feature_weight:
        for feature in features.unbind(1):  # one at a time: the array of all distances would be large
            apart = (where - feature[:, None, None, None, :2]).square().sum(-1)
            bell = (-apart / (2 * choice.feature_size**2)).exp()
            weight += choice.feature_weight * bell * feature[:, 2, None, None, None]
    return weight
