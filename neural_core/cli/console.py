# SPDX-License-Identifier: Apache-2.0
"""What a command shows: results on stdout, progress and complaints on stderr, JSON as the last line if asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Console:
    """Collects what a command made, and shows how far it is."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        """What `--json` prints."""
        self._stderr = RichConsole(file=sys.stderr, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""

    def say(self, text: str) -> None:
        """Print a line of results."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a remark to stderr."""
        self._stderr.print(escape(text))

    def complain(self, message: str, hint: str) -> None:
        """Print what went wrong and what to do."""
        self._stderr.print(f"[bold red]Error:[/] {escape(message)}" + (f"\n{escape(hint)}" if hint else ""))

    def made(self, path: object, what: str) -> None:
        """Print one file that was made and what it is, and remember it for `--json`."""
        self.facts.setdefault("files", []).append({"path": str(path), "what": what})
        self.say(f"{path}  {what}")

    def finish(self, as_json: bool) -> None:
        """Print the facts as the last line, if wanted."""
        if as_json:
            self.say(json.dumps(self.facts, sort_keys=True))

    @contextmanager
    def showing_progress(self) -> Iterator[None]:
        """Show a bar while the block runs, if stderr is a terminal; else `report` prints a line a stage."""
        if not self._stderr.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        with Progress(*columns, TimeElapsedColumn(), console=self._stderr, transient=True) as progress:
            self._progress = progress
            try:
                yield
            finally:
                self._progress = self._task = None

    def report(self, stage: str, done: int, total: int) -> None:
        """Show progress; a `neural_core.progress.Report`."""
        if self._progress is None:
            if stage != self._stage:
                self.note(f"{stage} ...")
        elif self._task is None:
            self._task = self._progress.add_task(stage, total=total, completed=done)
        elif stage != self._stage:
            self._progress.reset(self._task, description=stage, total=total, completed=done)
        else:
            self._progress.update(self._task, completed=done, total=total)
        self._stage = stage
