# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process seen from Blender: start, send, receive, kill. Knows nothing of bpy.

Three threads serve one process: a writer (a full pipe must not freeze Blender), a reader that turns frames into
messages, and one that keeps the last lines of stderr. The caller's thread only ever touches queues, so Blender's data
stays with Blender's main thread: a timer calls `receive(0)` in the window, headless code calls `receive(timeout)`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from .neural_core import errors, protocol

RUN_WORKER = Path(__file__).with_name("run_worker.py")
LOG_LINES = 40
_HOST_VARIABLES = ("PYTHON", "LD_LIBRARY", "BLENDER_", "DYLD_")


@dataclass(frozen=True)
class WorkerSettings:
    """Which interpreter runs the worker, and with what."""

    python: str
    models_folder: str = ""
    device: str = "auto"


@dataclass(frozen=True)
class Stopped:
    """The process ended. `asked` is True when we ended it ourselves."""

    returncode: int
    log: tuple[str, ...]
    asked: bool
    problem: str = ""

    @property
    def reason(self) -> str:
        """Why it ended, as a part of a sentence."""
        text = "\n".join(self.log[-LOG_LINES:])
        if self.problem:
            return self.problem
        if "out of memory" in text.lower() or "MemoryError" in text or self.returncode == -9:
            return "killed, perhaps for lack of memory" if self.returncode == -9 else "out of memory"
        if self.returncode < 0:
            return f"killed by signal {-self.returncode}"
        return f"exit code {self.returncode}"


class WorkerProcess:
    """One running worker. Start another one after it stopped."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Start the process.

        Raises:
            PortraitError: kind "engine", if there is no such interpreter.
        """
        self.settings = settings
        self._events: queue.SimpleQueue[protocol.Message | Stopped] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._asked_to_stop = False
        self._problem = ""
        try:
            self._process = subprocess.Popen(
                command(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment(settings),
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise errors.PortraitError(
                f'The engine\'s Python cannot be started: "{settings.python}" ({error.strerror or error}).',
                "Choose the Python that has PyTorch in the add-on's preferences.",
                kind="engine",
            ) from error
        self._threads = [
            threading.Thread(target=work, name=f"portrait-{work.__name__}", daemon=True)
            for work in (self._write, self._keep_log, self._read)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def log(self) -> tuple[str, ...]:
        """Last lines of the worker's stderr, oldest first."""
        return tuple(self._log)

    @property
    def running(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def send(self, request: protocol.Message) -> None:
        """Queue a request; its answers come out of `receive`."""
        self._outbox.put(protocol.encode(request))

    def receive(self, timeout_s: float) -> protocol.Message | Stopped | None:
        """Return the next answer, `Stopped` once the process is gone, or None when the time is over."""
        try:
            return self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
        except queue.Empty:
            return None

    def kill(self) -> None:
        """End the process now. `Stopped` follows."""
        self._asked_to_stop = True
        self._outbox.put(None)
        if self.running:
            self._process.kill()

    def close(self, timeout_s: float = 2.0) -> None:
        """Ask the worker to leave by closing its input; kill it if it does not."""
        self._asked_to_stop = True
        self._outbox.put(None)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(timeout_s)

    # Threads --------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # A worker that died is reported by the reader; here the pipe is merely broken.
        with contextlib.suppress(OSError):
            while (data := self._outbox.get()) is not None:
                stdin.write(data)
                stdin.flush()
        with contextlib.suppress(OSError):
            stdin.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            while (message := protocol.read(stdout)) is not None:
                self._events.put(message)
        except errors.ProtocolError as error:
            # A killed worker may leave half a frame behind; only a living one speaks nonsense.
            if self.running:
                self._problem = f"it sent something that is no answer: {error.message}"
                self._process.kill()
        except (OSError, ValueError) as error:
            self._problem = f"its output cannot be read: {error}"
            self._process.kill()
        stdout.close()
        returncode = self._process.wait()
        self._threads[1].join(1.0)  # the last lines of the log say why
        self._outbox.put(None)
        self._events.put(Stopped(returncode, self.log, self._asked_to_stop, self._problem))

    def _keep_log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr:
            for line in stderr:
                self._log.append(line.decode("utf-8", errors="replace").rstrip())


def command(settings: WorkerSettings) -> list[str]:
    """Return the command line of the worker: isolated (`-I`), unbuffered, our own start script."""
    return [settings.python, "-I", "-u", str(RUN_WORKER), "--device", settings.device]


def host_free_environment() -> dict[str, str]:
    """Return Blender's environment without what would lead another Python astray."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_HOST_VARIABLES)}


def clean_environment(settings: WorkerSettings) -> dict[str, str]:
    """Return the environment of the worker."""
    environment = host_free_environment()
    if settings.models_folder:
        environment["NEURAL_PORTRAIT_MODELS"] = settings.models_folder
    if sys.platform == "win32":
        environment["PYTHONUTF8"] = "1"
    return environment
