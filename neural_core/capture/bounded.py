# SPDX-License-Identifier: Apache-2.0
"""A quadratic with bounds: the inner problem of every step of the face fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUNDS = 30


def minimise(hessian: Array, gradient: Array, low: Array, high: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return argmin of 1/2 x H x + g x over low <= x <= high, and which numbers are free (not held by a bound).

    A projected Newton method (Bertsekas 1982): the numbers at a bound that the gradient pushes outwards are held, the
    others take a Newton step, clipped and shortened until the value falls.

    Args:
        hessian: [n, n] symmetric, positive definite.
        gradient: [n] at x = 0.
        low: [n] at most 0, may be -inf.
        high: [n] at least 0, may be inf.
    """
    x = np.zeros_like(gradient)
    tolerance = 1e-10 * (1 + np.abs(gradient).max(initial=0.0))
    free = np.ones(len(x), bool)
    for _ in range(_ROUNDS):
        slope = hessian @ x + gradient
        free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
        if not free.any() or np.abs(slope[free]).max() < tolerance:
            break
        step = np.zeros_like(x)
        step[free] = -np.linalg.solve(hessian[np.ix_(free, free)], slope[free])
        x = _descend(hessian, gradient, x, step, low, high)
    return x, free


def _descend(hessian: Array, gradient: Array, x: Array, step: Array, low: Array, high: Array) -> Array:
    """Return the clipped step, halved until it lowers the value."""

    def value(at: Array) -> float:
        return float(0.5 * at @ hessian @ at + gradient @ at)

    here, length = value(x), 1.0
    for _ in range(20):
        there = np.clip(x + length * step, low, high)
        if value(there) < here:
            return there
        length /= 2
    return x
