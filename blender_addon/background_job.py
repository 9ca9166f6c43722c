# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside the window that runs programs: on a thread, with progress and a log, and cancelled at any moment.

Knows nothing of bpy. Programs get a process group of their own: a cancel ends pip with everything that it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .neural_core import errors
from .worker_client import host_free_environment

LOG_LINES = 400


class Job:
    """Work on a thread. The window reads `state`, `stage`, `fraction` and `log`; then `result` or `error`.

    `state` is "running", "done", "failed" or "cancelled".
    """

    def __init__(self, title: str, work: Callable[[Job], Any]) -> None:
        self.title = title
        self.state = "running"
        self.stage = title
        self.fraction = 0.0
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.result: Any = None
        self.error: errors.PortraitError | None = None
        self._work = work
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False
        self._thread = threading.Thread(target=self.run, name="portrait-setup", daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of a job that was started; False if the time is over."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Do the work to its end on this thread. Whatever fails becomes `error`."""
        try:
            self.result = self._work(self)
            self.state = "done"
        except Exception as error:
            self.error = errors.as_portrait_error(_as_sentence(error))
            self.state = "cancelled" if self.error.kind == "cancelled" else "failed"

    def cancel(self) -> None:
        """Kill what runs; the job then ends as cancelled."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                _kill_group(self._process)

    def say(self, stage: str, fraction: float) -> None:
        """Tell how far it is. Raises PortraitError of kind "cancelled" if it is to stop."""
        self.stage, self.fraction = stage, fraction
        self._check_cancelled()

    def command(self, arguments: Sequence[str], on_line: Callable[[str], bool] = lambda line: True) -> int:
        """Run a program to its end and return its exit code.

        Args:
            arguments: the command line.
            on_line: gets every line of its output, stderr among it; False keeps the line out of the log.

        Raises:
            OSError: if it cannot be started.
            PortraitError: kind "cancelled".
        """
        self.log.append("$ " + shell(arguments))
        with self._lock:
            if self._cancelled:
                raise _cancelled()
            self._process = process = subprocess.Popen(
                list(arguments),
                env={**host_free_environment(), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PIP_NO_INPUT": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        assert process.stdout is not None
        try:
            with process.stdout:
                for data in process.stdout:
                    line = data.decode("utf-8", errors="replace").rstrip()
                    if line and on_line(line):
                        self.log.append(line)
            code = process.wait()
        finally:
            with self._lock:
                self._process = None
        self._check_cancelled()
        return code

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise _cancelled()


def shell(arguments: Sequence[str]) -> str:
    """Return a command line that a user can paste into a terminal of this system."""
    if sys.platform == "win32":
        return subprocess.list2cmdline(list(arguments))
    import shlex

    return shlex.join(arguments)


def _cancelled() -> errors.PortraitError:
    return errors.PortraitError("Cancelled.", kind="cancelled")


def _as_sentence(error: Exception) -> Exception:
    """Return an error of the system as a sentence of ours."""
    if isinstance(error, OSError) and not isinstance(error, errors.PortraitError):
        place = f' "{error.filename}"' if error.filename else ""
        return errors.PortraitError(
            f"The set-up failed at{place} ({error.strerror or error}).", "See the log.", kind="setup"
        )
    return error


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            capture_output=True, check=False, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
