# SPDX-License-Identifier: Apache-2.0
"""What the log says between two lines: means of losses and figures, speed, memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class Means:
    """Mean of each figure since the last line of the log, and the last learning rates."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self._sums: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Note a step's figures; not every step has all."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = [total + value, count + 1]

    def take(self) -> dict[str, float]:
        """Return all of them, and begin again."""
        values = self.last | {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return values

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"sums": self._sums, "last": self.last}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._sums, self.last = dict(state["sums"]), dict(state["last"])


class Line:
    """Speed and memory between two lines of the log; samples and states do not count as time."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._seconds, self._steps = device, 0.0, 0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure a step."""
        begin = time.monotonic()
        yield
        self._seconds, self._steps = self._seconds + time.monotonic() - begin, self._steps + 1

    def figures(self, batch: int) -> dict[str, float]:
        """Return images a second, seconds a thousand images, and the most memory that was in use so far."""
        rate = self._steps * batch / max(self._seconds, 1e-9)
        return {
            "images_per_second": rate,
            "seconds_per_kimg": 1000 / max(rate, 1e-9),
            "memory_mb": peak_memory_mb(self._device),
        }


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory that was in use, in MB: the GPU's for tensors, or the process's; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
