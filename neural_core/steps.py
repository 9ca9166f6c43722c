# SPDX-License-Identifier: Apache-2.0
"""Long work as a generator that yields its progress, so that whoever runs it can show it and stop it. Stdlib only."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """Progress of long work: `done` of `total` pieces of the named stage."""

    stage: str
    done: int
    total: int


Steps = Generator[Step, None, T]
"""Work that yields `Step`s and returns a T. Closing it stops the work; it then leaves nothing behind."""


def run(steps: Steps[T], on_step: Callable[[Step], object] | None = None) -> T:
    """Run the work to its end, telling `on_step` of each step, and return its result."""
    try:
        while True:
            step = next(steps)
            if on_step:
                on_step(step)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
