# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine needs installed, as the project says it, and what an interpreter has of it. Knows nothing of bpy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import interpreters
from .background_job import shell
from .interpreters import Inspection, Interpreter

PROJECT = Path(__file__).with_name("pyproject.toml")
EXTRAS = ("audio", "capture", "style")
"""Optional packages of the project that buttons of the panel need."""
WITHOUT_WHEELS = {"mediapipe": "photos and clips", "PyMCubes": "surface meshes"}
"""Packages that have no wheels for Python 3.13, and what cannot be done without them."""
_MODULES = {"PyMCubes": "mcubes"}


@dataclass(frozen=True)
class Requirement:
    """A package as the project asks for it; the bounds are (operator, version)."""

    name: str
    bounds: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The requirement as pip takes it."""
        return self.name + ",".join(operator + version for operator, version in self.bounds)

    @property
    def module(self) -> str:
        """What to import of it."""
        return _MODULES.get(self.name, self.name.lower().replace("-", "_"))

    def allows(self, version: str) -> bool:
        """Return whether a version is within the bounds; numbers only, whatever follows them is ignored."""
        have = numbers(version)
        for operator, bound in self.bounds:
            limit = numbers(bound)
            low = have >= limit if operator in (">=", "==") else True
            high = have[: len(limit)] == limit if operator == "==" else have < limit if operator == "<" else True
            if not (low and high):
                return False
        return True


def requirements(version: Sequence[int]) -> list[Requirement]:
    """Return what the engine needs on a version of Python."""
    table = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    texts = [*table["dependencies"], *(text for extra in EXTRAS for text in table["optional-dependencies"][extra])]
    found: dict[str, Requirement] = {}
    for text in texts:
        asked, _, marker = text.partition(";")
        limit = re.search(r"python_version\s*<\s*'([\d.]+)'", marker)
        name = re.match(r"[\w.-]+", asked)
        assert name is not None, text
        bounds = re.findall(r"(>=|==|<)\s*([\w.]+)", asked[name.end() :])
        if limit is None or tuple(version[:2]) < numbers(limit[1]):
            found.setdefault(name[0], Requirement(name[0], tuple(bounds)))
    if tuple(version[:2]) >= interpreters.NEWEST:
        found = {name: one for name, one in found.items() if name not in WITHOUT_WHEELS}
    return list(found.values())


def install_missing(inspection: Inspection) -> str:
    """Return the command line that brings an interpreter what it lacks; "" if nothing is missing."""
    missing = [one.text for one in requirements(inspection.interpreter.version) if _lack(one, inspection)]
    return shell([inspection.interpreter.path, "-m", "pip", "install", *missing]) if missing else ""


def missing(inspection: Inspection) -> list[str]:
    """Return what an interpreter lacks, a phrase a package: absent, of another version, or broken."""
    return [lack for one in requirements(inspection.interpreter.version) if (lack := _lack(one, inspection))]


def report(inspection: Inspection) -> list[str]:
    """Return what was found, as lines to read."""
    python = inspection.interpreter
    lines = [f"{python.name}, {python.machine}: {python.path}"]
    if "torch" in inspection.packages:
        where = f"CPU, {inspection.threads} threads"
        if inspection.gpu:
            where = f"{inspection.gpu}, {inspection.gpu_memory / 1e9:.0f} GB"
        elif inspection.cuda:
            where += " (made for CUDA, but no GPU answers)"
        lines.append(f"PyTorch {inspection.packages['torch']}: {where}")
    if inspection.memory:
        lines.append(f"Memory of this computer: {inspection.memory / 1e9:.0f} GB")
    lacks = missing(inspection)
    lines += [f"Missing: {lack}" for lack in lacks]
    if python.version[:2] >= interpreters.NEWEST:
        lines.append(without_wheels(python))
    if not lacks:
        lines.append(f"All {len(requirements(python.version))} packages are there")
    return lines


def without_wheels(python: Interpreter) -> str:
    """Say what cannot be had for a Python that is newer than the packages."""
    what = " and ".join(f"{package} ({use})" for package, use in WITHOUT_WHEELS.items())
    return f"{python.name} has no wheels of {what}: these buttons would not work."


def _lack(one: Requirement, inspection: Inspection) -> str:
    """Return what is wrong with one package, as a phrase; "" if nothing is."""
    version, broken = inspection.packages.get(one.name), inspection.broken.get(one.name)
    if version is None:
        return f"{one.name} is not installed"
    if broken:
        return f"{one.name} cannot be imported ({broken})"
    return "" if one.allows(version) else f"{one.name} {version} is there, {one.text} is needed"


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 13, 0) of "2.13.0+cpu"."""
    match = re.match(r"\s*(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in match[1].split(".")) if match else ()
