# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests that run inside Blender (the bpy wheel), in a process of their own where torch cannot load."""

import os
import sys
from pathlib import Path

import pytest

sys.modules["torch"] = None  # `import torch` raises ImportError from here on

import bpy  # noqa: E402  (after torch is blocked)

sys.path[:0] = [os.environ["NEURAL_PORTRAIT_TEST_STAGE"], str(Path(__file__).resolve().parents[1])]


@pytest.fixture
def scene():
    """An empty file with the add-on enabled; the stub is its worker."""
    import addon_utils  # exists once bpy is imported

    bpy.ops.wm.read_factory_settings(use_empty=True)  # also disables add-ons
    assert addon_utils.enable("neural_portrait", default_set=True) is not None
    yield bpy.context.scene
    addon_utils.disable("neural_portrait", default_set=True)


@pytest.fixture
def portrait(scene):
    """A portrait of the stub: its root."""
    from neural_portrait.scene import find

    scene.portrait.detail, scene.portrait.size = 96, 64
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    return root


@pytest.fixture
def moving(scene, tmp_path, monkeypatch):
    """A portrait of the stub whose pictures follow its rig: its root."""
    import staging
    from neural_portrait.scene import find

    staging.write_model(tmp_path / "moving.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    scene.portrait.model, scene.portrait.detail, scene.portrait.size = "moving", 48, 32
    assert bpy.ops.portrait.create() == {"FINISHED"}
    (root,) = find.roots(scene)
    return root


def pytest_unconfigure(config):
    """Leave without Blender's exit handlers: the wheels 4.2 and 4.5 crash or hang in them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(config, "portrait_exit_status", 1))


def pytest_sessionfinish(session, exitstatus):
    session.config.portrait_exit_status = int(exitstatus)
