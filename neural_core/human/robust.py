# SPDX-License-Identifier: Apache-2.0
"""Robust weights of least-squares fits whose data are partly of something else (hair on a face, say)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tukey(residuals: NDArray[np.float64], least_deviation: float = 0.1) -> NDArray[np.float64]:
    """Return biweights in 0..1: 0 beyond 4.685 robust standard deviations (Huber & Ronchetti 2009, section 4.8).

    Args:
        residuals: [n], any unit.
        least_deviation: what the standard deviation is at least, in that unit: smaller residuals are never outliers.
    """
    if not len(residuals):
        return residuals
    deviation = max(1.4826 * float(np.median(np.abs(residuals))), least_deviation)
    return np.clip(1 - (residuals / (4.685 * deviation)) ** 2, 0, None) ** 2


def shrinking(progress: float, first: float, last: float) -> float:
    """Return a bound that shrinks geometrically from first to last while progress goes from 0 to 1."""
    return first * (last / first) ** progress
