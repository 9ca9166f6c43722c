# SPDX-License-Identifier: Apache-2.0
"""The command `neural-portrait`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Protocol

import tyro

from .. import __version__
from ..errors import PortraitError, UsageError, as_portrait_error
from .animate import Animate
from .capture import Capture
from .console import Console
from .demo import Demo
from .faces import Faces
from .generate import Generate
from .mesh import Mesh
from .models import Models
from .options import Common
from .reconstruct import Reconstruct
from .render import Render
from .speak import Speak
from .stylise import Stylise
from .worker import Worker

COMMANDS = {
    "demo": Demo,
    "generate": Generate,
    "render": Render,
    "mesh": Mesh,
    "animate": Animate,
    "speak": Speak,
    "capture": Capture,
    "reconstruct": Reconstruct,
    "stylise": Stylise,
    "models": Models,
    "faces": Faces,
    "worker": Worker,
}
"""Every command is a dataclass of its options with a method `run(console)`."""

TRACE_VARIABLE = "NEURAL_PORTRAIT_TRACE"


class Command(Protocol):
    """What every entry of COMMANDS makes."""

    @property
    def common(self) -> Common:
        """Return the options that all commands have."""
        ...

    def run(self, console: Console) -> None:
        """Do it."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 1 failed, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    try:
        if words == ["--version"]:
            console.say(__version__)
            return 0
        command = parse(words)
        with console.showing_progress():
            command.run(console)
        console.finish(as_json=command.common.json)
        return 0
    except KeyboardInterrupt:
        console.complain("Cancelled.", "Nothing half-written was left.")
        return 1
    except Exception as error:
        return _report(console, error)


def parse(words: Sequence[str]) -> Command:
    """Return the command that the words ask for; wrong options end the process with exit code 2."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        close = difflib.get_close_matches(words[0], COMMANDS, 1)
        hint = f'Did you mean "{close[0]}"?' if close else f"Commands: {', '.join(COMMANDS)}."
        raise UsageError(f'There is no command "{words[0]}".', hint)
    return tyro.extras.subcommand_cli_from_dict(
        dict(COMMANDS),
        prog="neural-portrait",
        description="3D human portraits from a seed, for Blender.",
        args=list(words) or ["--help"],
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _report(console: Console, error: Exception) -> int:
    """Say what went wrong in one sentence and a hint, and return the exit code."""
    said: PortraitError = as_portrait_error(error)
    hint = said.hint
    if said.kind == "internal":
        if os.environ.get(TRACE_VARIABLE):
            traceback.print_exception(error)
        hint += f" {TRACE_VARIABLE}=1 shows where."
    console.complain(said.message, hint)
    return 2 if said.kind == "usage" else 1
