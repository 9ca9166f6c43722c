# SPDX-License-Identifier: GPL-3.0-or-later
"""batch.py as a program, in the bpy wheel with the stub worker: files, records, exit codes, sentences."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import staging
from staging import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed")

JOB = """
version = 1
[[job]]
do = "create"
name = "test"
[job.scene]
frames = "1,2"
[job.portrait]
create = { seed = 7, detail = 48, size = 32 }
key = [ { frame = 1, expression = { jawOpen = 0.0 } }, { frame = 20, expression = { jawOpen = 1.0 } } ]
[job.render]
what = ["plane", "scene"]
size = 32
samples = 1
out = "out/f_###.png"
[job.policy]
save_blend = "out/p.blend"
"""


STUB_MODELS = ("dies", "missing", "moving", "deaf", "crashes")
"""Names that tell the stub worker how to behave."""


class Ran:
    """A finished batch: exit code, the lines for programs, and everything it printed."""

    def __init__(self, run):
        self.code, self.out, self.err = run.returncode, run.stdout, run.stderr
        lines = [line for line in run.stdout.splitlines() if line.startswith("PORTRAIT ")]
        self.lines = [json.loads(line.removeprefix("PORTRAIT ")) for line in lines]

    def events(self, name):
        return [line for line in self.lines if line["event"] == name]

    def drawn(self):
        """Return the names of the frames that were drawn, what was baked for cards aside."""
        lines = [line for line in self.events("frame") if not line.get("resumed") and line["what"] != "card"]
        return {line["path"].rpartition("/")[2] for line in lines}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with files of the models that the stub knows."""
    folder = tmp_path_factory.mktemp("models")
    for name in STUB_MODELS:
        staging.write_model(folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def batch(stub_stage, tmp_path, models, monkeypatch):
    """Run the staged batch.py on a job text in an empty folder."""
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(models))

    def run(text, *arguments, script=stub_stage / "neural_portrait" / "batch.py"):
        (tmp_path / "job.toml").write_text(text)
        command = [sys.executable, str(script), str(tmp_path / "job.toml"), *arguments]
        return Ran(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False))

    return run


def read_png(path):
    import imageio.v3

    return imageio.v3.imread(path)


def test_frames_have_the_background_that_the_job_asks_for(batch, tmp_path):
    import stub_worker

    text = JOB.replace("p.blend", "q.blend").replace('frames = "1,2"', 'frames = "1"')
    found = {}
    for name, background in (("none", ""), ("none again", "transparent"), ("colour", "#3399ff"), ("model", "model")):
        ran = batch(text, "--set", f'render.background="{background}"', "--resume")
        assert ran.code == 0, ran.err
        found[name] = read_png(tmp_path / "out" / "f_001_plane.png"), read_png(tmp_path / "out" / "f_001_scene.png")
        assert ran.drawn() == (set() if name == "none again" else {"f_001_plane.png", "f_001_scene.png"})
    cut = stub_worker.picture(32)
    np.testing.assert_array_equal(found["none"][0], cut)
    assert tuple(found["colour"][0][0, 0]) == (0x33, 0x99, 0xFF, 255)
    np.testing.assert_array_equal(found["colour"][0][16, 16], cut[16, 16])
    np.testing.assert_array_equal(found["model"][0][..., :3], cut[..., :3])
    assert (found["model"][0][..., 3] == 255).all()
    wrong = batch(text, "--set", 'render.background="blue"')
    assert wrong.code == 2
    assert 'render.background: "blue" is no background' in wrong.err


def test_create_writes_frames_a_record_and_a_blend(batch, tmp_path):
    ran = batch(JOB)
    assert ran.code == 0, ran.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {f"f_00{frame}_{what}.png" for frame in (1, 2) for what in ("plane", "scene")}
    assert names == expected | {"frames.jsonl", "p.blend"}
    record = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    assert {line["file"] for line in record} == expected | {"p.blend"}
    drawn = [line for line in record if line["file"] != "p.blend"]
    assert all(line["seed"] == 7 and line["model_hash"] == "0123456789abcdef" for line in drawn)
    assert [line["path"] for line in ran.events("file")] == [str(tmp_path / "out" / "p.blend")]
    assert any(line["stage"].startswith("Drawing the picture") for line in ran.events("stage"))
    summary = ran.lines[-1]
    assert (summary["event"], summary["code"]) == ("done", 0)
    (one,) = summary["jobs"]
    assert (one["name"], one["do"], one["state"]) == ("test", "create", "done")
    assert one["frames"] == {"drawn": 4, "kept": 0, "skipped": []}
    assert one["files"] == [str(tmp_path / "out" / "p.blend")]
    assert json.loads((tmp_path / "job.summary.json").read_text()) == summary

    import stub_worker

    np.testing.assert_array_equal(read_png(tmp_path / "out" / "f_001_plane.png"), stub_worker.picture(32))
    scene = read_png(tmp_path / "out" / "f_001_scene.png")
    assert scene.shape == (32, 32, 4)
    assert scene[16, 16, :3].std() > 10  # the egg's colours, not the wall


