# SPDX-License-Identifier: GPL-3.0-or-later
"""Job files inside Blender: the plan, the examples of the documentation, what is wrong, and the panel's own files."""

import json
import os
import re
import shutil
import tempfile
import wave
from pathlib import Path

import bpy
import imageio.v3
import numpy as np
import pytest
import staging
import stub_worker as stub
from neural_portrait import frames, headless, model_list, session, unbaked
from neural_portrait.scene import curves, find
from sequencer import expected_sounds, sounds

DOCUMENT = staging.ROOT / "docs" / "batch.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
CURVES = {"format": "portrait-curves/1", "fps": 24, "curves": {"jawOpen": [0.0, 0.5, 1.0]}}
RECORDING = "Timecode,BlendShapeCount,JawOpen,EyeBlinkLeft\n" + "".join(
    f"00:00:00:{frame:02d},61,{frame / 59:.4f},0.0\n" for frame in range(60)
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the examples name, but for .blends."""
    staging.write_model(tmp_path / "models" / "moving.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "models"))
    (tmp_path / "me.jpg").write_bytes(b"a photo")
    (tmp_path / "me.mp4").write_bytes(b"a clip")
    (tmp_path / "nod.json").write_text(json.dumps(CURVES))
    (tmp_path / "take.csv").write_text(RECORDING)
    with wave.open(str(tmp_path / "hello.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16000))
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A .blend with a portrait of the stub and a camera of its own."""
    import addon_utils

    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon_utils.enable("neural_portrait", default_set=True)
    scene, path = bpy.context.scene, tmp_path_factory.mktemp("made") / "made.blend"
    scene.portrait.detail, scene.portrait.size = 48, 32
    assert bpy.ops.portrait.create() == {"FINISHED"}
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.matrix_world = find.part(find.roots(scene)[0], "CAMERA").matrix_world
    scene.camera = camera
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    addon_utils.disable("neural_portrait", default_set=True)
    return path


@pytest.fixture
def saved(folder, made):
    """scene.blend in that folder."""
    return Path(shutil.copyfile(made, folder / "scene.blend"))


@pytest.fixture
def run(folder, scene, capsys):
    """Run a job text by the command line's function; returns exit code, last line for programs, and standard error."""

    def run(text, *arguments):
        bpy.ops.wm.read_homefile(use_empty=True)
        (folder / "job.toml").write_text(text)
        capsys.readouterr()
        code = headless.main([str(folder / "job.toml"), *arguments], registered=True)
        said = capsys.readouterr()
        lines = [line for line in said.out.splitlines() if line.startswith("PORTRAIT ")]
        return code, json.loads(lines[-1].removeprefix("PORTRAIT ")), said.err

    return run


def pixels(path):
    return imageio.v3.imread(path)


# The plan ---------------------------------------------------------------------------------------------------------


def test_the_document_has_an_example_of_each_kind():
    from neural_portrait import job

    assert {kind for text in EXAMPLES for kind in re.findall(r'^do = "(\w+)"', text, re.M)} == set(job.KINDS)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_documentation_can_be_run(number, run, saved, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, plan, err = run(EXAMPLES[number], "--dry-run")
    assert code == 0, err
    assert plan["event"] == "plan"
    assert [one["do"] for one in plan["jobs"]] == re.findall(r'^do = "(\w+)"', EXAMPLES[number], re.M)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "job.toml"}
    assert after == {path: time for path, time in before.items() if path.name != "job.toml"}  # nothing was written


def test_a_plan_names_frames_and_files(run, saved, folder):
    text = next(text for text in EXAMPLES if 'do = "render"' in text)
    _, plan, _ = run(text, "--dry-run", "--frames", "7,9")
    (one,) = plan["jobs"]
    assert one["frames"] == [7, 9]
    names = [f"seven_{frame:04d}_{what}.png" for frame in (7, 9) for what in ("plane", "scene")]
    assert one["pictures"] == [str(folder / "render" / name) for name in names]
    assert (one["blend"], one["engine"], one["resume"]) == (str(saved), True, True)


def test_frames_of_a_scene_come_from_its_blend(run, saved):
    bpy.ops.wm.open_mainfile(filepath=str(saved))
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 3, 5
    bpy.ops.wm.save_as_mainfile(filepath=str(saved))
    text = next(text for text in EXAMPLES if 'do = "render"' in text).replace('frames = "1-48"\n', "")
    _, plan, _ = run(text, "--dry-run")
    assert plan["jobs"][0]["frames"] == [3, 4, 5]


# What is wrong -------------------------------------------------------------------------------------------------------

RENDER = """
version = 1
[[job]]
do = "render"
[job.scene]
blend = "scene.blend"
frames = "1-9"
[job.portrait]
rig = "Portrait 7"
[job.render]
size = 32
out = "out/f_####.png"
"""
CREATE = """
version = 1
[[job]]
do = "animate"
[job.scene]
frames = "1-9"
[job.portrait]
create = { seed = 7, model = "moving", detail = 48, size = 32, make = ["rig"] }
actions = ["nod.json"]
[job.render]
size = 32
out = "out/f_####.png"
"""
KEY = "key = [ { frame = 1, expression = { jawOpen = 0.5 } } ]"
SHOWN = "show = 'PICTURE'\n[job.policy]\nsave_blend = 's.blend'\n"
SCENE = "what = ['scene']\nsamples = 1\nsize = 32\n"
SPEAK = "[job.speak]\naudio = 'hello.wav'\nstart = 5\nstrength = 0.5\ncurves = 'said/hello.json'\n"
SPEAK += "[job.policy]\nsave_blend = 's.blend'\n"
RANDOM = "[job.animate]\nrandom = { frames = 30 }\n[job.policy]\nsave_blend = 'r.blend'\n"


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (("scene.blend", "none.blend"), 2, "job 1: scene.blend: there is no file"),
        (('"Portrait 7"', '"Portrait 8"'), 2, 'The scene has no portrait "Portrait 8". Portraits of the scene: "Portr'),
        (("[job.portrait]", 'camera = "Cam"\n[job.portrait]'), 2, 'The scene has no camera "Cam".'),
        (('"1-9"', '"9-1"'), 2, 'job 1: scene.frames: "9-1" are frames from last to first. Write "1-9".'),
        (('rig = "Portrait 7"', 'create = { model = "none" }'), 3, 'portrait.create.model: there is no model "none"'),
        (('rig = "Portrait 7"', 'actions = ["no.json"]'), 2, "job 1: portrait.actions[0]: there is no file"),
        (('rig = "Portrait 7"', "[job.animate]\ncsv = 'no.csv'"), 2, "job 1: animate.csv: there is no file"),
        (('rig = "Portrait 7"', "[job.animate]\nclip = 'no.mp4'"), 2, "job 1: animate.clip: there is no file"),
        (('rig = "Portrait 7"', "create = { clip = 'no.mp4' }"), 2, "job 1: portrait.create.clip: there is no file"),
        (("out/f_####", "job.toml/f_####"), 2, 'job 1: render.out: Cannot write "'),
        (("[job.render]", "[job.worker]\npython = '/no/python'\n[job.render]"), 3, '"/no/python" is no program'),
        (("[job.render]", "[job.export]\nout = ['job.toml/x.ply']\n[job.render]"), 2, "export.out[0]: Cannot write"),
    ],
)
def test_what_is_wrong_is_seen_before_anything_begins(run, saved, folder, change, code, sentence):
    assert change[0] in RENDER
    for options in (["--dry-run"], []):
        found, summary, err = run(RENDER.replace(*change, 1), *options)
        assert found == summary["code"] == code, err
        assert sentence in err
        assert not (folder / "out").exists()


