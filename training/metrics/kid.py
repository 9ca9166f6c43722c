# SPDX-License-Identifier: Apache-2.0
"""Kernel Inception distance: squared maximum mean discrepancy of features (Bińkowski et al. 2018, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neural_core.errors import InputError

SUBSETS = 100
SUBSET_SIZE = 1000


@dataclass(frozen=True)
class KernelDistance:
    """Estimates of the squared discrepancy on random subsets."""

    mean: float
    """Unbiased, so it may be slightly negative. Papers often print a hundred or a thousand times this."""
    deviation: float
    """Standard deviation over the subsets."""
    subset_size: int
    """Samples in a subset: 1000, or all of the smaller side if it has fewer."""


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """The paper's polynomial kernel (x . y / c + 1)^3 between rows [n, c] and [m, c]: [n, m]."""
    return (a @ b.T / a.shape[1] + 1).pow(3)


def squared_discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased estimate of the squared MMD between rows [n, c] and [m, c] (Gretton et al. 2012, eq. 3), a scalar."""
    n, m = len(a), len(b)
    own_a, own_b = kernel(a, a), kernel(b, b)
    within_a = (own_a.sum() - own_a.trace()) / (n * (n - 1))
    within_b = (own_b.sum() - own_b.trace()) / (m * (m - 1))
    return within_a + within_b - 2 * kernel(a, b).mean()


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> KernelDistance:
    """Mean discrepancy over random subsets of both sides, drawn without replacement.

    Args:
        a: features [n, c].
        b: features [m, c].
        subsets: how many pairs of subsets.
        subset_size: samples of each; the smaller side's number if that is less.
        seed: of the subsets.

    Raises:
        InputError: with fewer than two samples on a side.
    """
    size = min(subset_size, len(a), len(b))
    if size < 2:
        raise InputError(f"KID needs at least 2 samples on each side, and got {len(a)} and {len(b)}.", "")
    generator = torch.Generator().manual_seed(seed)
    a, b = a.double(), b.double()
    estimates = []
    for _ in range(subsets):
        chosen_a = torch.randperm(len(a), generator=generator)[:size]
        chosen_b = torch.randperm(len(b), generator=generator)[:size]
        estimates.append(squared_discrepancy(a[chosen_a], b[chosen_b]))
    found = torch.stack(estimates)
    return KernelDistance(float(found.mean()), float(found.std(correction=0)), size)