def test_resume_skips_what_is_there_and_only_that(batch, tmp_path):
    assert batch(JOB).code == 0
    (tmp_path / "out" / "f_002_plane.png").unlink()
    ran = batch(JOB, "--resume")
    assert ran.code == 0
    assert ran.drawn() == {"f_002_plane.png"}
    ran = batch(JOB.replace("jawOpen = 1.0", "jawOpen = 0.5"), "--resume")
    # The still network's picture looks as before, and so does frame 1 of all.
    assert ran.drawn() == {"f_002_scene.png"}


def test_frames_and_set_beat_the_job(batch, tmp_path):
    ran = batch(JOB, "--frames", "5", "--set", 'render.what=["plane"]', "--set", "render.size=16")
    assert ran.code == 0, ran.err
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["f_005.png"]
    assert read_png(tmp_path / "out" / "f_005.png").shape == (16, 16, 4)


def test_render_job_on_the_saved_blend(batch, tmp_path):
    assert batch(JOB).code == 0
    text = """
version = 1
[[job]]
do = "render"
[job.scene]
blend = "out/p.blend"
frames = "3"
[job.portrait]
rig = "Portrait 7 rig"
[job.render]
what = ["plane", "mesh"]
size = 24
samples = 1
out = "//again_#.png"
"""
    ran = batch(text)
    assert ran.code == 0, ran.err
    assert read_png(tmp_path / "out" / "again_3_plane.png").shape == (24, 24, 4)
    mesh = read_png(tmp_path / "out" / "again_3_mesh.png")
    assert mesh[0, 0, 3] == 0  # nothing behind the head
    assert mesh[12, 12, 3] == 255


@pytest.mark.parametrize(
    ("old", "new", "code", "sentence"),
    [
        ("seed = 7", "sede = 7", 2, 'unknown key "sede". Did you mean "seed"?'),
        ("seed = 7", 'seed = "x"', 2, "must be a whole number"),
        ("seed = 7", 'seed = 7, model = "missing"', 3, 'Stub error of kind "model". A hint.'),
        ("seed = 7", 'seed = 7, model = "none"', 3, 'portrait.create.model: there is no model "none". Known: default'),
        ("seed = 7", 'seed = 7, model = "dies"', 4, "The engine stopped (exit code 3) while creating the portrait."),
        ('name = "test"', '[job.worker]\npython = "/nowhere/python"', 3, '"/nowhere/python" is no program'),
        ('name = "test"', '[job.worker]\npython = "env:NOT_SET_AT_ALL"', 3, "Neural Portrait needs its engine"),
        ('name = "test"', '[job.scene]\nblend = "none.blend"', 2, 'job 1: scene.blend: there is no file "'),
        ("[job.portrait]", '[job.portrait]\nactions = ["none.json"]', 2, "portrait.actions[0]: there is no file"),
        ('frames = "1,2"', 'camera = "Cam"', 2, 'The scene has no camera "Cam".'),
    ],
)
def test_exit_codes_and_sentences(batch, tmp_path, old, new, code, sentence):
    text = JOB.replace('[job.scene]\nframes = "1,2"\n', "") if "[job.scene]" in new else JOB
    ran = batch(text.replace(old, new, 1))
    assert ran.code == code, ran.err
    assert sentence in ran.err
    assert "Traceback" not in ran.err
    assert ran.events("error")[0]["code"] == code
    assert not (tmp_path / "out" / "p.blend").exists()


def test_a_photo_beside_the_job_becomes_a_portrait(batch, tmp_path):
    (tmp_path / "me.jpg").write_bytes(b"not looked at by the stub")
    text = JOB.replace("seed = 7", 'photo = "me.jpg", latent_iterations = 2').replace('["plane", "scene"]', '["plane"]')
    assert batch(text, "--frames", "1").code == 0
    ran = batch(text.replace("me.jpg", "you.jpg"))
    assert ran.code == 2
    assert f'portrait.create.photo: there is no file "{tmp_path / "you.jpg"}"' in ran.err


def test_time_limit_is_code_5(batch):
    ran = batch(JOB.replace("seed = 7", 'seed = 7, model = "deaf"') + "[job.worker]\ntimeout_s = 1.0\n")
    assert ran.code == 5
    assert "took longer than 1 s" in ran.err


