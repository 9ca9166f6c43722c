# SPDX-License-Identifier: Apache-2.0
"""Frequencies, noise and holes for augmentation (ADA, appendix B, the last two groups). EG3D uses neither."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .augment_geometry import chance, mirror_pad
from .draws import Draws

SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
"""Daubechies' wavelet with two vanishing moments, the edges of the frequency bands."""
BANDS = 4
"""Octaves from the low: up to an eighth of the highest frequency, then doubling."""
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Share of each band in the power of a typical picture; an amplified band costs the others so much."""
AMPLIFICATION = 1.0
"""Deviation of the binary logarithm of a band's factor."""
NOISE = 0.1
"""Deviation of the noise's own deviation, pictures in -1..1."""
HOLE = 0.5
"""Side of the hole, in picture sizes."""


def filter_bank() -> Float[Tensor, "bands taps"]:
    """Return the bands' filters, from the low, odd and centred; they add up to the identity.

    A halfband pair without phase, low(z) = H(z) H(1/z) / 2 and high = 1 - low, splits off the upper octave; what
    remains has the bands of half the frequencies, so the bank is built from the low end and stretched round by round.
    """
    wavelet = torch.tensor(SYM2, dtype=torch.float64)
    low = F.conv1d(wavelet[None, None], wavelet[None, None], padding=len(SYM2) - 1)[0, 0] / 2
    bank = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(BANDS - 1):
        stretched = torch.zeros(len(bank), 2 * bank.shape[1] - 1, dtype=torch.float64)
        stretched[:, ::2] = bank
        bank = F.conv1d(stretched[:, None], low.flip(0)[None, None], padding=len(low) - 1)[:, 0]
        high = -F.pad(low, [(bank.shape[1] - len(low)) // 2] * 2)
        high[bank.shape[1] // 2] += 1
        bank = torch.cat([bank, high[None]])
    return bank


def draw_gains(draws: Draws, probability: float) -> Float[Tensor, "b bands"]:
    """Return factors of the bands: each band is amplified by chance, and all are scaled to the same expected power."""
    power = torch.tensor(POWER, dtype=torch.float64)
    gains = torch.ones(1, BANDS, dtype=torch.float64)
    for band in range(BANDS):
        factor = torch.exp2(draws.normal().double() * AMPLIFICATION * chance(draws, probability))
        one = torch.ones(len(factor), BANDS, dtype=torch.float64)
        one[:, band] = factor
        gains = gains * one / (one.square() * power).sum(1, keepdim=True).sqrt()
    return gains


def amplify(image: Float[Tensor, "b c h w"], gains: Float[Tensor, "b bands"]) -> Float[Tensor, "b c h w"]:
    """Return pictures whose bands are amplified, along rows and along columns."""
    batch, channels = image.shape[:2]
    taps = (gains @ filter_bank()).to(image).repeat_interleave(channels, dim=0)[:, None]  # [b c, 1, taps]
    padded = mirror_pad(image, taps.shape[-1] // 2).flatten(0, 1)[None]
    rows = F.conv2d(padded, taps[:, :, None, :], groups=batch * channels)
    return F.conv2d(rows, taps[:, :, :, None], groups=batch * channels).view_as(image)


def draw_noise(draws: Draws, probability: float, shape: torch.Size) -> Float[Tensor, "b c h w"]:
    """Return normal noise whose deviation is half-normal, for some samples."""
    deviation = draws.normal().abs() * NOISE * chance(draws, probability)
    return draws.normal(*shape[1:]) * deviation[:, None, None, None]


def draw_hole(draws: Draws, probability: float, height: int, width: int) -> Float[Tensor, "b 1 h w"]:
    """Return 0 in a rectangle around a place in the picture, for some samples, and 1 elsewhere."""
    happens = chance(draws, probability)[:, None, None]
    x, y = draws.uniform(2)[:, :, None, None].unbind(1)
    near_x = (((torch.arange(width) + 0.5) / width)[None, None, :] - x).abs() < HOLE / 2
    near_y = (((torch.arange(height) + 0.5) / height)[None, :, None] - y).abs() < HOLE / 2
    return (~(near_x & near_y & happens)).float()[:, None]
