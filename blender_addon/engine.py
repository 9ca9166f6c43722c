# SPDX-License-Identifier: GPL-3.0-or-later
"""One task at a time on a worker that is started when needed and replaced after a crash. Knows nothing of bpy."""

from __future__ import annotations

import dataclasses
import re
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import answers, tasks
from .neural_core import __version__, errors, protocol
from .worker_client import Stopped, WorkerProcess, WorkerSettings

CANCEL_PATIENCE_S = 2.0
"""A worker that has not obeyed a cancel for so long is killed."""
SILENCE_S = 60.0
"""A busy worker that has said nothing for so long may hang; the user is asked."""
SLICE_S = 0.02
"""So long a result is brought into the scene before Blender has its turn again; a piece that was begun is finished."""
SOONEST_ESTIMATE_S, SMALLEST_SHARE = 2.0, 0.02
"""Before a stage has run so long and got so far, nothing is said of how long it will take."""
_STAGE_LENGTH = 80
_LEAVING_A_PORTRAIT = (protocol.Create, protocol.Reconstruct, protocol.Stylise, protocol.Person, protocol.Open)

Apply = Callable[[Any], Generator[None, None, Any] | None]
"""Gets what a task returned and does something with it, all at once or in pieces."""


@dataclass
class Status:
    """What the panel shows. `state` is idle, busy, passing (busy with what gives way), error or notice."""

    state: str = "idle"
    title: str = ""
    stage: str = ""
    fraction: float = 0.0
    started: float = 0.0
    message: str = ""
    hint: str = ""
    kind: str = ""
    report: str = ""
    smaller: tuple[str, int] | None = None
    """What to try when memory was short: "size" or "detail", and the number."""
    preview: np.ndarray | None = None
    """The newest picture of what is being made, [h, w, 4] uint8, first row on top."""

    stage_started: float = 0.0

    def go_on(self, stage: str, fraction: float) -> None:
        """Say how far the work is, 0..1 of a stage."""
        if stage != self.stage:
            self.stage_started = time.monotonic()
        self.stage, self.fraction = stage, fraction

    @property
    def elapsed_s(self) -> float:
        """Seconds since the task began."""
        return time.monotonic() - self.started

    @property
    def left_s(self) -> float | None:
        """Seconds that the stage takes yet if it goes on as it did; None before that can be told."""
        run = time.monotonic() - self.stage_started
        if run < SOONEST_ESTIMATE_S or self.fraction < SMALLEST_SHARE:
            return None
        return run * (1.0 - self.fraction) / self.fraction


@dataclass
class _Running:
    title: str
    task: tasks.Task
    on_result: Apply
    in_passing: bool = False
    request: protocol.Message | None = None
    label: str = ""
    reply_arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    kill_at: float | None = None
    result: Any = None
    pieces: Generator[None, None, Any] | None = None
    """What is left to do with the result, once there is one that is applied in pieces."""

    def close(self) -> None:
        """Give up, and take back what was done in pieces so far."""
        self.task.close()
        if self.pieces is not None:
            self.pieces.close()


