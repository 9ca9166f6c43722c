# SPDX-License-Identifier: Apache-2.0
"""How long work tells of its progress, and is stopped. Standard library only."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], object]
"""Called with a stage's name, steps done and steps in all, at least every 200 ms or so; may raise to stop the work,
which then leaves nothing behind."""


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def stage(report: Report, name: str) -> Callable[[int, int], None]:
    """Return `report` bound to one stage: a function of steps done and steps in all."""

    def tell(done: int, total: int) -> None:
        report(name, done, total)

    return tell
