# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the engine's environment: a Python, a folder of its own, the packages, a check. Knows nothing of bpy."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import interpreters, packages, sentences
from .background_job import Job, shell
from .interpreters import Inspection, Interpreter
from .neural_core import errors

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
SIZES_GB = {"cpu": (0.9, 2.7), "cuda": (3.6, 8.0), "pip": (3.6, 8.0)}
"""Download and disk, by what PyTorch is made for. That of pip's own index is the large one on Linux."""
MARKER = "neural-portrait-engine.json"
"""The file that says that a folder is ours to delete."""
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_CUDA_INDEXES = ((580, "https://download.pytorch.org/whl/cu130"), (0, "https://download.pytorch.org/whl/cu126"))
"""PyTorch's own indexes, by the oldest NVIDIA driver that runs their build."""
_RAW_PROGRESS_PIP = (24, 1)
_EXPECTED_PACKAGES = {"Installing PyTorch": 10, "Installing packages": 75}


@dataclass(frozen=True)
class Choice:
    """What the user chose.

    Attributes:
        folder: where the environment goes.
        compute: "cpu", "cuda", or "pip": whatever pip's own index has.
        python: the Python to make it of; "" for one that is found.
        host: Blender's own Python, taken only if there is no other.
        wheels: a folder of wheels; nothing is then downloaded.
        online: Blender's preferences allow downloads.
        newer: a Python that lacks some packages will do.
    """

    folder: Path
    compute: str = "cpu"
    python: str = ""
    host: str = ""
    wheels: str = ""
    online: bool = True
    newer: bool = False


