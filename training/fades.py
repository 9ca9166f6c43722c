# SPDX-License-Identifier: Apache-2.0
"""What changes with the number of training pictures seen, linearly and then no more."""

from __future__ import annotations


def fade(images: int, kimg: float, start: float, end: float) -> float:
    """Return a value that goes from `start` to `end` while the first `kimg` thousand pictures are seen.

    A fade over 0 thousand pictures has ended before it begins.
    """
    share = 1.0 if kimg <= 0 else min(images / (kimg * 1000), 1.0)
    return start + (end - start) * share