class Engine:
    """Runs tasks. `step` is called from a timer or a loop, always on one thread, and calls the results' functions."""

    def __init__(self, settings: Callable[[], WorkerSettings]) -> None:
        self.status = Status()
        self.about: dict[str, Any] = {}
        self._settings = settings
        self._process: WorkerProcess | None = None
        self._running: _Running | None = None
        self._hello_id = 0
        self._next_id = 1
        self._open: set[str] = set()
        self._heard = time.monotonic()
        self._waiting: deque[tuple[str, tasks.Task, Apply]] = deque()

    # What the panel and the operators use ----------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """A task is running."""
        return self._running is not None

    @property
    def free(self) -> bool:
        """A task can be started: none is running, or one that gives way."""
        return self._running is None or self._running.in_passing

    @property
    def applying(self) -> bool:
        """The engine has answered; what it made is being brought into the scene."""
        return self._running is not None and self._running.pieces is not None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._process.pid if self._process and self._process.running else None

    @property
    def log(self) -> tuple[str, ...]:
        """Last lines of the worker's stderr."""
        return self._process.log if self._process else ()

    @property
    def device(self) -> str:
        """What the running worker computes on: "CPU", or the name of the GPU; "" while none runs."""
        device = str(self.about.get("device", ""))
        return "CPU" if device == "cpu" else str(self.about.get("device_name") or device)

    @property
    def silent_s(self) -> float:
        """Seconds since the busy worker said anything, or the user chose to wait on; 0 while it is not busy."""
        return time.monotonic() - self._heard if self.busy else 0.0

    def wait_on(self) -> None:
        """The user gives a silent worker more time."""
        self._heard = time.monotonic()

    def has_open(self, identifier: str) -> bool:
        """Return whether the running worker holds this portrait in memory."""
        return identifier in self._open

    def start(self, title: str, task: tasks.Task, on_result: Apply, in_passing: bool = False) -> None:
        """Begin a task; `on_result` gets what it returns. Failures go to `status`, never up.

        If `on_result` is a generator, it goes on from step to step, and the task lasts until it ends.
        A task that is done in passing gives way: it is dropped when another is started.

        Raises:
            UsageError: if another task is running.
        """
        if not self.free:
            raise errors.UsageError("The engine is busy.", "Wait for it, or cancel what it does.")
        self._drop_passing()
        self._heard = time.monotonic()
        state = "passing" if in_passing else "busy"
        self.status = Status(state, title, "Starting engine", started=time.monotonic())
        self._running = _Running(title, task, on_result, in_passing)
        try:
            self._ensure_process()
        except errors.PortraitError as error:
            self._fail(error)
            return
        if not self._hello_id:
            self._advance(None)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Titles of the tasks that wait for their turn, the next one first."""
        return tuple(title for title, _, _ in self._waiting)

    def enqueue(self, title: str, task: tasks.Task, on_result: Apply) -> None:
        """Begin a task as soon as no other runs. One that fails holds up those behind it until it is dismissed."""
        if self.free and not self._waiting:
            self.start(title, task, on_result)
        else:
            self._waiting.append((title, task, on_result))

    def forget_waiting(self, number: int) -> None:
        """Take a task out of the queue, by its place in `waiting`; a place that is none is ignored."""
        if 0 <= number < len(self._waiting):
            self._waiting[number][1].close()
            del self._waiting[number]

    def step(self, timeout_s: float = 0.0) -> bool:
        """Handle what has arrived, waiting at most `timeout_s` for it; True while a task is running."""
        if self._process is not None:
            event = self._process.receive(0.0 if self.applying else timeout_s)
            while event is not None:
                self._heard = time.monotonic()
                self._handle(event)
                event = self._process.receive(0.0) if self._process else None
        running = self._running
        if running and running.kill_at is not None and time.monotonic() > running.kill_at and self._process:
            self._process.kill()  # `Stopped` follows, and ends the task as cancelled
            running.kill_at = None
        if running is self._running and running and running.pieces:
            self._go_on_applying(running, running.pieces)
        if not self.busy and self._waiting and self.status.state != "error":
            self.start(*self._waiting.popleft())
        return self.busy

    def run(
        self,
        title: str,
        task: tasks.Task,
        timeout_s: float = float("inf"),
        watch: Callable[[Status], None] = lambda status: None,
    ) -> Any:
        """Run a task to its end and return its result: for headless Blender, which has no timers.

        `watch` is called whenever the stage changes.

        Raises:
            PortraitError: what went wrong; kind "timeout" when the time is over.
        """
        results: list[Any] = []
        self.start(title, task, results.append)
        deadline, stage = time.monotonic() + timeout_s, ""
        try:
            while self.step(0.05):
                if self.status.stage != stage:
                    stage = self.status.stage
                    watch(self.status)
                if time.monotonic() > deadline:
                    self._drop_process()
                    self._fail(errors.PortraitError(f"{title} took longer than {timeout_s:g} s.", kind="timeout"))
        except KeyboardInterrupt:
            self._drop_process()
            self._running = None
            raise
        if not results:
            status = self.status
            raise errors.PortraitError(status.message, status.hint, status.kind)
        return results[0]

    def cancel(self) -> None:
        """Ask the worker to stop the task; after two seconds it is killed."""
        running = self._running
        if running is not None and running.pieces is not None:
            self._fail(errors.PortraitError("Cancelled.", kind="cancelled"))
            return
        if running is None or running.kill_at is not None or self._process is None:
            return
        self.status.stage = "Cancelling"
        running.kill_at = time.monotonic() + CANCEL_PATIENCE_S
        if running.request is not None:
            self._send(protocol.Cancel(0, running.request.id))
        else:
            self._process.kill()  # still starting: there is nothing to lose

    def apply_anew(self) -> None:
        """Take back what was done with a result so far, and begin it again: everything else becomes different now."""
        running = self._running
        if running is not None and running.pieces is not None:
            running.pieces.close()
            running.pieces = running.on_result(running.result)

    def dismiss(self) -> None:
        """Clear the message that the panel shows."""
        if not self.busy:
            self.status = Status()

    def notice(self, message: str, hint: str = "") -> None:
        """Show a sentence that is no error until it is dismissed."""
        self.status = Status("notice", message=message, hint=hint)

    def fail(self, error: errors.PortraitError) -> None:
        """Show an error of the add-on's own side."""
        self._fail(error)

    def stop(self) -> None:
        """End the worker and forget its task and those that wait; the next task starts a new worker."""
        while self._waiting:
            self.forget_waiting(0)
        patience = 0.0 if self.busy else CANCEL_PATIENCE_S  # who works may not listen, and the window does not wait
        if self._running is not None:
            self._running.close()
            self._running = None
            self.status = Status()
        self._drop_process(patience)

    def restart(self) -> None:
        """Give a silent worker up; the next task starts a new one."""
        title = self.status.title
        self.stop()
        self.notice(f"{title}: stopped, the engine did not answer. The scene is unchanged.", "It starts anew.")

    def _drop_passing(self) -> None:
        """Forget the running task; the worker is told, and what it still answers is for nobody."""
        running, self._running = self._running, None
        if running is not None:
            running.close()
            if running.request is not None and self._process is not None:
                self._send(protocol.Cancel(0, running.request.id))

    # The worker ------------------------------------------------------------------------------------------------------

    def _ensure_process(self) -> None:
        settings = self._settings()
        if self._process and (not self._process.running or self._process.settings != settings):
            self._drop_process()
        if self._process is None:
            self._process = WorkerProcess(settings)
            self._hello_id = self._send(protocol.Hello(0, __version__))

    def _drop_process(self, patience_s: float = 0.0) -> None:
        process, self._process = self._process, None
        self._hello_id = 0
        self._open.clear()
        self.about = {}
        if process is not None:
            process.close(patience_s)

    def _send(self, request: protocol.Message) -> int:
        assert self._process is not None
        request = dataclasses.replace(request, id=self._next_id)
        self._next_id += 1
        self._process.send(request)
        if self._running is not None and not isinstance(request, (protocol.Hello, protocol.Cancel)):
            self._running.request = request
        return request.id

    def _handle(self, event: protocol.Message | Stopped) -> None:
        if isinstance(event, Stopped):
            self._stopped(event)
        elif self._hello_id and event.id == self._hello_id:
            self._greeted(event)
        elif self._running is not None and self._running.request and event.id == self._running.request.id:
            self._answer(self._running, event)
        # Anything else answers a request that nobody waits for any more.

    def _greeted(self, event: protocol.Message) -> None:
        if isinstance(event, protocol.Error):
            self._fail(errors.PortraitError(event.message, event.hint, event.kind), event.trace)
            self._drop_process()
        elif isinstance(event, protocol.Done):
            self._hello_id = 0
            self.about = event.fields
            version = event.fields.get("version")
            if version != __version__:
                self._drop_process()
                self._fail(
                    errors.ProtocolError(
                        f"The engine is version {version}, the add-on {__version__}.", "Install the add-on again."
                    )
                )
            elif self._running is not None:
                self._advance(None)

    def _answer(self, running: _Running, event: protocol.Message) -> None:
        if isinstance(event, protocol.Progress):
            if running.kill_at is None:
                stage = event.stage[:_STAGE_LENGTH]
                fraction = min(max(event.done / event.total, 0.0), 1.0) if event.total > 0 else 0.0
                self.status.go_on(f"{running.label}: {stage}" if stage else running.label, fraction)
        elif isinstance(event, (protocol.Image, protocol.Array)):
            running.reply_arrays.update(numpy_arrays(event.arrays))
            picture = running.reply_arrays.get("image")
            if answers.is_picture(picture):
                self.status.preview = picture
        elif isinstance(event, protocol.Done):
            if isinstance(running.request, _LEAVING_A_PORTRAIT):
                # The worker forgets portraits that were not used for long; the latest it surely has.
                self._open = {running.request.portrait}
            elif isinstance(running.request, protocol.Free):
                self._open.clear()
            if running.kill_at is not None:  # the answer was on its way when the worker was asked to stop
                self._fail(errors.PortraitError("Cancelled.", kind="cancelled"))
                return
            running.reply_arrays.update(numpy_arrays(event.arrays))
            self._advance(tasks.Reply(event.fields, running.reply_arrays))
        elif isinstance(event, protocol.Error):
            self._fail(errors.PortraitError(event.message, event.hint, event.kind), event.trace)

    def _advance(self, reply: tasks.Reply | None) -> None:
        """Give the task its reply and send what it asks for next."""
        running = self._running
        assert running is not None
        try:
            step = next(running.task) if reply is None else running.task.send(reply)
        except StopIteration as finished:
            self._apply(running, finished.value)
            return
        except errors.PortraitError as error:
            self._fail(error)
            return
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            wrong = errors.ProtocolError(f"The engine's answer makes no sense ({type(error).__name__}: {error}).")
            self._fail(wrong, traceback.format_exc())
            return
        running.label, running.reply_arrays = step.label, {}
        self.status.go_on(step.label, 0.0)
        self.status.preview = None
        self._send(step.request)

    def _apply(self, running: _Running, result: Any) -> None:
        """Give a result to whom it is for, who may want to do only the first piece of his work now."""
        self._running = None
        self.status = Status()
        try:
            pieces = running.on_result(result)
        except Exception as error:  # a bug of ours: shown and reported like any error, never lost in the console
            self._fail(errors.as_portrait_error(error), traceback.format_exc())
            return
        if isinstance(pieces, Generator):
            running.result, running.pieces, running.kill_at = result, pieces, None
            self._running = running
            self.status = Status("busy", running.title, "Bringing it into the scene", started=time.monotonic())

    def _go_on_applying(self, running: _Running, pieces: Generator[None, None, Any]) -> None:
        until = time.perf_counter() + SLICE_S
        try:
            while time.perf_counter() < until:
                next(pieces)
        except StopIteration:
            self._running = None
            if self.status.state == "busy":  # else the last piece has said something
                self.status = Status()
        except Exception as error:
            self._fail(errors.as_portrait_error(error), traceback.format_exc())

    def _stopped(self, event: Stopped) -> None:
        running, greeting = self._running, bool(self._hello_id)
        self._process = None
        self._hello_id = 0
        self._open.clear()
        self.about = {}
        if running is not None and running.pieces is not None:
            return  # its result is there: the next task starts another worker
        if event.asked and running is not None:
            self._fail(errors.PortraitError("Cancelled.", kind="cancelled"))
        elif running is not None:
            doing = (running.label or "starting").lower()
            broken = _broken_start(event) if greeting else _broken_work(event, doing, running.request)
            self._fail(broken, "\n".join(event.log))
        elif not event.asked:
            self._fail(_broken_work(event, "waiting", None), "\n".join(event.log))

    def _fail(self, error: errors.PortraitError, details: str = "") -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()
        title = running.title if running else self.status.title
        if error.kind == "cancelled":
            sentence = f"{title}: cancelled. The scene is unchanged."
            self.status = Status("notice", title, message=sentence, kind=error.kind)
            return
        log = "\n".join(self.log)
        report = "\n".join(part for part in (f"{title}: {error.message}", error.hint, details, log) if part)
        self.status = Status("error", title, message=error.message, hint=error.hint, kind=error.kind, report=report)
        if running is not None and (error.kind == "memory" or "memory" in error.message):
            self.status.smaller = _smaller(running.request)


