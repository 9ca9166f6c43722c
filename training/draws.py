# SPDX-License-Identifier: Apache-2.0
"""Random numbers that belong to a training sample, not to the process that happens to compute it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """The random numbers of one micro-batch in one phase of one step.

    Every sample has a stream of its own, keyed by the run's seed, the phase and the sample's global index, so a run
    draws the same on one process, on two, and after a resume. What all samples of a micro-batch share (the jitter along
    rays, say) comes from `generator`, keyed by the micro-batch. All numbers are made on the CPU, so that devices agree.
    """

    def __init__(self, seed: int, phase: str, samples: Sequence[int]) -> None:
        """Prepare the streams.

        Args:
            seed: of the run.
            phase: name of what they are drawn for; phases of one step are independent.
            samples: global indices of the micro-batch's samples: `step * batch + place in the batch`.
        """
        self._streams = [keyed_generator(seed, phase, sample) for sample in samples]
        self.generator = keyed_generator(seed, phase, "shared", *samples)
        """Shared by the micro-batch."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normals [samples, *shape]."""
        return torch.stack([torch.randn(shape, generator=stream) for stream in self._streams])

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), [samples, *shape]."""
        return torch.stack([torch.rand(shape, generator=stream) for stream in self._streams])

    def integers(self, high: int, *shape: int) -> Tensor:
        """Whole numbers in 0..high-1, [samples, *shape]."""
        return torch.stack([torch.randint(high, shape, generator=stream) for stream in self._streams])


def keyed_generator(*key: int | str) -> torch.Generator:
    """Return a generator whose numbers depend on the key alone; other keys give independent numbers."""
    return torch.Generator().manual_seed(_seed(key))


def seed_torch(*key: int | str) -> None:
    """Set torch's own generators, on all devices, by a key: networks draw their noise from them."""
    torch.manual_seed(_seed(key))


def _seed(key: tuple[int | str, ...]) -> int:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
