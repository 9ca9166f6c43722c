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


@pytest.fixture
def keyed(moving, scene, tmp_path):
    """A saved portrait whose jaw opens from frame 1 to 5, seen by its own camera at frame 3; nothing is in memory."""
    from neural_portrait import pictures
    from neural_portrait.scene import find

    rig = find.part(moving, "RIG")
    for frame, value in ((1, 0.0), (5, 1.0)):
        rig["jawOpen"] = value
        rig.keyframe_insert('["jawOpen"]', frame=frame)
    rig.update_tag()
    scene.frame_start, scene.frame_end = 1, 5
    bpy.ops.portrait.show(what="PICTURE")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    scene.frame_set(3)
    pictures.drawn.clear()
    return moving


@pytest.fixture
def drawn(monkeypatch):
    """How open the jaw is in the pictures that are asked of the engine from now on."""
    from neural_portrait import session
    from neural_portrait.neural_core import protocol

    asked, send = [], session.engine()._send

    def remember(request):
        if isinstance(request, protocol.Render):
            asked.append(request.controls.get("actions", {}).get("jawOpen", 0.0))
        return send(request)

    monkeypatch.setattr(session.engine(), "_send", remember)
    return asked


def pytest_unconfigure(config):
    """Leave without Blender's exit handlers: the wheels 4.2 and 4.5 crash or hang in them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(config, "portrait_exit_status", 1))


def pytest_sessionfinish(session, exitstatus):
    session.config.portrait_exit_status = int(exitstatus)
