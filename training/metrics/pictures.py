# SPDX-License-Identifier: Apache-2.0
"""Comparisons of pictures that need no network: PSNR, SSIM, L1, depth error, pairwise difference."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

GREY = 0.5
"""Value of the background that pictures with alpha are laid over before they are compared."""


def over_grey(premultiplied: Float[Tensor, "b 3 h w"], alpha: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Lay colours that are already multiplied by alpha (0..1) over mid grey."""
    return premultiplied + GREY * (1 - alpha)


def psnr(picture: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each picture in dB, for values in 0..1: -10 log10(mean squared error)."""
    return -10 * (picture - truth).square().flatten(1).mean(1).log10()


def l1(picture: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Mean absolute difference of each picture's values, 0..1 (Real3D-Portrait's L1, which names no range)."""
    return (picture - truth).abs().flatten(1).mean(1)


SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
"""Side and standard deviation, in pixels, of the Gaussian window in which SSIM compares (Wang et al. 2004)."""


def ssim(picture: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Structural similarity of each picture, values in 0..1 (Wang et al. 2004, eq. 13): 1 for equal pictures.

        (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1) (sx^2 + sy^2 + C2)),  C1 = 0.01^2,  C2 = 0.03^2

    with means m and (co)variances s under the window around each pixel, averaged over pixels and channels.

    Raises:
        ValueError: the pictures are smaller than the window.

    Note:
        The paper compares grey pictures and says nothing of their edges. As libraries do, the three channels are
        compared by themselves, and only pixels whose whole window lies in the picture count.
    """
    if min(picture.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of {SSIM_WINDOW} x {SSIM_WINDOW} pixels at least")
    x, y = picture.flatten(0, 1)[:, None], truth.flatten(0, 1)[:, None]
    mean_x, mean_y, square_x, square_y, product = (_windowed(t) for t in (x, y, x * x, y * y, x * y))
    variances = square_x - mean_x.square() + square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similar = similar / ((mean_x.square() + mean_y.square() + c1) * (variances + c2))
    return similar.reshape(len(picture), -1).mean(1)


def _windowed(values: Float[Tensor, "n 1 h w"]) -> Tensor:
    """Mean under the Gaussian window, wherever the window fits in."""
    offsets = torch.arange(SSIM_WINDOW, dtype=values.dtype, device=values.device) - SSIM_WINDOW // 2
    weights = (-0.5 * (offsets / SSIM_SIGMA).square()).exp()
    weights = weights / weights.sum()
    return F.conv2d(F.conv2d(values, weights[None, None, :, None]), weights[None, None, None, :])


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