def environment_python(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def is_ours(folder: Path) -> bool:
    """Return whether a folder is an environment that we made, whole or half."""
    return (folder / MARKER).is_file()


def remove(folder: Path) -> None:
    """Delete an environment of ours.

    Raises:
        PortraitError: if the folder is not ours, or cannot be deleted.
    """
    if not is_ours(folder):
        raise errors.PortraitError(f'"{folder}" was not made by Neural Portrait.', "It is left alone.", kind="output")
    try:
        for entry in folder.iterdir():  # the marker last: what a failure leaves is still known to be ours
            if entry.name != MARKER:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (folder / MARKER).unlink()
        folder.rmdir()
    except OSError as error:
        raise errors.PortraitError(
            f'"{folder}" cannot be deleted ({error.strerror or error}).',
            "Stop the engine and try again.",
            kind="output",
        ) from error


def set_up(choice: Choice) -> Job:
    """Return the job that makes the environment and checks it; its result is an Inspection of it."""
    return Job("Set Up Engine", lambda job: _set_up(choice, job))


def inspect(python: str) -> Job:
    """Return the job that looks at an interpreter; its result is an Inspection."""
    return Job("Check Python", lambda job: _inspect(python, job))


def steps(python: Interpreter, choice: Choice, index: str) -> list[tuple[str, list[str]]]:
    """Return what is run to make the environment: title and command line.

    Args:
        python: what it is made of.
        choice: what the user chose.
        index: where PyTorch comes from; "" for pip's own index.
    """
    inside = str(environment_python(choice.folder))
    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-warn-script-location"]
    if choice.wheels:
        pip += ["--no-index", "--find-links", choice.wheels]
    if python.suits:  # the versions that were tested together exist for these
        pip += ["--constraint", str(CONSTRAINTS)]
    needed = {one.name: one.text for one in packages.requirements(python.version)}
    # PyTorch's index has few versions of other projects' packages; these come in the next step, from pip's own index.
    from_index = ["--no-deps", "--index-url", index] if index and not choice.wheels else []
    return [
        ("Making the environment", [python.path, "-m", "venv", str(choice.folder)]),
        ("Installing PyTorch", [*pip, *from_index, needed["torch"]]),
        ("Installing packages", [*pip, *needed.values()]),
    ]


def by_hand(choice: Choice, python: Interpreter | None = None) -> str:
    """Return the command lines that do the same in a terminal."""
    python = python or Interpreter(choice.python or "python3.12", interpreters.SUITED[0], "x86_64")
    index = {"cpu": _cpu_index(), "cuda": _CUDA_INDEXES[0][1]}.get(choice.compute, "")
    return "\n".join(shell(command) for _, command in steps(python, choice, index))


def how_to_get_python(platform: str = sys.platform) -> str:
    """Say how to get a Python that has everything."""
    if platform == "win32":
        return "Install Python 3.12 from python.org (or: py install 3.12), then press Set Up again."
    if platform == "darwin":
        return "Install Python 3.12 from python.org (or: brew install python@3.12), then press Set Up again."
    return "Install Python 3.12 with your package manager, pyenv or `uv python install 3.12`, then press Set Up again."


def nvidia_driver() -> int:
    """Return the major version of the NVIDIA driver; 0 if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        said = subprocess.run(
            [program, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=interpreters.PROBE_TIMEOUT_S, check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ).stdout  # fmt: skip
        return packages.numbers(said)[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return 0


# The job --------------------------------------------------------------------------------------------------------------


def _set_up(choice: Choice, job: Job) -> Inspection:
    if not choice.online and not choice.wheels:
        raise sentences.offline(by_hand(choice))
    if choice.wheels and not any(Path(choice.wheels).glob("*.whl")):
        raise errors.UsageError(f'There are no wheels (.whl) in "{choice.wheels}".', "Choose the folder that has them.")
    job.say("Looking for Python 3.12 or 3.11", 0.0)
    python = _find(choice, job)
    index = _index(choice, job)
    _make_room(choice)
    try:
        for number, (title, command) in enumerate(steps(python, choice, index)):
            start, end = (0.02, 0.06, 0.4, 0.95)[number : number + 2]
            job.say(title, start)
            _run_step(job, title, command, start, end)
        job.say("Checking", 0.95)
        inspection = _inspect(str(environment_python(choice.folder)), job)
        lacks = packages.missing(inspection)
        if lacks:
            raise errors.PortraitError(f"The new environment is not whole: {', '.join(lacks)}.", kind="setup")
        _mark(choice.folder, "ready")
        return inspection
    except Exception:
        job.stage = "Removing the half-made environment"
        with contextlib.suppress(errors.PortraitError):
            remove(choice.folder)
        raise


def _find(choice: Choice, job: Job) -> Interpreter:
    """Return the Python to use. Raises PortraitError if there is none, or only one that is too new."""
    found: list[Interpreter] = []
    for command in interpreters.candidates(choice.python, choice.host):
        job.say(job.stage, 0.0)
        answered = interpreters.probe(command)
        if answered is not None:
            found.append(answered)
            if answered.suits:
                break
    job.log.extend(f"{one.path}: {one.name}{', ' + one.problem if one.problem else ''}" for one in found)
    python = interpreters.choose(found)
    if python is None:
        if choice.python:
            why = f"{found[0].name} {found[0].problem}" if found else "it does not answer as a Python does"
            raise errors.PortraitError(
                f'"{choice.python}" cannot run the engine: {why}.', how_to_get_python(), kind="python"
            )
        raise errors.PortraitError("No Python 3.12 or 3.11 was found.", how_to_get_python(), kind="python")
    if not python.suits and not choice.newer:
        raise errors.PortraitError(
            f"Only {python.name} was found. {packages.without_wheels(python)}", how_to_get_python(), kind="newer python"
        )
    job.log.append(f"Taking {python.path} ({python.name})")
    return python


def _index(choice: Choice, job: Job) -> str:
    """Return the index that PyTorch comes from; "" for pip's own."""
    if choice.compute == "cpu":
        return _cpu_index()
    if choice.compute != "cuda":
        return ""
    driver = nvidia_driver()
    job.log.append(f"NVIDIA driver: {driver or 'none'}")
    if not driver:
        raise errors.UsageError("No NVIDIA driver answers on this computer.", "Choose CPU, or install the driver.")
    return next(index for oldest, index in _CUDA_INDEXES if driver >= oldest)


def _cpu_index() -> str:
    return "" if sys.platform == "darwin" else _CPU_INDEX  # on macOS there is one build, in pip's own index


def _make_room(choice: Choice) -> None:
    """Make the folder, empty and marked as ours. Raises PortraitError if it cannot be, or the disk is too full."""
    folder = choice.folder
    if is_ours(folder):
        remove(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise errors.PortraitError(
            f'"{folder}" already holds something else.', "Choose an empty folder for the engine.", kind="output"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _mark(folder, "making")
    except OSError as error:
        raise errors.PortraitError(
            f'"{folder}" cannot be made ({error.strerror or error}).',
            "Choose another folder for the engine in the add-on's preferences.",
            kind="output",
        ) from error
    needed_gb, free_gb = SIZES_GB[choice.compute][1], shutil.disk_usage(folder).free / 1e9
    if free_gb < needed_gb:
        remove(folder)
        raise errors.PortraitError(
            f'The engine needs {needed_gb:.1f} GB, and where "{folder}" is only {free_gb:.1f} GB are free.',
            "Make room, or choose another folder for the engine in the add-on's preferences.",
            kind="output",
        )


def _mark(folder: Path, state: str) -> None:
    (folder / MARKER).write_text(json.dumps({"made_by": "Neural Portrait", "state": state}), "utf-8")


def _run_step(job: Job, title: str, command: list[str], start: float, end: float) -> None:
    """Run one step; its lines move the bar. Raises PortraitError of kind "setup" if it fails."""
    if "pip" in command and _pip_version(job, command[0]) >= _RAW_PROGRESS_PIP:
        command = [*command, "--progress-bar", "raw"]
    seen, doing = 0, title
    expected = _EXPECTED_PACKAGES.get(title, 1)

    def on_line(line: str) -> bool:
        nonlocal seen, doing
        progress = re.fullmatch(r"Progress (\d+) of (\d+)", line.strip())
        if progress:
            done, total = int(progress[1]), int(progress[2])
            job.stage = f"{doing}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
            return False
        if re.match(r"(Collecting|Processing) ", line):
            seen += 1
            job.fraction = start + (end - start) * min(seen / expected, 1.0) * 0.8
        match = re.match(r"\s*(Downloading|Processing) (?:\S*/)?([A-Za-z0-9_.]+?)-\d", line)
        if match:
            doing = f"{title}: {match[2]}"
            job.stage = doing
        elif line.startswith("Installing collected packages"):
            job.stage, job.fraction = f"{title}: unpacking", start + (end - start) * 0.85
        return True

    code = job.command(command, on_line)
    if code != 0:
        raise _failed_step(title, code, list(job.log))


def _pip_version(job: Job, python: str) -> tuple[int, ...]:
    said: list[str] = []
    job.command([python, "-m", "pip", "--version"], lambda line: bool(said.append(line)))
    return packages.numbers(said[0].removeprefix("pip ")) if said else ()


def _failed_step(title: str, code: int, log: Sequence[str]) -> errors.PortraitError:
    """Say in one sentence why pip or venv failed; the log has the rest."""
    text = "\n".join(log)
    wanted = re.findall(r"No matching distribution found for (\S+)", text)
    if "No space left on device" in text or "not enough space on the disk" in text:
        what, hint = "the disk is full", "Make room, or choose another folder for the engine."
    elif re.search(r"NameResolutionError|ConnectTimeout|NewConnectionError|ProxyError|Network is unreachable", text):
        what, hint = "the packages' server cannot be reached", "Check the network, or choose a folder of wheels."
    elif wanted:
        what = f"there is no {wanted[-1]} for this Python"
        hint = "Choose another Python, or a folder that has that wheel."
    elif "Permission denied" in text or "Access is denied" in text:
        what, hint = "a file cannot be written", "Choose another folder for the engine."
    else:
        last = next((line for line in reversed(log) if re.match(r"(ERROR|Error)", line)), log[-1] if log else "")
        what, hint = f"exit code {code}: {last}".rstrip(": "), "Copy the log and see what it says."
    return errors.PortraitError(f"{title} failed: {what}.", hint, kind="setup")


def _inspect(python: str, job: Job) -> Inspection:
    job.stage = "Looking at that Python"
    plain = interpreters.probe([python])
    if plain is None:
        raise errors.PortraitError(
            f'"{python}" does not answer as a Python does.', "Choose the file of a Python 3.12 or 3.11.", kind="engine"
        )
    wanted = {one.name: one.module for one in packages.requirements(plain.version)}
    job.stage = "Importing its packages"
    said: list[str] = []
    code = job.command(interpreters.inspection_command(python, wanted), lambda line: bool(said.append(line)))
    try:
        return interpreters.read_inspection(said[-1] if said else "")
    except ValueError as error:
        job.log.extend(said)
        raise errors.PortraitError(
            f'"{python}" broke off while it imported its packages (exit code {code}).',
            "The log says more.",
            kind="engine",
        ) from error
