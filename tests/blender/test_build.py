# SPDX-License-Identifier: GPL-3.0-or-later
"""The package: complete, free of torch, the same bytes twice, and refused when something is wrong with it."""

import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from staging import ROOT, builder


@pytest.fixture(scope="module")
def build_addon():
    return builder()


@pytest.fixture
def package(build_addon, tmp_path):
    return build_addon.stage(tmp_path)


def test_two_builds_are_byte_equal(build_addon, tmp_path):
    first = build_addon.build(tmp_path / "a")
    second = build_addon.build(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    version = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())["version"]
    assert first.name == f"neural_portrait-{version}.zip"


def test_zip_holds_what_both_sides_need_at_its_root(build_addon, tmp_path):
    with zipfile.ZipFile(build_addon.build(tmp_path)) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert names == sorted(names)
    needed = {"__init__.py", "blender_manifest.toml", "batch.py", "run_worker.py", "scene/rig.py", "LICENSE"}
    needed |= {"neural_core/protocol.py", "neural_core/worker/__init__.py", "LICENSES/CC0-1.0.txt"}
    assert needed <= set(names)
    assert any(name.startswith("assets/face/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "training/"))]


def test_command_line(tmp_path):
    command = [sys.executable, str(ROOT / "build_addon.py")]
    run = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=True)
    assert "install it in Blender" in run.stdout
    run = subprocess.run([*command, "--stage", str(tmp_path)], capture_output=True, text=True, check=True)
    assert (tmp_path / "neural_portrait" / "__init__.py").is_file()
    (tmp_path / "file").write_text("")
    run = subprocess.run([*command, "--out", str(tmp_path / "file")], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "cannot write" in run.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("panels/common.py", "import blf", "import torch", 'panels/common.py imports "torch"'),
        ("panels/common.py", "import blf", "import yaml", 'panels/common.py imports "yaml"'),
        ("tasks.py", "from .neural_core import errors", "from .neural_core import cameras, errors", "may need torch"),
        ("scene/mesh.py", "import numpy", "from ..neural_core.mesh import x\nimport numpy", "may need torch"),
        ("neural_core/protocol.py", "import json", "import json, numpy", "not in the standard library"),
        ("neural_core/errors.py", "from typing", "from . import cameras\nfrom typing", "may need torch"),
        ("panels/common.py", "# SPDX-License-Identifier: GPL-3.0-or-later\n", "", "does not begin with its licence"),
        ("blender_manifest.toml", 'id = "neural_portrait"', 'id = "other"', "not what Blender accepts"),
        ("blender_manifest.toml", '\nversion = "', '\nversion = "9', "neural_core"),
        ("blender_manifest.toml", "maintainer", "keeper", "lacks maintainer"),
        ("blender_manifest.toml", "[permissions]", "[permissions", "cannot be read"),
    ],
)
def test_what_may_not_ship_is_refused(build_addon, package, name, old, new, complaint):
    path = package / name
    text = path.read_text()
    assert old in text
    build_addon.verify(package)
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(build_addon.BuildError) as caught:
        build_addon.verify(package)
    assert complaint in str(caught.value)


def test_missing_licence_and_too_much_weight_are_refused(build_addon, package):
    shutil.move(package / "LICENSES" / "CC0-1.0.txt", package / "kept.txt")
    with pytest.raises(build_addon.BuildError, match=r"CC0-1.0.txt is missing"):
        build_addon.verify(package)
    shutil.move(package / "kept.txt", package / "LICENSES" / "CC0-1.0.txt")
    with (package / "assets" / "heavy.bin").open("wb") as file:
        file.truncate(build_addon.MAX_MEGABYTES * 1_000_000 + 1)
    with pytest.raises(build_addon.BuildError, match="more than"):
        build_addon.verify(package)


def test_blenders_own_tool_accepts_the_manifest(build_addon, package):
    """`blender_ext.py validate`, which comes with the bpy wheel."""
    import importlib.util

    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        pytest.skip("the bpy wheel is not installed")
    from pathlib import Path

    (tool,) = Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    run = subprocess.run(
        [sys.executable, str(tool), "validate", str(package)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
