# SPDX-License-Identifier: Apache-2.0
"""Do two sets of pictures have the same details at every scale? The sliced Wasserstein distance of their patches."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from neural_core.errors import InputError

PATCH = 7
"""Side of a patch in pixels of its level."""
PATCHES = 128
"""Patches taken from each picture at each level."""
DIRECTIONS = 512
"""Random directions on which the patches are projected."""
COARSEST = 16
"""Side of the smallest level in pixels."""
REPORTED = 1e3
"""The distances are given times this, as the paper's tables are."""

_BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)
_AT_A_TIME = 32  # directions; each costs one number per patch


def sliced_wasserstein(
    first: Float[Tensor, "n 3 r r"], second: Float[Tensor, "n 3 r r"], *, seed: int = 0
) -> dict[int, float]:
    """Return how far two sets of pictures are apart at each scale, times 1000; 0 for equal sets.

    SWD of progressive GANs (Karras et al. 2018, section 5). Laplacian pyramids of all pictures (Burt & Adelson 1983)
    reach from 16 x 16 to full size. From every picture, 128 patches of 7 x 7 pixels are taken at each level; the
    patches of a set are standardised by the mean and the deviation of each colour channel. The two clouds of
    147-dimensional patches are compared by their sliced Wasserstein distance with 512 random directions (Rabin et al.
    2011). The coarsest level tells of large structures and colour, the finest of edges and noise.

    Args:
        first: pictures of any range; a power of two wide, 16 or more.
        second: as many pictures of the same size.
        seed: of the places of the patches and of the directions; every level draws anew.

    Returns:
        Side of the level in pixels -> distance, from full size down to 16.

    Raises:
        InputError: the sets differ in number or size, are empty, or their size is no power of two from 16 on.

    Note:
        The paper takes 16384 pictures. The distance of two samples of one distribution is not 0 and shrinks as they
        grow: figures compare at the same number of pictures only, and are best read beside the distance between two
        halves of the true set. What the paper leaves open, and what is done: the pyramid's filter is Burt and
        Adelson's 1 4 6 4 1 / 16, mirrored at the edges; a patch lies wholly inside; the n-th pictures of both sets
        give their patches at the same places, so that a set is at distance 0 from itself.
    """
    _check(first, second)
    generator = torch.Generator().manual_seed(seed)
    distances = {}
    for a, b in zip(laplacian_pyramid(first), laplacian_pyramid(second), strict=True):
        corners = draw_corners(len(a), a.shape[-1], generator)
        axes = draw_directions(3 * PATCH**2, generator)
        here, there = (standardised(patches(level, corners)).flatten(1) for level in (a, b))
        distances[a.shape[-1]] = REPORTED * sliced_distance(here, there, axes)
    return distances


def _check(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or not len(first):
        raise InputError(
            f"The sliced Wasserstein distance compares sets of equal size, not {list(first.shape)} and "
            f"{list(second.shape)}.",
            "Take as many pictures of the one set as of the other, and make them equally large.",
        )
    size = first.shape[-1]
    if first.shape[-2] != size or size < COARSEST or size & (size - 1):
        raise InputError(
            f"The sliced Wasserstein distance needs square pictures of 16, 32, 64 ... pixels, not "
            f"{size} x {first.shape[-2]}.",
            "Resize them.",
        )


def laplacian_pyramid(pictures: Float[Tensor, "n 3 r r"]) -> list[Float[Tensor, "n 3 s s"]]:
    """Return the levels from full size to 16 x 16: what each loses on the way to the next, and what is left at last."""
    levels = []
    while pictures.shape[-1] > COARSEST:
        smaller = _smoothed(pictures)[..., ::2, ::2]
        levels.append(pictures - _enlarged(smaller))
        pictures = smaller
    return [*levels, pictures]


def _smoothed(pictures: Tensor) -> Tensor:
    """Convolve with 1 4 6 4 1 / 16 along rows and columns, mirroring at the outermost pixels."""
    weights = pictures.new_tensor(_BINOMIAL) / sum(_BINOMIAL)
    count = len(pictures)
    padded = F.pad(pictures, (2, 2, 2, 2), mode="reflect").flatten(0, 1)[:, None]
    smooth = F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None, :])
    return smooth.unflatten(0, (count, -1))[:, :, 0]


def _enlarged(pictures: Tensor) -> Tensor:
    """Twice the size: zeros between the pixels, then smoothed; four times as bright, since one pixel in four is lit."""
    sparse = pictures.new_zeros(*pictures.shape[:2], 2 * pictures.shape[2], 2 * pictures.shape[3])
    sparse[..., ::2, ::2] = 4 * pictures
    return _smoothed(sparse)


def draw_corners(count: int, size: int, generator: torch.Generator) -> Int64[Tensor, "count patches 2"]:
    """Return the row and column of the upper left pixel of each picture's patches, uniform where a patch fits in."""
    return torch.randint(size - PATCH + 1, (count, PATCHES, 2), generator=generator)


def draw_directions(dimension: int, generator: torch.Generator) -> Float[Tensor, "d directions"]:
    """Return unit vectors, uniform on the sphere, one a column."""
    return F.normalize(torch.randn(dimension, DIRECTIONS, generator=generator), dim=0)


def patches(level: Float[Tensor, "n 3 s s"], corners: Int64[Tensor, "n patches 2"]) -> Float[Tensor, "m 3 patch patch"]:
    """Return the patches of a level, picture by picture."""
    steps = torch.arange(PATCH)
    rows = (corners[..., :1] + steps)[..., :, None]
    columns = (corners[..., 1:] + steps)[..., None, :]
    picture = torch.arange(len(level))[:, None, None, None]
    return level.movedim(1, -1)[picture, rows, columns].flatten(0, 1).movedim(-1, 1)


def standardised(found: Float[Tensor, "m 3 p p"]) -> Float[Tensor, "m 3 p p"]:
    """Return patches with mean 0 and deviation 1 in each colour channel; a channel without any deviation becomes 0."""
    deviation, mean = torch.std_mean(found, dim=(0, 2, 3), correction=0, keepdim=True)
    return torch.where(deviation > 0, (found - mean) / deviation, 0.0)


def sliced_distance(a: Float[Tensor, "m d"], b: Float[Tensor, "m d"], axes: Float[Tensor, "d k"]) -> float:
    """Return the mean over directions of the Wasserstein-1 distance of two projected clouds of as many points.

    On a line the cheapest transport keeps the order (Rabin et al. 2011): mean |sorted a - sorted b|.
    """
    total = 0.0
    for part in axes.to(a).T.split(_AT_A_TIME):
        apart = (part @ a.T).sort().values - (part @ b.T).sort().values
        total += apart.abs().mean(1).sum().item()
    return total / axes.shape[1]
