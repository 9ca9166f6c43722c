# SPDX-License-Identifier: Apache-2.0
"""Small named functions of training progress, 0 at the start and 1 at the end."""

from __future__ import annotations

import math


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