def test_who_is_asked_to_end_ends_as_cancelled(stub_stage, models, tmp_path, monkeypatch):
    """A farm that stops a task sends SIGTERM."""
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(models))
    (tmp_path / "job.toml").write_text(JOB.replace("seed = 7", 'seed = 7, model = "deaf"'))
    command = [sys.executable, str(stub_stage / "neural_portrait" / "batch.py"), str(tmp_path / "job.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while '"stage"' not in process.stdout.readline():
            pass
        process.terminate()
        said, err = process.communicate(timeout=60)
    assert process.returncode == 5, err
    assert "batch: cancelled." in err
    summary = json.loads(said.splitlines()[-1].removeprefix("PORTRAIT "))
    assert (summary["code"], summary["kind"], summary["jobs"][0]["state"]) == (5, "cancelled", "failed")


def test_an_output_that_cannot_be_written_leaves_nothing(batch, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    ran = batch(JOB)
    assert ran.code == 2
    assert "Cannot write" in ran.err
    assert "its folder is a file" in ran.err or "a part of that path is a file" in ran.err.lower()
    assert "Traceback" not in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {"job.toml", "job.summary.json", "out"}
    assert ran.events("stage") == []  # it was seen before the engine began


def test_skipped_frames_are_code_6(batch, tmp_path):
    """A folder stands where a frame should go: that frame fails, the other is drawn."""
    (tmp_path / "out" / "f_001.png").mkdir(parents=True)
    text = JOB.replace('["plane", "scene"]', '["plane"]').replace(
        "[job.policy]", '[job.policy]\non_frame_error = "skip"'
    )
    ran = batch(text)
    assert ran.code == 6, ran.err
    assert [line["frame"] for line in ran.events("skipped")] == [1]
    assert (tmp_path / "out" / "f_002.png").is_file()


def test_no_job_file_is_usage(stub_stage, tmp_path):
    command = [sys.executable, str(stub_stage / "neural_portrait" / "batch.py")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 2
    assert "usage: batch.py" in run.stderr


def test_batch_runs_from_a_clone(batch, tmp_path):
    """By its path in the repository: it stages itself, then gets as far as the engine that is not there."""
    text = JOB.replace('name = "test"', '[job.worker]\npython = "/nowhere/python"')
    ran = batch(text, script=ROOT / "blender_addon" / "batch.py")
    assert ran.code == 3, ran.err
    assert '"/nowhere/python"' in ran.err


def test_frames_show_the_rigs_animation_where_the_model_moves(batch, stub_stage, tmp_path):
    import stub_worker

    text = JOB.replace("seed = 7", 'seed = 7, model = "moving"').replace('["plane", "scene"]', '["plane"]')
    ran = batch(text, "--frames", "1,20")
    assert ran.code == 0, ran.err
    for frame, jaw in ((1, 0.0), (20, 1.0)):
        np.testing.assert_array_equal(read_png(tmp_path / "out" / f"f_0{frame:02d}.png"), stub_worker.picture(32, jaw))


@pytest.mark.slow
@pytest.mark.parametrize("facts", [{"what": '["plane"]'}, {"what": '["mesh"]', "frames": 6, "killed_at": 3}])
def test_killed_and_resumed_is_as_if_nothing_had_been(facts, stub_stage, models, tmp_path):
    """The network's frames and Blender's, in the wheel."""
    import resuming

    command = [sys.executable, str(stub_stage / "neural_portrait" / "batch.py")]
    resuming.check(resuming.Runner(command, tmp_path, model="moving", models=models, **facts))


EXPORT = """
version = 1
[[job]]
do = "export"
[job.portrait]
create = { seed = 7, detail = 48, make = ["rig", "mesh"] }
[job.export]
out = ["out/p.glb", "out/p.ply"]
[[job]]
do = "turntable"
[job.portrait]
create = { seed = 7, detail = 48, make = ["rig"] }
[job.turntable]
frames = 3
start = 10
[job.render]
size = 16
out = "out/turn_##.png"
[job.policy]
save_blend = "out/turn.blend"
"""


def test_export_and_turntable(batch, tmp_path):
    ran = batch(EXPORT)
    assert ran.code == 0, ran.err
    pictures = {f"turn_{frame}.png" for frame in (10, 11, 12)}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == pictures | {"p.glb", "p.ply", "turn.blend", "frames.jsonl"}
    assert (tmp_path / "out" / "p.glb").read_bytes()[:4] == b"glTF"
    first, second = ran.lines[-1]["jobs"]
    assert first["files"] == [str(tmp_path / "out" / name) for name in ("p.glb", "p.ply")]
    assert second["frames"]["drawn"] == 3

    # What is there, made from the same, is not made again; the engine is not even asked.
    (tmp_path / "out" / "p.ply").unlink()
    before = (tmp_path / "out" / "p.glb").stat().st_mtime_ns
    ran = batch(EXPORT, "--resume")
    assert ran.code == 0, ran.err
    assert ran.events("kept") == []
    assert (tmp_path / "out" / "p.glb").stat().st_mtime_ns > before  # one was missing: the job was done again
    before = (tmp_path / "out" / "p.glb").stat().st_mtime_ns
    ran = batch(EXPORT, "--resume")
    (kept,) = ran.events("kept")
    assert kept["files"] == first["files"]
    assert (tmp_path / "out" / "p.glb").stat().st_mtime_ns == before
    ran = batch(EXPORT.replace("seed = 7, detail = 48, make", "seed = 8, detail = 48, make", 1), "--resume")
    assert ran.events("kept") == []
    assert (tmp_path / "out" / "p.glb").stat().st_mtime_ns > before
