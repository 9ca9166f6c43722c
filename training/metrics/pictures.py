# SPDX-License-Identifier: Apache-2.0
"""Comparisons of pictures that need no network: PSNR, depth error, pairwise difference."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

GREY = 0.5
"""Value of the background that pictures with alpha are laid over before they are compared."""


def over_grey(premultiplied: Float[Tensor, "b 3 h w"], alpha: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Lay colours that are already multiplied by alpha (0..1) over mid grey."""
    return premultiplied + GREY * (1 - alpha)


def psnr(picture: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each picture in dB, for values in 0..1: -10 log10(mean squared error)."""
    return -10 * (picture - truth).square().flatten(1).mean(1).log10()


def median_depth_error(
    depth: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], valid: Tensor, head_depth: float
) -> Float[Tensor, " b"]:
    """Median over each picture's valid pixels of |depth - truth|, as a share of the head's depth (same unit)."""
    error = (depth - truth).abs() / head_depth
    return torch.stack([e[v].median() for e, v in zip(error, valid, strict=True)])


def median_pairwise_l1(pictures: Float[Tensor, "n 3 h w"]) -> float:
    """Median over all pairs of the mean absolute difference: how different the people of a set look."""
    flat = pictures.flatten(1)
    distances = torch.cdist(flat, flat, p=1) / flat.shape[1]
    return float(distances[torch.triu_indices(len(flat), len(flat), 1).unbind()].median())
