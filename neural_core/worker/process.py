# SPDX-License-Identifier: Apache-2.0
"""The worker as a process: what its pipes are, and when it ends. Standard library only."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

from .serving import Server


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve requests from stdin until it is closed. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="neural-portrait worker", description="The process that Blender talks to.")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    options = parser.parse_args(arguments)
    answers = take_stdout()
    server = Server(answers, options.device, on_end=_leave)
    server.listen(sys.stdin.buffer)
    server.work()
    return 0


def take_stdout() -> BinaryIO:
    """Return the pipe of stdout for answers alone; whatever prints, Python or C, now prints to stderr."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


def _leave(code: int) -> None:
    """End the process at once, in whatever the computing thread is: Blender is gone or does not want us any more."""
    sys.stderr.flush()
    os._exit(code)
