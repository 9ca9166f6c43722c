# SPDX-License-Identifier: Apache-2.0
"""What may end a run from outside: signals, and a lack of memory."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neural_core.errors import PortraitError, as_portrait_error


class StopSignal:
    """Notices SIGINT and SIGTERM, so that the loop can end with a saved state; a later second one ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0

    def note(self, number: int, frame: Any) -> None:
        """Take a signal. torchrun passes on what the terminal sent, too: what comes within seconds is the same one."""
        if self.asked and time.monotonic() - self._since > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not self.asked:
            self.asked, self._since = True, time.monotonic()


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Notice SIGINT and SIGTERM inside the block; afterwards they do what they did before."""
    stop = StopSignal()
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def enough_memory(what: str, hint: str) -> Iterator[None]:
    """Turn a lack of memory into a sentence that says for what, and how to do with less."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch's OutOfMemoryError is a RuntimeError
        if as_portrait_error(error).kind != "memory":
            raise
        raise PortraitError(f"There is not enough memory for {what}.", hint, "memory") from error
