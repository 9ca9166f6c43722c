# SPDX-License-Identifier: GPL-3.0-or-later
"""Python interpreters on this computer: where they may be, what they are, and what they have. Knows nothing of bpy.

Nothing is believed of a name: a candidate is run with a short script that says what it is. This blocks, so the
window asks on another thread.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .worker_client import host_free_environment

SUITED = ((3, 12), (3, 11))
"""Versions that have everything, the preferred one first."""
NEWEST = (3, 13)
"""Taken if there is nothing else: some packages have no wheels for it."""
PROBE_TIMEOUT_S = 15.0
_MACHINES = {"x86_64", "amd64", "arm64", "aarch64"}

_PROBE = """
import importlib.util, json, platform, struct, sys
print(json.dumps({
    "path": sys.executable, "version": list(sys.version_info[:3]), "machine": platform.machine(),
    "bits": struct.calcsize("P") * 8, "implementation": platform.python_implementation(),
    "lacks": [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None],
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python as it describes itself. `lacks` names modules without which no environment can be made of it."""

    path: str
    version: tuple[int, ...]
    machine: str
    bits: int = 64
    implementation: str = "CPython"
    lacks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return f"Python {'.'.join(map(str, self.version))}"

    @property
    def problem(self) -> str:
        """Why no environment can be made of it, as a part of a sentence; "" if one can."""
        if self.implementation != "CPython":
            return f"is {self.implementation}, not CPython"
        if self.bits != 64 or self.machine.lower() not in _MACHINES:
            return f"is made for {self.machine} with {self.bits} bits, for which there are no packages"
        if self.version[:2] < min(SUITED):
            return "is too old"
        if self.version[:2] > NEWEST:
            return "is too new"
        if self.lacks:
            return f"lacks {' and '.join(self.lacks)} (Debian and Ubuntu: the package python{self._short}-venv)"
        return ""

    @property
    def suits(self) -> bool:
        """It can run everything."""
        return not self.problem and self.version[:2] in SUITED

    @property
    def _short(self) -> str:
        return ".".join(map(str, self.version[:2]))


def candidates(
    configured: str = "",
    host: str = "",
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> Iterator[list[str]]:
    """Yield commands that may start a Python, the likeliest first; the same one may come twice.

    Args:
        configured: what the user named; nothing else is then tried.
        host: Blender's own Python, the last to be tried.
        environment: where PATH and the folders of version managers are read from.
        platform: as `sys.platform`.
    """
    if configured:
        yield [configured]
        return
    versions = [*SUITED, NEWEST]
    for major, minor in versions:
        found = shutil.which(f"python{major}.{minor}", path=environment.get("PATH"))
        if found:
            yield [found]
        if platform == "win32" and shutil.which("py", path=environment.get("PATH")):
            yield ["py", f"-{major}.{minor}"]
        for place in _common_places(major, minor, environment, platform):
            yield [str(place)]
    for name in ("python3", "python"):
        found = shutil.which(name, path=environment.get("PATH"))
        if found:
            yield [found]
    if host:
        yield [host]


def _common_places(major: int, minor: int, environment: Mapping[str, str], platform: str) -> Iterator[Path]:
    """Yield files that exist where installers and version managers put a Python of that version."""
    home = Path(environment.get("USERPROFILE" if platform == "win32" else "HOME") or Path.home())
    short = f"{major}.{minor}"
    if platform == "win32":
        local = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
        programs = Path(environment.get("PROGRAMFILES") or "C:/Program Files")
        folders = [local / "Programs" / "Python" / f"Python{major}{minor}", programs / f"Python{major}{minor}"]
        folders += sorted((home / ".pyenv" / "pyenv-win" / "versions").glob(f"{short}.*"), reverse=True)
        folders += sorted((local / "uv" / "python").glob(f"cpython-{short}.*"), reverse=True)
        files = [folder / "python.exe" for folder in folders]
    else:
        pyenv = Path(environment.get("PYENV_ROOT") or home / ".pyenv")
        data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
        folders = sorted((pyenv / "versions").glob(f"{short}.*"), reverse=True)
        folders += sorted((data / "uv" / "python").glob(f"cpython-{short}.*"), reverse=True)
        folders += [Path("/usr"), Path("/usr/local"), Path("/opt/homebrew"), Path(f"/opt/homebrew/opt/python@{short}")]
        if platform == "darwin":
            folders.append(Path(f"/Library/Frameworks/Python.framework/Versions/{short}"))
        files = [folder / "bin" / f"python{short}" for folder in folders]
    yield from (file for file in files if file.is_file())


def probe(command: Sequence[str], timeout_s: float = PROBE_TIMEOUT_S) -> Interpreter | None:
    """Ask a candidate what it is; None if it is no Python 3 that answers in time."""
    try:
        said = _ask(command, _PROBE, (), timeout_s)
        return Interpreter(
            str(said["path"]),
            tuple(int(number) for number in said["version"]),
            str(said["machine"]),
            int(said["bits"]),
            str(said["implementation"]),
            tuple(map(str, said["lacks"])),
        )
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError):
        return None


def choose(found: Sequence[Interpreter]) -> Interpreter | None:
    """Return the first interpreter that has everything, else the first that can be used at all."""
    usable = [one for one in found if not one.problem]
    return next((one for one in usable if one.suits), usable[0] if usable else None)


_INSPECT = """
import importlib, importlib.metadata, json, os, platform, sys
wanted, said = json.loads(sys.argv[1]), {"packages": {}, "broken": {}}
for name, module in wanted:
    try:
        said["packages"][name] = importlib.metadata.version(name)
        importlib.import_module(module)
    except importlib.metadata.PackageNotFoundError:
        pass
    except Exception as error:
        said["broken"][name] = f"{type(error).__name__}: {error}"
said["path"], said["version"], said["machine"] = sys.executable, list(sys.version_info[:3]), platform.machine()
try:
    import torch
    said["threads"], said["cuda"] = torch.get_num_threads(), torch.version.cuda or ""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        said["gpu"], said["gpu_memory"] = torch.cuda.get_device_name(), total
except Exception:
    pass  # no torch, which is said above, or a driver that does not answer: then there is no GPU to tell of
try:
    said["memory"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
except (AttributeError, ValueError, OSError):
    pass
print()
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Inspection:
    """What an interpreter has. Memory in bytes, 0 where unknown; `gpu` is "" where PyTorch sees none."""

    interpreter: Interpreter
    packages: Mapping[str, str]
    broken: Mapping[str, str]
    threads: int = 0
    memory: int = 0
    cuda: str = ""
    gpu: str = ""
    gpu_memory: int = 0


def inspection_command(python: str, wanted: Mapping[str, str]) -> list[str]:
    """Return the command whose last line of output `read_inspection` understands. Importing takes seconds.

    Args:
        python: the interpreter.
        wanted: module to import, by the name of its package.
    """
    return [python, "-I", "-c", _INSPECT, json.dumps(list(wanted.items()))]


def read_inspection(line: str) -> Inspection:
    """Return what the inspected interpreter said. Raises ValueError if that is nonsense."""
    try:
        said = json.loads(line)
        interpreter = Interpreter(str(said["path"]), tuple(map(int, said["version"])), str(said["machine"]))
        return Inspection(
            interpreter,
            dict(said["packages"]),
            dict(said["broken"]),
            threads=int(said.get("threads", 0)),
            memory=int(said.get("memory", 0)),
            cuda=str(said.get("cuda", "")),
            gpu=str(said.get("gpu", "")),
            gpu_memory=int(said.get("gpu_memory", 0)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no inspection: {error}") from error


def _ask(command: Sequence[str], script: str, arguments: Sequence[str], timeout_s: float) -> dict[str, Any]:
    run = subprocess.run(
        [*command, "-I", "-c", script, *arguments],
        env=host_free_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=timeout_s,
        check=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    said = json.loads(run.stdout.decode("utf-8", errors="replace").strip().splitlines()[-1])
    if not isinstance(said, dict):
        raise ValueError("the answer is no object")
    return said
