# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blenders that tests run in: real ones, and Blender as a Python package (the bpy wheel).

$BLENDER_EXE names the real ones as command lines, $BPY_PYTHONS the Pythons that have other wheels than the tests' own;
both lists are separated by os.pathsep.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest


def _named(variable: str) -> list[str]:
    return [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry.strip()]


EXECUTABLES = [shlex.split(entry) for entry in _named("BLENDER_EXE")]
"""Command lines of real Blenders."""
IN_WINDOWS = [
    pytest.mark.real_blender,
    pytest.mark.skipif(not EXECUTABLES, reason="BLENDER_EXE names no real Blender"),
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed"),
]
"""Marks of tests that open a window of each."""

OWN = pytest.param(
    sys.executable,
    id="wheel",
    # It is not imported to find out: it would take the process down at its exit.
    marks=pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed"),
)
WHEELS = [
    OWN,
    *(
        pytest.param(python, id=Path(python).parents[1].name, marks=pytest.mark.other_wheel)
        for python in _named("BPY_PYTHONS")
    ),
]
"""Pythons that have a wheel of Blender."""

COMMANDS = [
    # -I keeps the script's folder from the modules' path: a cycles.py beside it would be taken for Blender's own.
    *(pytest.param([*one.values, "-I"], id=one.id, marks=one.marks) for one in WHEELS),
    *(
        pytest.param(
            [*command, "-b", "--factory-startup", "--python-exit-code", "9", "-P"],
            id=" ".join(command[-2:]),
            marks=pytest.mark.real_blender,
        )
        for command in EXECUTABLES
    ),
]
"""Command lines, wheels and real Blenders, behind which a script is put; see `script`."""


def script(command: list[str], path: Path, *arguments: object) -> list[str]:
    """Return the command line that runs a script with arguments in a Blender of COMMANDS."""
    between = ["--"] if "-P" in command else []
    return [*command, str(path), *between, *map(str, arguments)]
