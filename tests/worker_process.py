# SPDX-License-Identifier: Apache-2.0
"""A real worker process, spoken to by its pipes."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from neural_core import protocol

TIMEOUT_S = 120.0


class WorkerProcess:
    """Starts `python -m neural_core.worker` and collects its answers by request."""

    def __init__(self, root: Path, models: Path, start: tuple[str, ...] = ("-m", "neural_core.worker")) -> None:
        environment = {**os.environ, "NEURAL_PORTRAIT_MODELS": str(models), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-u", *start], cwd=root, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.answers: queue.SimpleQueue[protocol.Message | None] = queue.SimpleQueue()
        self.log = b""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._keep_log)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        while (message := protocol.read(self.process.stdout)) is not None:
            self.answers.put(message)
        self.answers.put(None)

    def _keep_log(self) -> None:
        self.log = self.process.stderr.read()

    def send(self, *requests: protocol.Message) -> None:
        for request in requests:
            protocol.write(self.process.stdin, request)

    def next(self) -> protocol.Message | None:
        """The next answer; None at the end of the stream."""
        return self.answers.get(timeout=TIMEOUT_S)

    def ask(self, request: protocol.Message) -> list[protocol.Message]:
        """Send a request, and return its answers up to `done` or `error`."""
        self.send(request)
        answers = []
        while not answers or not isinstance(answers[-1], (protocol.Done, protocol.Error)):
            answer = self.next()
            assert answer is not None, self.log
            assert answer.id == request.id
            answers.append(answer)
        return answers

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for the end of the process, and return its exit code."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


def wait_until(condition, seconds: float = 30.0) -> bool:
    """Whether the condition became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
