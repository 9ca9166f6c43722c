# SPDX-License-Identifier: Apache-2.0
"""Data sets that go on to the next item where one is damaged, and remember which for all processes that read them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from neural_core.errors import InputError

_PATIENCE = 100
"""So many damaged items in a row end the run: a disk that is gone rather than a few bad files."""

Item = TypeVar("Item")


class SkippingSet(Dataset[Item], Generic[Item]):
    """A data set whose items are read when they are asked for.

    In the place of an item that cannot be read stands the next one that can. Which one that is depends on the files
    alone, so all processes of a run agree. Damage is marked in shared memory: what a worker of a `DataLoader` finds,
    `skipped` tells in the process that started it.
    """

    def __init__(self, readable: int, left_out: tuple[str, ...]) -> None:
        """Begin with nothing known to be damaged.

        Args:
            readable: how many items `read` knows.
            left_out: a sentence about everything that is no item at all.
        """
        self._damaged = torch.zeros(readable, dtype=torch.bool).share_memory_()
        self._left_out = left_out

    @abstractmethod
    def read(self, place: int) -> Item:
        """Return an item. Raises InputError if a file of it is damaged."""

    @abstractmethod
    def name(self, place: int) -> str:
        """Return what the user knows an item by."""

    @property
    def damaged(self) -> int:
        """How many items were found to be damaged so far, in all processes that share this data set."""
        return int(self._damaged.sum())

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence about everything that is left out, as far as it is known by now."""
        return (*self._left_out, *(str(self._reason(place)) for place in self._damaged.nonzero().flatten().tolist()))

    def next_readable(self, place: int) -> Item:
        """Return the item at a place, or the first after it that can be read, going round.

        Raises:
            InputError: a hundred items in a row, or all, are damaged.
        """
        tries = min(len(self._damaged), _PATIENCE)
        for candidate in (place + np.arange(tries)) % len(self._damaged):
            if self._damaged[candidate]:
                continue
            try:
                return self.read(int(candidate))
            except InputError:
                self._damaged[candidate] = True
        first = self._reason(place)
        raise InputError(f"Of the data {tries} items in a row cannot be used. The first: {first.message}", first.hint)

    def _reason(self, place: int) -> InputError:
        """Return why an item is left out, by trying again: marks travel between processes, reasons do not."""
        try:
            self.read(place)
        except InputError as error:
            return error
        return InputError(f"{self.name(place)}: it could not be read before.")
