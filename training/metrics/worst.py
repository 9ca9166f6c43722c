# SPDX-License-Identifier: Apache-2.0
"""The worst cases of a metric, kept while measuring, and the sheet that shows them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .protocol import Case

KEPT = 8
"""Cases on a sheet."""

_IN_A_ROW = 4


class Worst:
    """The worst cases seen so far: at most `KEPT` are in memory, however many come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, NDArray[np.uint8]]] = []

    def see(self, index: int, cases: Iterable[Case]) -> None:
        """Take the cases of an item in; of equally bad ones the earlier item stays."""
        for case in cases:
            entry = (case.badness, -index, case.picture)
            if len(self._heap) < KEPT:
                heapq.heappush(self._heap, entry)
            elif entry[:2] > self._heap[0][:2]:
                heapq.heapreplace(self._heap, entry)

    def merge(self, other: Worst) -> None:
        """Take in what another process kept."""
        for badness, negative, picture in other._heap:
            self.see(-negative, [Case(badness, picture)])

    def ranked(self) -> list[tuple[int, Case]]:
        """Return items' indices and cases, the worst first."""
        return [(-negative, Case(badness, picture)) for badness, negative, picture in sorted(self._heap)[::-1]]


def side_by_side(*pictures: Float[Tensor, "3 h w"]) -> NDArray[np.uint8]:
    """Return pictures of one height, 0..1, beside each other, for a case."""
    rows = [(picture.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy() for picture in pictures]
    return np.concatenate(rows, axis=1)


def sheet(cases: Sequence[Case]) -> NDArray[np.uint8]:
    """Return cases as one picture, four in a row, the worst first."""
    height = max(case.picture.shape[0] for case in cases)
    width = max(case.picture.shape[1] for case in cases)
    columns = min(_IN_A_ROW, len(cases))
    rows = -(-len(cases) // columns)
    canvas = np.full((rows * (height + 4), columns * (width + 4), 3), 255, np.uint8)
    for number, case in enumerate(cases):
        top, left = number // columns * (height + 4), number % columns * (width + 4)
        canvas[top : top + case.picture.shape[0], left : left + case.picture.shape[1]] = case.picture
    return canvas