def numpy_arrays(arrays: protocol.Arrays) -> dict[str, np.ndarray]:
    """Return the arrays of a message as numpy sees them (read-only views)."""
    return {name: np.frombuffer(a.data, "<" + a.dtype).reshape(a.shape) for name, a in arrays.items()}


def _broken_start(event: Stopped) -> errors.PortraitError:
    """Say why a worker never said hello; the usual reason is a Python without torch."""
    missing = re.search(r"No module named '([^']+)'", "\n".join(event.log))
    if missing:
        name = missing[1].split(".")[0]
        return errors.PortraitError(
            f"That Python has no {name} (tried: `import {name}`: {missing[0]}).",
            "Choose the Python that has PyTorch in the add-on's preferences.",
            kind="engine",
        )
    last = f' Its last words: "{event.log[-1]}".' if event.log else ""
    return errors.PortraitError(
        f"The engine did not start ({event.reason}).{last}",
        "Choose a Python 3.11 or 3.12 with PyTorch in the add-on's preferences, and press Test there.",
        kind="engine",
    )


def _broken_work(event: Stopped, doing: str, request: protocol.Message | None) -> errors.PortraitError:
    again = "The scene is unchanged; try again, the engine starts anew."
    smaller = _smaller(request) if "memory" in event.reason else None
    if smaller:
        again = f"The scene is unchanged. {errors.try_smaller(*smaller)}"
    return errors.PortraitError(f"The engine stopped ({event.reason}) while {doing}.", again, kind="worker")


def _smaller(request: protocol.Message | None) -> tuple[str, int] | None:
    """Return what of a request to halve when memory is short, and the half; None if it has no size."""
    for name in ("size", "detail"):
        number = getattr(request, name, None)
        if number is not None:
            return name, max(number // 2, 1)
    return None
