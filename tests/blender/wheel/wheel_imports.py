# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module of the staged add-on is imported in this process, where `import torch` raises."""

import importlib
import pkgutil
import sys
from pathlib import Path

import neural_portrait
import pytest

WORKER_SIDE = {"run_worker", "neural_core"}


def addon_modules():
    for found in pkgutil.walk_packages([str(Path(neural_portrait.__file__).parent)], "neural_portrait."):
        if found.name.split(".")[1] not in WORKER_SIDE:
            yield found.name
    yield from (f"neural_portrait.neural_core.{name}" for name in ("protocol", "messages", "errors", "files"))


@pytest.mark.parametrize("name", sorted(addon_modules()))
def test_module_imports_without_torch(name):
    importlib.import_module(name)
    assert sys.modules["torch"] is None
    with pytest.raises(ImportError):
        importlib.import_module("torch")


def test_there_are_modules():
    assert len(set(addon_modules())) >= 25


def test_importing_the_package_imports_nothing_of_it():
    """The entry is a table of contents: a fresh interpreter has only the package itself afterwards."""
    import subprocess

    program = (
        f"import sys; sys.path.insert(0, {str(Path(neural_portrait.__file__).parents[1])!r})\n"
        "import neural_portrait\n"
        "print([name for name in sys.modules if name.startswith('neural_portrait.') or name in ('bpy', 'numpy')])"
    )
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
