# SPDX-License-Identifier: Apache-2.0
"""What may be imported where: each case in a process of its own, in which the forbidden packages do not exist."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A finder in front of all others; `allowed` and the standard library pass, and what they need to import themselves.
BLOCK = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def __init__(self, blocked=(), allowed=None):
        self.blocked, self.allowed = set(blocked), allowed and set(allowed)

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in self.blocked or (self.allowed is not None and top not in self.allowed | sys.stdlib_module_names):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
        return None
"""

# The distributions that a bare GPU machine has, and what they are made of.
BARE = {
    *("torch", "numpy", "safetensors", "pydantic", "tyro", "jaxtyping"),
    *("torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock"),
    *("pydantic_core", "annotated_types", "typing_inspection", "typing_extensions", "wadler_lindig"),
    *("docstring_parser", "typeguard"),
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the clone, without what site-packages would import by itself."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)


def modules(*packages: str) -> list[str]:
    """The names of all modules in packages of neural_core or training."""
    names = []
    for package in packages:
        path = ROOT.joinpath(*package.split("."))
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        assert files, package
        for file in files:
            parts = file.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize("name", ["neural_core", "neural_core.protocol", "neural_core.errors"])
def test_what_blender_takes_needs_the_standard_library_alone(name):
    done = run(
        BLOCK + f"sys.meta_path.insert(0, Blocker(allowed={{'neural_core'}}))\n"
        f"import {name}\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names))"
    )
    assert done.returncode == 0, done.stderr
    foreign = set(done.stdout.split()) - {"__main__", "neural_core"}
    assert not {name for name in foreign if not name.startswith(("_", "sitecustomize", "usercustomize"))}


def test_networks_need_torch_numpy_safetensors_pydantic_and_tyro_alone():
    packages = ("ops", "nn", "rendering", "systems", "planes", "cameras")
    names = modules(*(f"neural_core.{package}" for package in packages))
    program = BLOCK + f"sys.meta_path.insert(0, Blocker(allowed={BARE | {'neural_core'}}))\n"
    program += "".join(f"import {name}\n" for name in names)
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert len(names) >= 20


def test_training_starts_with_the_same_five():
    program = BLOCK + f"sys.meta_path.insert(0, Blocker(allowed={BARE | {'neural_core', 'training'}}))\n"
    recipes = ("eg3d", "eg3d_warm_start", "next3d_warm_start")
    program += "import training.train, training.trainer\n"
    done = run(program + "".join(f"import training.recipes.{name}\n" for name in recipes))
    assert done.returncode == 0, done.stderr


def test_the_help_of_training_lists_the_recipes_without_torch():
    program = BLOCK + "sys.meta_path.insert(0, Blocker(blocked={'torch', 'numpy'}))\n"
    program += (
        "import runpy\nsys.argv = ['training.train', '--help']\nrunpy.run_module('training.train', run_name='__main__')"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert "eg3d" in done.stdout


def test_the_help_of_the_command_comes_without_torch():
    program = BLOCK + "sys.meta_path.insert(0, Blocker(blocked={'torch'}))\n"
    program += "from neural_core.cli import main\nsys.argv = ['neural-portrait', '--help']\nsys.exit(main())"
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout + done.stderr


def test_the_library_imports_neither_blender_nor_training_nor_what_only_styles_need():
    blocked = {"bpy", "mathutils", "training", "blender_addon", "transformers"}
    program = BLOCK + f"sys.meta_path.insert(0, Blocker(blocked={blocked}))\n"
    program += "".join(f"import {name}\n" for name in modules("neural_core") if not name.endswith("__main__"))
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_the_block_blocks():
    """The guard of the tests above: what is not allowed does fail."""
    done = run(BLOCK + "sys.meta_path.insert(0, Blocker(allowed={'neural_core'}))\nimport neural_core.cameras")
    assert done.returncode != 0
    assert "is blocked" in done.stderr
    done = run(BLOCK + "sys.meta_path.insert(0, Blocker(blocked={'torch'}))\nimport neural_core.ops.bias_act")
    assert "torch is blocked" in done.stderr
