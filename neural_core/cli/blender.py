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
from collections import deque
from pathlib import Path

from ..errors import PortraitError
from .console import Console

BATCH = Path("blender_addon") / "batch.py"
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
    last_lines: deque[str] = deque(maxlen=20)
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
                if line.startswith(LINE_PREFIX):
                    _show(line.removeprefix(LINE_PREFIX), console)
                elif line.strip():
                    last_lines.append(line.strip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        words = next((line for line in reversed(last_lines) if "rror" in line), last_lines[-1] if last_lines else "")
        raise PortraitError(f"Blender's part ended with exit code {process.returncode}: {words}")


def _show(text: str, console: Console) -> None:
    """Show one line of progress."""
    try:
        said = json.loads(text)
    except ValueError:
        return
    if isinstance(said, dict) and "stage" in said:
        console.report(f"Blender: {said['stage']}", int(said.get("done", 0)), int(said.get("total", 1)))


def job_text(out: Path, model: str, seed: int, truncation: float, device: str) -> str:
    """Return the job file that makes the demo's scene; its schema is in blender_addon/job.py."""
    text = json.dumps  # JSON strings are TOML strings
    return f"""
version = 1

[[job]]
do = "create"
name = "demo"
[job.portrait]
create = {{ model = {text(model)}, seed = {seed}, truncation = {truncation} }}
[job.worker]
device = {text(device)}
[job.policy]
save_blend = {text(str(out / "portrait.blend"))}
"""
