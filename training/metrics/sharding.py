# SPDX-License-Identifier: Apache-2.0
"""Items over processes: each takes every n-th, and the first gathers what all of them kept.

One process and many say the same: an item is measured alone, and what was kept is put back in the source's order.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import distributed

from neural_core.errors import InputError

from .protocol import Judge, Measured
from .sources import Source
from .worst import Worst


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Return whether this process sums up and writes."""
        return self.rank == 0


@contextmanager
def share_of_torchrun() -> Iterator[Share]:
    """Give this process's share of what `torchrun` started, or all of it; processes talk over gloo."""
    if "WORLD_SIZE" not in os.environ:
        yield Share()
        return
    distributed.init_process_group("gloo")
    try:
        yield Share(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@dataclass
class Kept:
    """What is left of a source's items: for each judge, by index."""

    measured: dict[str, dict[int, Measured]] = field(default_factory=dict)
    worst: dict[str, Worst] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    """Items that could not be read, and why."""

    def of(self, name: str) -> list[Measured]:
        """Return a judge's measurements in the order of the source."""
        return [measured for _, measured in sorted(self.measured[name].items())]

    def merge(self, other: Kept) -> None:
        """Take in what another process kept."""
        for name, measured in other.measured.items():
            self.measured[name] |= measured
            self.worst[name].merge(other.worst[name])
        self.left_out |= other.left_out


def measure(source: Source, judges: Mapping[str, Judge], share: Share) -> Kept | None:
    """Let judges measure all items of a source; the result is the first process's alone."""
    kept = Kept({name: {} for name in judges}, {name: Worst() for name in judges})
    clock = _Clock(source.what, len(range(share.rank, len(source), share.world)), share)
    for index in range(share.rank, len(source), share.world):
        try:
            item = source[index]
            found = {name: judge.measure(item) for name, judge in judges.items()}
        except InputError as error:
            kept.left_out[index] = str(error)
            continue
        for name, measured in found.items():
            if measured is not None:
                kept.worst[name].see(index, measured.cases)
                kept.measured[name][index] = Measured(measured.values)
        clock.tick()
    clock.end()
    if share.world == 1:
        return kept
    parts: list[Kept | None] | None = [None] * share.world if share.leads else None
    distributed.gather_object(kept, parts)
    if parts is None:
        return None
    for part in parts[1:]:
        assert part is not None
        kept.merge(part)
    return kept


class _Clock:
    """Says on standard error how far the first process is, and how long it will take."""

    def __init__(self, what: str, total: int, share: Share) -> None:
        self.what, self.total, self.done, self.world = what, total, 0, share.world
        self.quiet = not share.leads
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
