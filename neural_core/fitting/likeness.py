# SPDX-License-Identifier: Apache-2.0
"""How alike two pictures are, as something that an optimiser can follow, without a network.

Pivotal tuning measures with LPIPS, whose weights are not ours to ship. Absolute differences at several sizes say what
is where, differences of neighbouring pixels keep edges sharp, and structural similarity (Wang et al. 2004) minds
texture that both would smooth over.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LEVELS = 4
"""Sizes at which pictures are compared, each half of the one before."""
EDGES = 0.5
"""Weight of the edges beside the colours."""
STRUCTURE = 0.1
"""Weight of 1 - SSIM."""

_SMOOTH = 1e-3  # below this difference the absolute value is rounded off, so that its gradient ends
_WINDOW = 7  # pixels of SSIM's window
_C1, _C2 = 0.01**2, 0.03**2


def unlikeness(
    found: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Return how different two pictures are: 0 if they are equal, about 1 for black and white.

    Args:
        found: 0..1; the gradient flows here.
        wanted: 0..1.
        weight: how much every pixel matters, 0 or more.
    """
    share = weight / weight.mean().clamp(min=1e-6)
    total = STRUCTURE * (share * (1 - similarity(found, wanted))).mean()
    apart = found - wanted
    for level in range(LEVELS):
        total = total + (share * _size(apart)).mean() / LEVELS
        right, down = apart.diff(dim=3), apart.diff(dim=2)
        edges = (share[..., 1:] * _size(right)).mean() + (share[:, :, 1:] * _size(down)).mean()
        total = total + EDGES * edges / LEVELS
        if level + 1 < LEVELS and min(apart.shape[2:]) >= 4:
            apart, share = F.avg_pool2d(apart, 2), F.avg_pool2d(share, 2)
    return total


def similarity(found: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Return the structural similarity around every pixel, 1 where the pictures are equal."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False)

    first, second = mean(found), mean(wanted)
    spread = mean(found.square()) - first.square() + mean(wanted.square()) - second.square()
    together = mean(found * wanted) - first * second
    light = (2 * first * second + _C1) / (first.square() + second.square() + _C1)
    return light * (2 * together + _C2) / (spread + _C2)


def psnr(found: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]) -> float:
    """Return the peak signal-to-noise ratio of pictures in 0..1, in decibels, over the weighted pixels."""
    error = (weight * (found - wanted).square().mean(dim=1, keepdim=True)).sum() / weight.sum()
    return float(-10 * torch.log10(error.clamp(min=1e-10)))


def _size(x: Tensor) -> Tensor:
    """Return the absolute value, rounded at zero."""
    return (x.square() + _SMOOTH**2).sqrt() - _SMOOTH
