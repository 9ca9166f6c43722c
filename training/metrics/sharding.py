# SPDX-License-Identifier: Apache-2.0
"""Items over processes: each takes every n-th, and the first gathers what all of them kept.

One process and many say the same: an item is measured alone, and what was kept is put back in the source's order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import distributed

from neural_core.errors import InputError, PortraitError

from ..distributed import World
from .protocol import Judge, Measured
from .sources import Source
from .worst import Worst

PATIENCE = 60.0
"""Minutes that a process waits for the others: their shares are alike, but not equally hard."""


@dataclass
class Kept:
    """What is left of a source's items: for each judge, by index."""

    measured: dict[str, dict[int, Measured]] = field(default_factory=dict)
    worst: dict[str, Worst] = field(default_factory=dict)
    left_out: dict[tuple[int, str], str] = field(default_factory=dict)
    """What could not be read, by item and judge, and why."""

    def of(self, name: str) -> list[Measured]:
        """Return a judge's measurements in the order of the source."""
        return [measured for _, measured in sorted(self.measured[name].items())]

    def not_read(self) -> dict[str, str]:
        """Return items by number, and why not; with the judges that lack them, where others could read something."""
        lacking: dict[tuple[int, str], list[str]] = {}
        for (index, name), why in sorted(self.left_out.items()):
            lacking.setdefault((index, why), []).append(name)
        everyone = set(self.measured)
        return {
            str(index) if everyone == set(names) else f"{index} ({', '.join(names)})": why
            for (index, why), names in lacking.items()
        }

    def merge(self, other: Kept) -> None:
        """Take in what another process kept."""
        for name, measured in other.measured.items():
            self.measured[name] |= measured
            self.worst[name].merge(other.worst[name])
        self.left_out |= other.left_out


def measure(source: Source, judges: Mapping[str, Judge], world: World) -> Kept | None:
    """Let judges measure all items of a source; the result is the first process's alone.

    What one judge cannot read is lost to that judge only.
    """
    kept = Kept({name: {} for name in judges}, {name: Worst() for name in judges})
    mine = range(world.rank, len(source), world.size)
    clock = _Clock(source.what, len(mine), world)
    for index in mine:
        try:
            item = source[index]
        except InputError as error:
            kept.left_out |= {(index, name): str(error) for name in judges}
            continue
        for name, judge in judges.items():
            try:
                measured = judge.measure(item)
            except InputError as error:
                kept.left_out[index, name] = str(error)
                continue
            if measured is not None:
                kept.worst[name].see(index, measured.cases)
                kept.measured[name][index] = Measured(measured.values)
        clock.tick()
    clock.end()
    if world.size == 1:
        return kept
    parts: list[Any] = [None] * world.size
    try:
        distributed.gather_object(kept, parts if world.first else None)
    except RuntimeError as error:
        raise PortraitError(
            "Another process of this evaluation stopped answering.", "Look at its messages, and start again."
        ) from error
    for part in parts[1:] if world.first else ():
        kept.merge(part)
    return kept if world.first else None


class _Clock:
    """Says on standard error how far the first process is, and how long it will take."""

    def __init__(self, what: str, total: int, world: World) -> None:
        self.what, self.total, self.done, self.world = what, total, 0, world.size
        self.quiet = not world.first
        self.begin = self.said = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def tick(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self.quiet or now - self.said < (0.5 if self.terminal else 30):
            return
        self.said = now
        left = (now - self.begin) / self.done * (self.total - self.done)
        self._say(f"{self.what}: {self.done * self.world} of {self.total * self.world}, {left / 60:.1f} min left")

    def end(self) -> None:
        if not self.quiet:
            self._say(f"{self.what}: done in {(time.monotonic() - self.begin) / 60:.1f} min")
            if self.terminal:
                print(file=sys.stderr)

    def _say(self, text: str) -> None:
        before, after = ("\r\033[K", "") if self.terminal else ("", "\n")
        print(before + text, end=after, file=sys.stderr, flush=True)
