# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting up the engine from Blender: what is announced, made, checked and removed, and what the panel says."""

from pathlib import Path

import bpy
import pretend_python
import pytest
from neural_portrait import backend, panels, preferences, session
from recording import drawn


@pytest.fixture
def chosen(scene, tmp_path, monkeypatch):
    """The preferences, without an engine, and with a pretending Python to make one of."""
    monkeypatch.delenv("NEURAL_PORTRAIT_PYTHON", raising=False)
    stored = preferences.stored()
    stored.base_python = str(pretend_python.write(tmp_path / "py" / "python3.12"))
    stored.engine_folder = str(tmp_path / "engine")
    stored.python, stored.wheels_folder, stored.compute = "", "", "cpu"
    monkeypatch.setattr(backend, "_online", lambda: True)
    yield stored
    backend.dismiss()


def shown():
    return drawn(panels.PORTRAIT_PT_status)


def test_size_and_place_are_announced_before(chosen):
    text, buttons = shown()
    assert "0.9 GB are downloaded, 2.7 GB on disk" in text
    assert chosen.engine_folder in text.replace(" ", "")
    assert "Remove Engine in System deletes it" in text
    assert buttons[0] == "portrait.setup_engine"
    chosen.compute = "cuda"
    assert "8.0 GB on disk" in shown()[0]
    chosen.wheels_folder = "/somewhere"
    assert "installed from your folder of wheels" in shown()[0]


def test_set_up_makes_an_engine_and_uses_it(chosen, scene):
    assert bpy.ops.portrait.setup_engine() == {"FINISHED"}
    assert Path(chosen.python) == Path(chosen.engine_folder) / "bin" / "python"
    assert preferences.worker_settings().python == chosen.python
    text, buttons = drawn(panels.PORTRAIT_PT_system)
    assert "Python 3.12.1, x86_64" in text
    assert "PyTorch 2.13.0: CPU, 2 threads" in text
    assert "Memory of this computer: 16 GB" in text
    assert "packages are there" in text
    assert "portrait.remove_engine" in buttons
    assert bpy.ops.portrait.remove_engine() == {"FINISHED"}
    assert not Path(chosen.engine_folder).exists()
    assert chosen.python == ""
    assert not bpy.ops.portrait.remove_engine.poll()


def test_what_failed_stays_in_the_panel_until_dismissed(chosen, tmp_path):
    chosen.base_python = str(pretend_python.write(tmp_path / "full" / "python", pip="full"))
    assert bpy.ops.portrait.setup_engine() == {"CANCELLED"}
    text, buttons = shown()
    assert "Installing PyTorch failed: the disk is full. Make room" in text
    assert {"portrait.copy_setup_log", "portrait.copy_setup_command", "portrait.dismiss_setup"} <= set(buttons)
    assert chosen.python == ""
    bpy.ops.portrait.copy_setup_log()
    assert "No space left on device" in "\n".join(backend.job().log)
    bpy.ops.portrait.dismiss_setup()
    assert "the disk is full" not in shown()[0]


def test_online_access_off(chosen, monkeypatch):
    monkeypatch.setattr(backend, "_online", lambda: False)
    assert bpy.ops.portrait.setup_engine() == {"CANCELLED"}
    text, buttons = shown()
    assert "Blender's online access is off; nothing was downloaded." in text
    assert "Allow Online Access" in text
    assert {"portrait.preferences", "portrait.copy_setup_command"} <= set(buttons)


def test_online_access_is_blenders():
    assert backend._online() is bpy.app.online_access


def test_only_3_13_offers_to_go_on(chosen, tmp_path):
    chosen.base_python = str(pretend_python.write(tmp_path / "new" / "python", version=[3, 13, 0]))
    assert bpy.ops.portrait.setup_engine() == {"CANCELLED"}
    text, buttons = shown()
    assert "Only Python 3.13.0 was found. Python 3.13.0 has no wheels of mediapipe" in text
    assert "Install Python 3.12" in text
    assert "portrait.setup_engine" in buttons
    assert bpy.ops.portrait.setup_engine(newer=True) == {"FINISHED"}
    assert chosen.python


def test_existing_python_is_looked_at_first(chosen, tmp_path):
    python = str(pretend_python.write(tmp_path / "mine" / "python", packages={"mediapipe": ""}))
    assert bpy.ops.portrait.use_python(filepath=python) == {"FINISHED"}
    assert chosen.python == python
    text, buttons = drawn(panels.PORTRAIT_PT_system)
    assert "Missing: mediapipe is not installed" in text
    assert "-m pip install mediapipe==0.10.21" in text
    assert "portrait.copy_setup_command" in buttons


def test_existing_python_without_torch_is_not_taken(chosen, tmp_path):
    python = str(pretend_python.write(tmp_path / "mine" / "python", packages={"torch": ""}))
    assert bpy.ops.portrait.use_python(filepath=python) == {"CANCELLED"}
    assert chosen.python == ""
    text, buttons = shown()
    assert "That Python has no torch (tried: `import torch`: No module named 'torch')." in text
    assert {"portrait.use_python", "portrait.copy_setup_command"} <= set(buttons)
    assert "-m pip install 'torch>=" in drawn(panels.PORTRAIT_PT_system)[0]


def test_a_file_that_is_no_python(chosen):
    assert bpy.ops.portrait.use_python(filepath="/bin/true") == {"CANCELLED"}
    assert '"/bin/true" does not answer as a Python does.' in shown()[0]
    assert chosen.python == ""


def test_a_running_set_up_shows_progress_and_cancel(chosen, monkeypatch):
    job = type("Running", (), {"state": "running", "title": "Set Up", "stage": "Installing PyTorch: 12 of 190 MB"})()
    job.fraction, job.log, job.cancel, job.wait = 0.3, ["Collecting torch"], lambda: None, lambda seconds: True
    monkeypatch.setattr(backend, "_job", job)
    text, buttons = shown()
    assert text == "Installing PyTorch: 12 of 190 MB Collecting torch"
    assert buttons == ["portrait.cancel_setup"]
    assert not bpy.ops.portrait.setup_engine.poll()
    assert bpy.ops.portrait.cancel_setup.poll()


def test_engine_is_started_freed_and_stopped_from_the_panel(scene):
    assert not bpy.ops.portrait.free_memory.poll()
    assert bpy.ops.portrait.start_engine() == {"FINISHED"}
    pid = session.engine().pid
    assert pid
    assert not bpy.ops.portrait.start_engine.poll()
    assert bpy.ops.portrait.free_memory() == {"FINISHED"}
    assert "The engine dropped its models: it now takes 21 MB." in shown()[0]
    text, buttons = drawn(panels.PORTRAIT_PT_system)
    assert f"running (process {pid})" in text
    assert {"portrait.start_engine", "portrait.stop_engine", "portrait.test_engine"} <= set(buttons)
    assert bpy.ops.portrait.stop_engine() == {"FINISHED"}
    assert session.engine().pid is None


def test_freed_portraits_are_sent_again(portrait):
    bpy.ops.portrait.free_memory()
    assert bpy.ops.portrait.update_mesh() == {"FINISHED"}
    assert session.engine().status.state != "error", session.engine().status
