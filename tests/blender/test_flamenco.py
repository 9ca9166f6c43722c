# SPDX-License-Identifier: GPL-3.0-or-later
"""The job type for Flamenco: its tasks, and that they do what they should when they are run one after another."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from staging import HERE, ROOT
from test_batch import JOB, read_png

TYPE = ROOT / "blender_addon" / "flamenco" / "neural_portrait.js"
KNOWN_TYPES = {"string", "int32", "float", "bool"}
KNOWN_TASKS = {"blender", "ffmpeg", "file-management", "misc"}

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def compile_job(**settings):
    """Return the job type and the tasks that it makes of some settings."""
    given = {"job_file": "/s/j.toml", "batch_script": "/s/batch.py", "blendfile": "/s/p.blend", **settings}
    command = ["node", str(HERE / "flamenco_harness.js"), str(TYPE), json.dumps(given)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode:
        raise ValueError(run.stderr)
    made = json.loads(run.stdout)
    return made["type"], made["tasks"]


def test_the_settings_are_what_flamenco_knows():
    job_type, _ = compile_job(frames="1", render_output_path="/s/r/f_####.png")
    assert job_type["label"] == "Neural Portrait"
    for setting in job_type["settings"]:
        assert setting["type"] in KNOWN_TYPES
        assert setting.get("subtype", "file_path") in {"file_path", "dir_path", "hashed_file_path"}
        assert setting.get("visible", "web") in {"visible", "hidden", "submission", "web"}
        assert {"description", "key"} <= setting.keys()
        if "choices" in setting:
            assert setting["default"] in setting["choices"]


def test_scene_is_baked_first_then_drawn():
    _, tasks = compile_job(frames="1-5,9", chunk_size=4, render_output_path="/s/r/f_####.png", samples=3)
    by_name = {task["name"]: task for task in tasks}
    assert list(by_name) == ["card-1-4", "scene-1-4", "card-5,9", "scene-5,9"]
    for chunk in ("1-4", "5,9"):
        bake, draw = by_name[f"card-{chunk}"], by_name[f"scene-{chunk}"]
        assert bake["dependencies"] == []
        assert draw["dependencies"] == [bake["name"]]
        assert (bake["type"], draw["type"]) == ("misc", "blender")
        assert {bake["type"], draw["type"]} <= KNOWN_TASKS
        (command,) = draw["commands"]
        assert (command["name"], command["parameters"]["exe"]) == ("exec", "{blender}")
        arguments = command["parameters"]["args"]
        assert arguments[:7] == ["-b", "/s/p.blend", "--python-exit-code", "7", "-P", "/s/batch.py", "--"]
        assert arguments[arguments.index("--frames") + 1] == chunk


@pytest.mark.parametrize(("what", "names"), [("mesh", ["mesh-1-2"]), ("plane", ["plane-1-2"]), ("card", ["card-1-2"])])
def test_other_pictures_are_one_phase(what, names):
    _, tasks = compile_job(frames="1-2", what=what, render_output_path="/s/r/f_####.png")
    assert [task["name"] for task in tasks] == names


def test_chunks_without_frames_are_refused():
    with pytest.raises(ValueError, match="chunk_size is 0"):
        compile_job(frames="1-2", chunk_size=0, render_output_path="/s/r/f_####.png")


@pytest.mark.slow
def test_the_tasks_draw_the_frames_and_the_second_phase_needs_no_engine(stub_stage, tmp_path, monkeypatch):
    """Each task's own command line, with Python in Blender's place."""
    import stub_worker
    from staging import write_model

    write_model(tmp_path / "moving.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    script = str(stub_stage / "neural_portrait" / "batch.py")
    made = JOB[: JOB.index("[job.render]")].replace("seed = 7,", 'seed = 7, model = "moving",')
    (tmp_path / "made.toml").write_text(made + '[job.policy]\nsave_blend = "p.blend"\n')
    subprocess.run([sys.executable, script, str(tmp_path / "made.toml")], check=True, capture_output=True, timeout=300)
    job = 'version = 1\n[[job]]\ndo = "render"\n[job.scene]\nblend = "p.blend"\n[job.portrait]\nshow = "PICTURE"\n'
    (tmp_path / "job.toml").write_text(job + '[job.render]\nsize = 32\nout = "unused.png"\n')
    _, tasks = compile_job(
        frames="1,7,13,20",
        chunk_size=4,
        samples=1,
        render_output_path=str(tmp_path / "render" / "f_####.png"),
        job_file=str(tmp_path / "job.toml"),
        batch_script=script,
        blendfile=str(tmp_path / "p.blend"),
    )
    without = {key: value for key, value in os.environ.items() if key != "NEURAL_PORTRAIT_PYTHON"}
    for task, environment in zip(tasks, (None, {**without, "NEURAL_PORTRAIT_PYTHON": "/nowhere"}), strict=True):
        arguments = task["commands"][0]["parameters"]["args"]
        command = [sys.executable, script, *arguments[arguments.index("--") + 1 :]]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
    baked = sorted((tmp_path / "portrait_cache").rglob("f_*.png"))
    assert len(baked) == 4
    assert (read_png(baked[3]) == stub_worker.picture(32, 1.0)).all()
    frames = [read_png(path).astype(float) for path in sorted((tmp_path / "render").glob("f_*.png"))]
    assert len(frames) == 4
    blue = [frame[16, 16, 2] for frame in frames]  # jawOpen goes from 0 to 1, and with it the stub's blue
    assert blue == sorted(blue)
    assert blue[-1] - blue[0] > 100
