# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that were drawn already, by the key of what they show, in memory up to a limit. Pure."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

LIMIT_BYTES = 1 << 28
"""256 MiB: 256 pictures of 512 x 512."""


class PictureCache:
    """The newest pictures; what was not asked for longest goes first."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._pictures: OrderedDict[str, np.ndarray] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    @property
    def nbytes(self) -> int:
        """Return how much memory the pictures take."""
        return self._bytes

    def get(self, key: str) -> np.ndarray | None:
        """Return a picture [h, w, 4] uint8, None if it is not here."""
        if key not in self._pictures:
            return None
        self._pictures.move_to_end(key)
        return self._pictures[key]

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep a picture, in the place of an older one of the same key; one above the limit is not kept."""
        old = self._pictures.pop(key, None)
        self._bytes -= old.nbytes if old is not None else 0
        if pixels.nbytes > self._limit:
            return
        self._pictures[key] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > self._limit:
            _, dropped = self._pictures.popitem(last=False)
            self._bytes -= dropped.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._pictures.clear()
        self._bytes = 0


# One for all portraits of a session, whoever drew them: keys tell them apart.
drawn = PictureCache()
