# SPDX-License-Identifier: GPL-3.0-or-later
"""Send to Flamenco: what the farm gets of a scene, and what the panel says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import fake_flamenco
import pytest
from neural_portrait import farm, flamenco_manager, job, preferences, session
from neural_portrait.scene import find


@pytest.fixture
def manager(tmp_path):
    with fake_flamenco.running(str(tmp_path)) as running:
        preferences.stored().flamenco = running.address
        yield running


def said():
    status = session.engine().status
    return status.state, status.message, status.hint


def test_the_farm_gets_the_scene_and_a_job_file_that_fits(keyed, scene, manager, tmp_path):
    scene.render.engine, scene.cycles.samples = "CYCLES", 17
    scene.camera.data.lens = 77.0  # not saved yet
    assert bpy.ops.portrait.send_to_flamenco(chunk=3, priority=60) == {"FINISHED"}
    (got,) = manager.jobs
    assert (got["name"], got["priority"]) == ("scene", 60)
    path = tmp_path / "scene.flamenco.toml"
    assert got["settings"] == {
        "frames": "1-5",
        "chunk_size": 3,
        "render_output_path": str(tmp_path / "render" / "####.png"),
        "what": "scene",
        "engine": "CYCLES",
        "samples": 17,
        "job_file": str(path),
        "batch_script": str(Path(job.__file__).with_name("batch.py")),
        "blendfile": str(tmp_path / "scene.blend"),
    }
    (one,) = job.read(path)
    assert (one.do, one.scene.blend, one.portrait.rig, one.render.what) == (
        "render",
        "scene.blend",
        keyed.name,
        ("scene",),
    )
    assert one.worker.python == "env:NEURAL_PORTRAIT_PYTHON"  # not the Python of this computer
    page = f"{manager.address}/app/jobs/{fake_flamenco.IDENTIFIER}"
    camera = scene.camera.name
    assert said() == ("notice", f'The job is at the farm "{fake_flamenco.NAME}".', f"See {page}")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert bpy.data.objects[camera].data.lens == 77.0


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_our_job_type_makes_tasks_of_what_is_sent(keyed, manager):
    bpy.ops.portrait.send_to_flamenco(chunk=3)
    (got,) = manager.jobs
    harness = Path(fake_flamenco.__file__).with_name("flamenco_harness.js")
    command = ["node", str(harness), str(fake_flamenco.SCRIPT), json.dumps(got["settings"])]
    tasks = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)["tasks"]
    assert [task["name"] for task in tasks] == ["card-1-3", "scene-1-3", "card-4-5", "scene-4-5"]
    for task in tasks:
        arguments = task["commands"][0]["parameters"]["args"]
        assert Path(arguments[arguments.index("-P") + 1]).is_file()
        assert Path(arguments[arguments.index("--") + 1]).is_file()


def test_a_file_whose_folder_is_gone_cannot_be_saved(keyed, manager, tmp_path):
    shutil.rmtree(tmp_path)
    bpy.ops.portrait.send_to_flamenco()
    state, message, _ = said()
    assert (state, message[:25]) == ("error", "The file cannot be saved:")
    assert "Traceback" not in message
    assert "\n" not in message
    assert manager.asked == []


def test_what_is_chosen_goes_along(keyed, manager, tmp_path):
    preferences.stored().farm_add_on = "/farm/neural_portrait/batch.py"
    bpy.ops.portrait.send_to_flamenco(
        name=" Take 2 ", what="plane", out=str(tmp_path / "p" / "f_####.png"), frames="2,4-5"
    )
    (got,) = manager.jobs
    assert got["name"] == "Take 2"
    chosen = {key: got["settings"][key] for key in ("frames", "what", "render_output_path", "batch_script")}
    assert chosen == {
        "frames": "2,4-5",
        "what": "plane",
        "render_output_path": str(tmp_path / "p" / "f_####.png"),
        "batch_script": "/farm/neural_portrait/batch.py",
    }


def test_a_refusal_is_a_sentence_in_the_panel_and_the_next_attempt_works(keyed, manager):
    manager.refuse = 500, "no worker can do that"
    bpy.ops.portrait.send_to_flamenco()
    state, message, _ = said()
    assert (state, message) == (
        "error",
        f"The Flamenco Manager at {manager.address} refused (HTTP 500): no worker can do that",
    )
    manager.refuse = None
    session.engine().dismiss()
    assert bpy.ops.portrait.send_to_flamenco() == {"FINISHED"}
    assert said()[0] == "notice"


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"frames": "1-"}, '"1-" are no frames.'),
        ({"out": "/elsewhere/####.png"}, '"/elsewhere/####.png" is not on the farm\'s shared storage'),
    ],
)
def test_what_makes_no_sense_is_not_sent(keyed, manager, chosen, sentence):
    bpy.ops.portrait.send_to_flamenco(**chosen)
    assert said()[1].startswith(sentence)
    assert manager.jobs == []


def test_other_computers_are_asked_only_with_online_access(keyed, scene, monkeypatch):
    """The wheel's online access is off; nothing may be looked up."""
    assert not bpy.app.online_access
    asked = []
    monkeypatch.setattr(flamenco_manager, "submit", lambda *given: asked.append(given))
    preferences.stored().flamenco = "http://farm.example:8080"
    bpy.ops.portrait.send_to_flamenco()
    assert said()[1] == "Blender's online access is off; nothing was sent to http://farm.example:8080."
    assert asked == []
    preferences.stored().flamenco = "farm example"
    bpy.ops.portrait.send_to_flamenco()
    assert said()[1] == '"farm example" is no address of a Flamenco Manager.'


