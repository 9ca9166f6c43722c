# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs each file of wheel/ in a process of its own: the bpy wheel cannot be unloaded, and crashes or hangs at exit.

Other wheels than that of the tests' own Python run them too, where $BPY_PYTHONS names their Pythons (see blenders.py).
"""

import os
import subprocess
import sys

import pytest
from blenders import WHEELS
from staging import HERE, ROOT

FILES = sorted(path.name for path in (HERE / "wheel").glob("wheel_*.py"))


def test_there_are_files_to_run():
    assert len(FILES) >= 3


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("python", WHEELS)
def test_file_passes_inside_the_bpy_wheel(python, name, stub_stage):
    environment = {
        **os.environ,
        "NEURAL_PORTRAIT_PYTHON": sys.executable,
        "NEURAL_PORTRAIT_TEST_STAGE": str(stub_stage),
        "OMP_NUM_THREADS": "1",
    }
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-o",
        "addopts=--import-mode=importlib",
        "-p",
        "no:randomly",
    ]
    command += ["-p", "no:cacheprovider", str(HERE / "wheel" / name)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, f"{run.stdout[-6000:]}\n{run.stderr[-3000:]}"
    assert " passed" in run.stdout
