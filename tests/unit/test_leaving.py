# SPDX-License-Identifier: Apache-2.0
"""A process of `torchrun` ends with its exit code, whatever threads still wait."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("processes", "farewell"), [("2", False), ("1", True)])
def test_only_alone_the_interpreter_says_farewell(repository, processes, farewell):
    program = (
        "import atexit; atexit.register(lambda: print('farewell', flush=True))\n"
        "from training.leaving import leave\n"
        "print('done')\n"
        "leave(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "WORLD_SIZE": processes}, cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout.split() == (["done", "farewell"] if farewell else ["done"])