def test_a_file_must_be_saved(portrait, manager):
    with pytest.raises(RuntimeError, match="poll"):
        bpy.ops.portrait.send_to_flamenco()
    assert manager.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="folders without write permission are another thing there")
def test_a_folder_that_may_not_be_written_is_a_sentence(keyed, manager, tmp_path, monkeypatch):
    from neural_portrait.neural_core import errors, files

    def fail(path, data):
        raise errors.PortraitError(f'Cannot write "{path}": Permission denied.', kind="output")

    monkeypatch.setattr(files, "write_bytes", fail)
    bpy.ops.portrait.send_to_flamenco()
    assert said()[1] == f'Cannot write "{tmp_path / "scene.flamenco.toml"}": Permission denied.'
    assert manager.asked == []


def test_in_the_window_nothing_waits_and_what_comes_is_told_when_the_engine_is_quiet(keyed, manager, monkeypatch):
    class Window:
        """What farm.py sees of Blender: a window, in which timers would run."""

        background = False
        online_access = False

        class timers:
            registered = staticmethod(lambda *_: False)
            is_registered = staticmethod(lambda *_: True)

    manager.silent.add("version")
    monkeypatch.setattr(farm, "bpy", type("bpy", (), {"app": Window}))
    monkeypatch.setattr(flamenco_manager, "TIMEOUT_S", 0.5)
    submission = flamenco_manager.Submission("a", {}, [])
    farm.send(manager.address, submission)
    assert farm.stage() == "Looking for the Flamenco Manager"
    assert farm._pump() == farm.PUMP_S
    with pytest.raises(RuntimeError, match="poll"):
        bpy.ops.portrait.send_to_flamenco()
    monkeypatch.setattr(session.engine(), "_running", object())  # it works on something else
    assert fake_flamenco.wait_for(lambda: farm._job.state != "running")
    assert farm._pump() == farm.PUMP_S
    assert said()[0] == "idle"
    monkeypatch.undo()
    assert farm._pump() is None
    assert "no answer within 0.5 s" in said()[1]
    assert farm.stage() == ""


def test_the_portrait_that_is_sent_is_the_selected_one(keyed, scene, manager, tmp_path):
    scene.portrait.seed = 8
    assert bpy.ops.portrait.create() == {"FINISHED"}
    other = next(root for root in find.roots(scene) if root != keyed)
    bpy.ops.portrait.send_to_flamenco()
    (one,) = job.read(tmp_path / "scene.flamenco.toml")
    assert one.portrait.rig == other.name
