# SPDX-License-Identifier: Apache-2.0
"""One thread reads requests, one computes: so a cancel is seen while work goes on. Standard library only."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import protocol
from ..errors import PortraitError, ProtocolError, as_portrait_error, try_smaller
from ..progress import Report

if TYPE_CHECKING:  # it needs torch, which may be missing; then `hello` says so
    from .engine import Engine

PROGRESS_INTERVAL_S = 0.05


class Server:
    """Answers requests, one after another, and stops the running one when it is cancelled."""

    def __init__(self, sink: protocol.ByteSink, device: str, on_end: Callable[[int], object]) -> None:
        """Prepare, without importing anything heavy.

        Args:
            sink: where answers go.
            device: what `devices.choose` understands.
            on_end: called by the reading thread with the exit code, when requests end or are nonsense.
        """
        self._sink = sink
        self._device = device
        self._on_end = on_end
        self._writing = threading.Lock()
        self._requests: queue.SimpleQueue[protocol.Message | None] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._engine: Engine | None = None

    def listen(self, source: protocol.ByteSource) -> threading.Thread:
        """Start the thread that reads requests."""
        thread = threading.Thread(target=self._read, args=(source,), name="requests", daemon=True)
        thread.start()
        return thread

    def work(self) -> None:
        """Answer requests until there are no more."""
        while (request := self._requests.get()) is not None:
            self._answer(request)
            self._cancelled.discard(request.id)

    def _read(self, source: protocol.ByteSource) -> None:
        code = 0
        try:
            while (request := protocol.read(source)) is not None:
                if isinstance(request, protocol.Cancel):
                    self._cancelled.add(request.target)
                    self._send(protocol.Done(request.id))
                elif isinstance(request, protocol.REQUESTS):
                    self._requests.put(request)
                else:
                    raise ProtocolError(f'"{request.type}" is an answer, not a request.')
        except ProtocolError as error:
            code = 1
            self._send(protocol.Error(-1, error.kind, error.message, error.hint))
        except OSError:
            code = 1
        self._requests.put(None)
        self._on_end(code)

    def _answer(self, request: protocol.Message) -> None:
        """Run one request, sending its answers; whatever fails becomes an `error`."""
        last_stage, last_time = "", 0.0

        def report(stage: str, done: int, total: int) -> None:
            nonlocal last_stage, last_time
            if request.id in self._cancelled:
                raise PortraitError("Cancelled.", kind="cancelled")
            now = time.monotonic()
            if stage != last_stage or now - last_time >= PROGRESS_INTERVAL_S:
                last_stage, last_time = stage, now
                self._send(protocol.Progress(request.id, stage, done, total))

        try:
            for answer in self._start_engine(report).answer(request, report):
                self._send(answer)
        except Exception as error:
            self._send(_as_answer(request, error))

    def _start_engine(self, report: Report) -> Engine:
        """Return the engine; the first request imports torch for it."""
        if self._engine is None:
            report("Starting engine", 0, 1)
            try:
                from .engine import Engine
            except (ImportError, OSError) as error:  # OSError: a library of torch's that does not load
                name = getattr(error, "name", None) or "its packages"
                raise PortraitError(
                    f"That Python cannot load {name} ({error}).",
                    "Choose the Python that has PyTorch in the add-on's preferences, or install neural-portrait there.",
                    kind="engine",
                ) from error
            self._engine = Engine(self._device, self._send)
        return self._engine

    def _send(self, message: protocol.Message) -> None:
        try:
            with self._writing:
                protocol.write(self._sink, message)
        except OSError:
            # Nobody reads any more.
            self._on_end(1)


def _as_answer(request: protocol.Message, error: Exception) -> protocol.Error:
    """Return the `error` answer for an exception, and log what is not merely a sentence for the user."""
    trace = "".join(traceback.format_exception(error))
    if not isinstance(error, PortraitError):
        sys.stderr.write(trace)
        error = as_portrait_error(error)
    if error.kind == "memory":
        error.hint = next(
            (try_smaller(name, getattr(request, name) // 2) for name in ("size", "detail") if hasattr(request, name)),
            error.hint,
        )
    return protocol.Error(request.id, error.kind, error.message, error.hint, trace[-8000:])
