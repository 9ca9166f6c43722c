# SPDX-License-Identifier: Apache-2.0
"""Small named functions of training progress, 0 at the start and 1 at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable


def warmup_cosine(progress: float, warmup: float, floor: float = 0.02) -> float:
    """Factor for the learning rate: linear rise over `warmup`, then half a cosine down to `floor`.

    Args:
        progress: share of the run done, 0..1 (clamped).
        warmup: share of the run over which the factor rises from 0 to 1.
        floor: factor at the end.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    position = (progress - warmup) / (1 - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * position))


def lazy_share(every: Iterable[int]) -> float:
    """Share of a network's optimiser steps that its main phase makes: the c of StyleGAN2 (appendix B).

    A regulariser that runs at every k-th step adds 1/k optimiser steps a step. So that Adam moves as far and forgets as
    much per step as without them, its rate becomes `c lr` and its betas `beta ** c`: c = 1 / (1 + sum 1/k), which is
    k / (k + 1) for one regulariser.

    Args:
        every: k of each lazy regulariser.
    """
    return 1 / (1 + sum(1 / k for k in every))


def half_life_decay(batch: int, images: int, kimg: float, rampup: float) -> float:
    """Decay per step of an average that forgets half within `kimg` thousand pictures (StyleGAN2-ADA's `ema_kimg`).

    Args:
        batch: pictures a step.
        images: pictures seen so far.
        kimg: half-life in thousands of pictures.
        rampup: early the half-life is at most this share of the pictures seen; 0 for no such limit.
    """
    half_life = kimg * 1000
    if rampup:
        half_life = min(half_life, images * rampup)
    return 0.5 ** (batch / half_life) if half_life else 0.0


def early_decay(decay: float, step: int) -> float:
    """Decay per step that is at most (1 + step) / (10 + step), so that an average forgets its start quickly."""
    return min(decay, (1 + step) / (10 + step))