def test_two_jobs_that_write_the_same_frames(run, saved):
    text = RENDER + RENDER.split("\n", 2)[2].replace('"1-9"', '"9-12"')
    code, _, err = run(text, "--dry-run")
    assert code == 2
    assert 'f_0009.png" is written by job 1: render.out, too.' in err
    assert run(text.replace('"9-12"', '"10-12"'), "--dry-run")[0] == 0


def test_cards_need_a_blend(run):
    code, _, err = run(CREATE.replace("size = 32\nout", 'what = ["card"]\nout'), "--dry-run")
    assert code == 2
    assert 'job 1: render.what: "card" needs a .blend.' in err


def test_the_last_jobs_missing_file_is_seen_before_the_first_job(run, saved, folder):
    text = CREATE + RENDER.split("\n", 2)[2].replace("scene.blend", "none.blend").replace("f_", "g_")
    code, _, err = run(text)
    assert code == 2
    assert "job 2: scene.blend" in err
    assert not (folder / "out").exists()


@pytest.fixture
def guarded():
    """A folder with a folder "locked", into which who runs this may not write; root becomes somebody else for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "locked").mkdir(mode=0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.setresuid(65534, 65534, 0)
        yield folder
        if is_root:
            os.setresuid(0, 0, 0)


@pytest.fixture
def known(scene, monkeypatch):
    """The models, read before who runs this becomes somebody who may not look into the stage."""
    found = model_list.models()
    monkeypatch.setattr(model_list, "models", lambda folder="": found)


def test_no_permission_to_write_is_seen_by_the_plan(known, guarded, capsys):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(CREATE.replace('actions = ["nod.json"]', KEY).replace('model = "moving", ', ""))
        file.flush()
        for out, code in ((guarded / "locked" / "new", 2), (Path(file.name).parent, 0)):
            settings = ("--set", f"render.out={out}/f.png", "--set", "worker.python=/bin/sh")  # that all may run
            assert headless.main([file.name, "--dry-run", *settings], registered=True) == code
    said = capsys.readouterr()
    assert said.err.count("You may not write there: choose another folder.") == 1
    assert 'job 1: render.out: Cannot write "' in said.err


def test_a_summary_that_cannot_be_written_changes_nothing_else(run, folder):
    (folder / "job.summary.json").mkdir()
    code, summary, err = run(CREATE.replace('"1-9"', '"1"'))
    assert (code, summary["event"]) == (0, "done")
    assert "Cannot write" in err
    assert run(CREATE, "--resume", "--frames", "1", "--summary", str(folder / "said.json"))[0] == 0
    assert json.loads((folder / "said.json").read_text())["jobs"][0]["frames"]["kept"] == 1


# Work ----------------------------------------------------------------------------------------------------------------


def test_an_engine_that_dies_ends_the_job_or_costs_a_frame(run, folder):
    staging.write_model(folder / "models" / "crashes.safetensors")  # dies whenever it shall draw a jaw of 0.7 or more
    jaws = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.2, 0.1]
    (folder / "nod.json").write_text(json.dumps({**CURVES, "curves": {"jawOpen": jaws}}))
    text = CREATE.replace('"moving"', '"crashes"')
    code, summary, err = run(text)
    assert code == 4
    assert "The engine stopped (exit code 3) while drawing the picture." in err
    assert summary["jobs"][0]["frames"] == {"drawn": 6, "kept": 0, "skipped": []}
    assert summary["jobs"][0]["state"] == "failed"

    code, summary, err = run(text, "--set", "policy.on_frame_error=skip", "--resume")
    assert code == 6
    assert summary["jobs"][0]["frames"] == {"drawn": 2, "kept": 6, "skipped": [7]}
    for frame, jaw in enumerate(jaws, 1):
        if frame != 7:
            np.testing.assert_array_equal(pixels(folder / "out" / f"f_{frame:04d}.png"), stub.picture(32, jaw))
    assert not (folder / "out" / "f_0007.png").exists()


def test_recordings_and_random_motion_move_the_frames(run, folder):
    text = CREATE.replace('actions = ["nod.json"]\n', "").replace('frames = "1-9"', 'frames = "1,13,24"')
    layered = text.replace("[job.render]", '[job.animate]\ncsv = "take.csv"\n[job.render]')
    code, _, err = run(layered)
    assert code == 0, err
    for frame, recorded in ((1, 0.0), (13, 30 / 59), (24, 57.5 / 59)):  # 60 a second, played at 24
        blue = int(pixels(folder / "out" / f"f_{frame:04d}.png")[16, 16, 2])
        assert abs(blue - 255 * (0.25 + 0.5 * recorded)) < 2
    assert run(text.replace("[job.render]", RANDOM + "[job.render]"))[0] == 0
    bpy.ops.wm.open_mainfile(filepath=str(folder / "r.blend"))
    (root,) = find.roots(bpy.context.scene)
    (track,) = find.part(root, "RIG").animation_data.nla_tracks
    assert track.name == "Random motion 0"
    assert (track.strips[0].action_frame_start, track.strips[0].action_frame_end) == (1, 30)
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 30)


def test_a_photo_becomes_a_portrait_file(run, folder):
    text = """version = 1
