# SPDX-License-Identifier: Apache-2.0
"""How much a reconstruction depends on the view it was made from, and on the view it is looked at from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ViewVariance:
    """Figures of Coherent3D, in the unit of the scores (dB for PSNR)."""

    matrix: NDArray[np.float64]
    """[N, N] mean score over the frames: row i made from view i, column j looked at from view j."""
    synthesis: float
    """Synthesis quality: mean of all scores (eq. 12)."""
    nvs: float
    """Novel view synthesis quality: mean of the scores with i != j (eq. 13)."""
    nvv: float
    """Novel view variation: mean over frames and rows of the standard deviation along the row (eq. 14)."""
    ivv: float
    """Input view variation: mean over frames and columns of the standard deviation along the column (eq. 15)."""


def view_matrix(scores: NDArray[np.floating]) -> ViewVariance:
    """Return the figures of a clip's scores; lower variations are better.

    Coherent3D (triplane fusion for coherent 3D portraits, sections 4.2 and 4.4): each of N views of a frame serves as
    input once, and the person made from it is compared with the frame from all N views.

    Args:
        scores: [T, N, N] PSNR, LPIPS or another score of frame t, made from view i, looked at from view j; N >= 2.
            A paper's figure is the mean of several clips' figures.

    Raises:
        ValueError: the scores have another shape, or are not finite.

    Note:
        The paper does not say which standard deviation it takes: here the population's (divided by N, not N - 1).
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 3 or not len(scores) or scores.shape[1] != scores.shape[2] or scores.shape[1] < 2:
        raise ValueError(f"scores have the shape [frames, views, views] with two views at least, not {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores are finite numbers")
    novel = ~np.eye(scores.shape[1], dtype=bool)
    return ViewVariance(
        matrix=scores.mean(0),
        synthesis=float(scores.mean()),
        nvs=float(scores[:, novel].mean()),
        nvv=float(scores.std(axis=2).mean()),
        ivv=float(scores.std(axis=1).mean()),
    )
