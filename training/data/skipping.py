# SPDX-License-Identifier: Apache-2.0
"""Data sets that read on demand, go on to the next item where one is damaged, and remember which in all processes."""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from neural_core.errors import InputError

from .mirroring import mirrored

_PATIENCE = 100
"""So many damaged items in a row end the run: a disk that is gone rather than a few bad files."""
_SAID = 10
"""So many sentences about what is no item are said, lest a folder of a thousand other pictures fills the screen."""

Item = dict[str, Any]
"""`picture` [..., c, h, w] uint8, `label` [..., 25], `index` (which item it really is), and what a data set adds."""


class SkippingSet(Dataset[Item]):
    """A data set whose items are read when they are asked for, doubled by mirroring if wanted.

    In the place of an item that cannot be read stands the next one that can. Which one that is depends on the files
    alone, so all processes of a run agree. Whoever finds damage says so on standard error, once, and marks it in shared
    memory: what a worker of a `DataLoader` finds, `damaged` and `skipped` tell in the process that started it.
    """

    def __init__(self, readable: int, left_out: tuple[str, ...], mirror: bool = False) -> None:
        """Begin with nothing known to be damaged.

        Args:
            readable: how many items `read` knows.
            left_out: a sentence about everything that is no item at all.
            mirror: items n..2n-1 are the mirror images of items 0..n-1, as in EG3D, and so are their cameras.
        """
        self._damaged = torch.zeros(readable, dtype=torch.bool).share_memory_()
        self._left_out, self._mirror = left_out, mirror
        more = [f"{len(left_out) - _SAID} more."] if len(left_out) > _SAID else []
        for sentence in [*left_out[:_SAID], *more]:
            print(f"left out: {sentence}", file=sys.stderr)

    @abstractmethod
    def read(self, place: int) -> Item:
        """Return an item that is not mirrored. Raises InputError if a file of it is damaged."""

    @abstractmethod
    def name(self, place: int) -> str:
        """Return what the user knows an item by."""

    def __len__(self) -> int:
        return len(self._damaged) * (2 if self._mirror else 1)

    def __getitem__(self, index: int) -> Item:
        """Return an item. Raises InputError if a hundred in a row, or all, are damaged."""
        in_mirror, place = divmod(range(len(self))[index], len(self._damaged))
        item = self._next_readable(place)
        return {**mirrored(item), "index": item["index"] + len(self._damaged)} if in_mirror else item

    @property
    def damaged(self) -> int:
        """How many items were found to be damaged so far, in all processes that share this data set."""
        return int(self._damaged.sum())

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence about everything that is left out, as far as it is known by now."""
        return (*self._left_out, *(str(self._reason(place)) for place in self._damaged.nonzero().flatten().tolist()))

    def _next_readable(self, place: int) -> Item:
        tries = min(len(self._damaged), _PATIENCE)
        for candidate in (place + np.arange(tries)) % len(self._damaged):
            if self._damaged[candidate]:
                continue
            try:
                return self.read(int(candidate))
            except InputError as error:
                self._damaged[candidate] = True
                print(f"left out: {error}", file=sys.stderr, flush=True)
        first = self._reason(place)
        raise InputError(f"Of the data {tries} items in a row cannot be used. The first: {first.message}", first.hint)

    def _reason(self, place: int) -> InputError:
        """Return why an item is left out, by trying again: marks travel between processes, reasons do not."""
        try:
            self.read(place)
        except InputError as error:
            return error
        return InputError(f"{self.name(place)}: it could not be read before.")