[[job]]
do = "reconstruct"
[job.portrait]
create = { photo = "me.jpg", model = "moving", latent_iterations = 2, weight_iterations = 2, make = ["rig"] }
[job.export]
out = ["me.portrait"]
"""
    code, summary, err = run(text)
    assert code == 0, err
    assert summary["jobs"][0]["files"] == [str(folder / "me.portrait")]
    assert (folder / "me.portrait").read_bytes() == b"stub moving 5"
    before = (folder / "me.portrait").stat().st_mtime_ns
    assert run(text, "--resume")[0] == 0
    assert (folder / "me.portrait").stat().st_mtime_ns == before
    (folder / "me.jpg").write_bytes(b"another photo")
    assert run(text, "--resume")[0] == 0
    assert (folder / "me.portrait").stat().st_mtime_ns > before


def test_only_what_looks_different_is_drawn_again(run, folder):
    def drawn(*change):
        _, summary, _ = run(CREATE.replace(*change), "--resume", "--frames", "1-3")
        return summary["jobs"][0]["frames"]["drawn"]

    assert drawn("", "") == 3
    assert drawn("", "") == 0
    (folder / "nod.json").write_text(json.dumps({**CURVES, "curves": {"jawOpen": [0.0, 0.6, 1.0]}}))
    assert drawn("", "") == 1
    assert drawn("seed = 7", "seed = 8") == 3
    assert drawn("seed = 7", "seed = 8") == 0
    assert drawn("seed = 7, model", "seed = 8, truncation = 0.5, model") == 0  # of which the stub makes nothing
    assert drawn("size = 32\nout", "size = 16\nout") == 3


def test_each_job_begins_with_the_file_on_the_disk(run, saved, folder):
    """What the first job keys is not in the second, which opens the same .blend."""
    keyed = RENDER.replace('"1-9"', '"1"').replace("[job.render]", KEY + "\n[job.render]\nwhat = ['mesh']\nsamples = 1")
    still = (
        RENDER.split("\n", 2)[2]
        .replace('"1-9"', '"1"')
        .replace("[job.render]", "[job.render]\nwhat = ['mesh']\nsamples = 1")
    )
    code, _, err = run(keyed + still.replace("f_", "still_"))
    assert code == 0, err
    assert run("\nversion = 1\n" + still.replace("f_", "alone_"))[0] == 0
    first, second, alone = (pixels(folder / "out" / f"{name}_0001.png") for name in ("f", "still", "alone"))
    np.testing.assert_array_equal(second, alone)
    assert (first != second).any()


def test_a_person_between_two_with_sliders(run, folder):
    made = "seed = 7, mix_seed = 3, mix = 0.5, sliders = { age = 2.0, hair_length = 1.0 }"
    code, _, err = run(CREATE.replace("seed = 7", made).replace('"1-9"', '"1"'))
    assert code == 0, err
    (root,) = find.roots(bpy.context.scene)
    identity, driver = find.identity_of(root), find.part(root, "DRIVER")
    height = stub.rig(7 + 3 * stub.CHANGED)["rig/vertices"][:, 1].max()  # taller by all that was asked of the sliders
    assert max(vertex.co.y for vertex in driver.data.vertices) == pytest.approx(height)
    assert (identity.mix_seed, identity.mix) == (3, 0.5)
    assert [identity.sliders[name].value for name in ("age", "shape_01", "hair_length")] == [2.0, -1.0, 1.0]


def test_a_mesh_is_drawn_of_a_portrait_that_shows_its_card(run, folder):
    text = CREATE.replace('"1-9"', '"1"').replace('make = ["rig"]', 'make = ["rig", "plane"]')
    code, _, err = run(text.replace("[job.render]", "[job.render]\nwhat = ['mesh']\nsamples = 1"))
    assert code == 0, err
    covered = pixels(folder / "out" / "f_0001.png")[..., 3] > 127
    assert 0.05 < covered.mean() < 0.95  # a head, and nothing around it
    driver, plane = (find.part(find.roots(bpy.context.scene)[0], role) for role in ("DRIVER", "PLANE"))
    assert (driver.hide_render, plane.hide_render) == (True, False)  # as before


def test_a_recording_is_spoken_and_written_as_curves(run, folder):
    text = CREATE.replace('"animate"', '"speak"').replace('actions = ["nod.json"]\n', "").replace('"1-9"', '"5,17,60"')
    text = text.replace("[job.render]", SPEAK + "[job.render]")
    code, summary, err = run(text)
    assert code == 0, err
    assert summary["jobs"][0]["files"] == [str(folder / name) for name in ("said/hello.json", "s.blend")]
    for frame, share in ((5, 0.0), (17, 0.5), (60, 0.0)):  # from frame 5 on, a second of 24 frames
        blue = int(pixels(folder / "out" / f"f_{frame:04d}.png")[16, 16, 2])
        jaw = 0.5 * stub.SPEECH_JAW * np.sin(np.pi * share)
        assert abs(blue - 255 * (0.25 + 0.5 * jaw)) < 2, frame
    fps, tracks = curves.read_file(folder / "said" / "hello.json")
    assert fps == 24
    np.testing.assert_allclose(tracks["jawOpen"].max(), 0.5 * stub.SPEECH_JAW, atol=1e-3)
    bpy.ops.wm.open_mainfile(filepath=str(folder / "s.blend"))
    assert sounds(bpy.context.scene) == expected_sounds(("hello.wav", 5))


CLIP = "[job.animate]\nclip = 'hello.wav'\nclip_strength = 0.5\nstart = 5\n[job.policy]\nsave_blend = 's.blend'\n"


def test_a_clip_moves_the_face_and_is_heard(run, folder):
    """The stub follows any file; Blender hears the one that is a sound."""
    text = CREATE.replace('actions = ["nod.json"]\n', "").replace('"1-9"', '"4,5,17,29"')
    code, summary, err = run(text.replace("[job.render]", CLIP + "[job.render]"))
    assert code == 0, err
    assert summary["jobs"][0]["files"] == [str(folder / "s.blend")]
    for frame, share in ((4, 0.0), (5, 0.0), (17, 0.5), (29, 1.0)):  # from frame 5 on, a second of 24 frames
        blue = int(pixels(folder / "out" / f"f_{frame:04d}.png")[16, 16, 2])
        assert abs(blue - 255 * (0.25 + 0.5 * 0.5 * stub.CLIP_JAW * share)) < 2, frame
    bpy.ops.wm.open_mainfile(filepath=str(folder / "s.blend"))
    assert bpy.context.scene.frame_end == 29
    rig = find.part(find.roots(bpy.context.scene)[0], "RIG")
    assert [track.name for track in rig.animation_data.nla_tracks] == ["Clip hello.wav"]
    assert sounds(bpy.context.scene) == expected_sounds(("hello.wav", 5))


def test_a_person_comes_from_a_clip_and_does_what_is_done_in_it(run, folder):
    text = next(text for text in EXAMPLES if "clip = " in text)
    second = (
        text.split("\n\n")[1].replace("450", "2").replace("500", "3").replace(", weight", ', make = ["rig"], weight')
    )
    code, _, err = run("version = 1\n" + second)
    assert code == 0, err
    bpy.ops.wm.open_mainfile(filepath=str(folder / "myself.blend"))
    root = find.roots(bpy.context.scene)[0]
    assert find.identity_of(root).photo == "me.mp4"
    assert [track.name for track in find.part(root, "RIG").animation_data.nla_tracks] == ["Clip me.mp4"]


@pytest.mark.parametrize("where", ["animate", "create"])
def test_a_clip_without_a_face_ends_a_job_with_a_sentence_and_no_file(run, folder, where):
    shutil.copyfile(folder / "me.mp4", folder / "faceless.mp4")
    text = CREATE.replace('actions = ["nod.json"]\n', "").replace("[job.render]", CLIP + "[job.render]")
    if where == "create":
        text = text.replace("seed = 7", "clip = 'faceless.mp4'")
    else:
        text = text.replace("'hello.wav'", "'faceless.mp4'")
    code, summary, err = run(text)
    assert code == 2
    assert summary["message"] == 'No face can be followed in "faceless.mp4".'
    assert "Traceback" not in err
    assert summary["jobs"][0]["state"] == "failed"
    assert not (folder / "s.blend").exists()
    assert not (folder / "out").exists()


def test_a_scene_shows_each_frames_own_picture_on_the_card(run, folder):
    """Without a .blend these lie in Blender's temporary folder; a file that is saved shows the live picture."""
    text = CREATE.replace('["rig"]', '["rig", "plane"]').replace("[job.render]", SHOWN + "[job.render]")
    code, _, err = run(text.replace("size = 32\nout", SCENE + "out"), "--frames", "1,2,3")
    assert code == 0, err
    blues = [int(pixels(folder / "out" / f"f_{frame:04d}.png")[16, 16, 2]) for frame in (1, 2, 3)]
    expected = [255 * (0.25 + 0.5 * jaw) for jaw in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(blues, expected, atol=6)
    bpy.ops.wm.open_mainfile(filepath=str(folder / "s.blend"))
    assert {image.source for image in bpy.data.images if image.users} <= {"GENERATED", "FILE"}
    assert not list(folder.rglob("portrait_cache"))


def test_what_draws_unbaked_cards_is_off_while_a_job_runs(run, monkeypatch):
    """Else a chunk of a scene's frames would make it ask an engine of its own for the others."""
    seen = []
    monkeypatch.setattr(frames, "render", lambda *_: seen.append(unbaked._begin in bpy.app.handlers.render_init))
    assert run(CREATE)[0] == 0
    assert seen == [False]
    assert unbaked._begin in bpy.app.handlers.render_init


# The panel's files ---------------------------------------------------------------------------------------------------


def test_what_the_panel_writes_draws_what_the_panel_shows(run, folder, moving, scene):
    rig = find.part(moving, "RIG")
    for frame, value in ((1, 0.0), (3, 1.0)):
        rig["jawOpen"] = value
        curves.key(rig, "jawOpen", frame)
    scene.frame_start, scene.frame_end = 1, 3
    scene.portrait.size = 32
    assert not bpy.ops.portrait.write_job.poll()  # not saved yet
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "acted.blend"))
    scene = bpy.context.scene
    (folder / "jobs").mkdir()
    expected = []
    for frame in (1, 2, 3):
        scene.frame_set(frame)
        expected.append(stub.picture(32, find.part(find.roots(scene)[0], "RIG")["jawOpen"]))
    written = folder / "jobs" / "acted.toml"
    assert bpy.ops.portrait.write_job(filepath=str(written), what="plane", out="//drawn/f_#.png") == {"FINISHED"}
    code, summary, err = run(written.read_text().replace("../acted.blend", "acted.blend"))
    assert code == 0, err
    assert summary["jobs"][0]["frames"]["drawn"] == 3
    for frame in (1, 2, 3):
        np.testing.assert_array_equal(pixels(folder / "drawn" / f"f_{frame}.png"), expected[frame - 1])


def test_a_job_that_cannot_be_written_is_a_sentence(scene, saved, folder):
    bpy.ops.wm.open_mainfile(filepath=str(saved))
    assert bpy.ops.portrait.write_job(filepath=str(folder / "none" / "x.toml")) == {"CANCELLED"}
    assert "Cannot write" in session.engine().status.message
