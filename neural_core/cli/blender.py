# SPDX-License-Identifier: Apache-2.0
"""Running the add-on's batch program in Blender, as a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..errors import PortraitError
from .console import Console

BATCH = Path("blender_addon") / "batch.py"
MESH_DETAIL = 128
PLANE_SIZE = 384
"""Pixels of the network's picture in the .blend."""
PICTURE_SIZE = 512
SAMPLES = 16
PICTURE_FRAME = 20
EXPRESSIONS: dict[int, dict[str, float]] = {
    1: {},
    20: {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    40: {"jawOpen": 0.6, "browInnerUp": 0.8, "browOuterUpLeft": 0.6, "browOuterUpRight": 0.6},
    60: {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.6, "browDownLeft": 0.4},
    80: {},
}
"""What the demo keys, by frame: a smile, surprise, and a wink, with rest before and after."""

LINE_PREFIX = "PORTRAIT "
"""Lines of batch.py that are meant for programs start with this; JSON follows."""


def make_blend(out: Path, model: str, seed: int, truncation: float, device: str, console: Console) -> None:
    """Make portrait.blend and portrait_cycles.png in a folder.

    Raises:
        PortraitError: if there is no Blender, or it fails.
    """
    command = blender_command()
    job = job_text(out.resolve(), model, seed, truncation, device)
    with tempfile.TemporaryDirectory() as folder:
        job_file = Path(folder) / "demo.toml"
        job_file.write_text(job, encoding="utf-8")
        console.report("Starting Blender", 0, 1)
        run_batch([*command, str(job_file)], console)
    console.made(out / "portrait.blend", "the rigged person: three keyed expressions, sliders on the armature")
    console.made(out / "portrait_cycles.png", "that scene rendered by Cycles")


def blender_command() -> list[str]:
    """Return how batch.py is run: by the first Blender of $BLENDER_EXE, else by this Python if it has bpy.

    Raises:
        PortraitError: if there is neither, or the add-on's source is not beside this package.
    """
    batch = Path(__file__).resolve().parents[2] / BATCH
    if not batch.is_file():
        raise PortraitError("the add-on's source is not here.", "Run the demo from a clone of the project.")
    chosen = os.environ.get("BLENDER_EXE", "").split(os.pathsep)[0]
    if chosen:
        return [*shlex.split(chosen), "-b", "--python-exit-code", "7", "-P", str(batch), "--"]
    if importlib.util.find_spec("bpy"):
        return [sys.executable, str(batch)]
    raise PortraitError(
        "there is no Blender.", 'Set BLENDER_EXE to your Blender, or: pip install "neural-portrait[blender]".'
    )


def run_batch(command: list[str], console: Console) -> None:
    """Run batch.py, showing the progress that it prints. Raises PortraitError with its last words if it fails."""
    environment = {**os.environ, "NEURAL_PORTRAIT_PYTHON": sys.executable}
    last_line = ""
    failure: dict[str, Any] = {}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace", env=environment,
        )  # fmt: skip
    except OSError as error:
        raise PortraitError(f"Blender cannot be started: {error.strerror}.", "Look at BLENDER_EXE.") from error
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                event = _read_event(line)
                if event is None:
                    last_line = line.strip() or last_line
                elif event.get("event") == "error":
                    failure = event
                else:
                    _show(event, console)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = str(failure.get("message") or f"it ended with exit code {process.returncode}, saying: {last_line}")
        raise PortraitError(f"Blender: {said}", str(failure.get("hint", "")), str(failure.get("kind", "blender")))


def _show(event: dict[str, Any], console: Console) -> None:
    """Show progress that batch.py tells of."""
    if event.get("event") == "stage":
        console.report(f"Blender: {event.get('stage')}", int(event.get("done", 0)), int(event.get("total", 1)))
    elif event.get("event") == "frame":
        console.report(f"Blender: frame {event.get('frame')}", 1, 1)


def _read_event(line: str) -> dict[str, Any] | None:
    """Return what a line of batch.py says to programs; None for Blender's own lines."""
    if not line.startswith(LINE_PREFIX):
        return None
    try:
        event = json.loads(line.removeprefix(LINE_PREFIX))
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def job_text(out: Path, model: str, seed: int, truncation: float, device: str) -> str:
    """Return the job file that makes the demo's scene; its schema is in blender_addon/job.py."""
    text = json.dumps  # JSON's strings are TOML's
    used = sorted({name for expression in EXPRESSIONS.values() for name in expression})
    keys = [
        f"  {{ frame = {frame}, expression = {{ "
        + ", ".join(f"{name} = {float(expression.get(name, 0.0))}" for name in used)
        + " } },"
        for frame, expression in EXPRESSIONS.items()
    ]
    return "\n".join(
        [
            "version = 1",
            "[[job]]",
            'do = "create"',
            'name = "demo"',
            f'scene = {{ frames = "{PICTURE_FRAME}" }}',
            "[job.portrait]",
            f"create = {{ model = {text(model)}, seed = {seed}, truncation = {truncation}, detail = {MESH_DETAIL}, "
            f"size = {PLANE_SIZE} }}",
            'show = "MESH"',
            "key = [",
            *keys,
            "]",
            "[job.render]",
            'what = ["scene"]',
            f"size = {PICTURE_SIZE}",
            f"samples = {SAMPLES}",
            f"out = {text(str(out / 'portrait_cycles.png'))}",
            "[job.worker]",
            f"device = {text(device)}",
            "[job.policy]",
            f"save_blend = {text(str(out / 'portrait.blend'))}",
            "",
        ]
    )
