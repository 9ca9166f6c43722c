# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures shared by the tests outside Blender: staged add-ons, real Blenders."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import staging


@pytest.fixture(scope="session")
def stub_stage(tmp_path_factory):
    """The folder that holds the staged package with the stub worker."""
    folder = tmp_path_factory.mktemp("stub")
    staging.stage(folder, stub=True)
    return folder


@pytest.fixture(scope="session")
def real_stage(tmp_path_factory):
    """The folder that holds the staged package as it ships."""
    folder = tmp_path_factory.mktemp("stage")
    staging.stage(folder, stub=False)
    return folder


@pytest.fixture(autouse=True)
def worker_python(monkeypatch):
    """The engine's Python is the one that runs the tests."""
    monkeypatch.setenv("NEURAL_PORTRAIT_PYTHON", os.environ.get("NEURAL_PORTRAIT_PYTHON", sys.executable))
