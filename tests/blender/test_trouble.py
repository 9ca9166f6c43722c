# SPDX-License-Identifier: GPL-3.0-or-later
"""What bad days bring, in a real Blender's window: a sentence, the right button, nothing half built, no frozen window.

The cases are those of inside/trouble.py; each $BLENDER_EXE goes through all of them in one start, under Xvfb.
"""

import json

import display
import numpy as np
import pytest
import staging
from blenders import EXECUTABLES, IN_WINDOWS
from PIL import Image

MODELS = ("moving", "crawls", "slow", "mute", "heavy", "too heavy")
FROZEN_S = 0.3
"""Processor's time that no code of ours may take at once: on a busy machine the clock says little."""

pytestmark = IN_WINDOWS


@pytest.fixture(scope="module", params=EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def day(request, stub_stage, tmp_path_factory):
    """What the cases found, by name; what Blender printed; the folder that they wrote into."""
    out, models = tmp_path_factory.mktemp("trouble"), tmp_path_factory.mktemp("models")
    for name in MODELS:
        staging.write_model(models / f"{name}.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURAL_PORTRAIT_MODELS", str(models))
        log = display.run_plan(request.param, stub_stage, "all", out, script="trouble.py", timeout_s=500)
    if "libGL" in log and not (out / "facts.json").exists():
        pytest.skip(f"this Blender has no OpenGL library: {log.strip()}")
    assert (out / "done").exists(), log
    return json.loads((out / "facts.json").read_text()), log, out


def nothing_said(found):
    return found["buttons"] == [] and found["text"].startswith("Engine: ")


def test_nothing_is_raised_and_no_window_freezes(day):
    facts, log, _ = day
    assert "Traceback" not in log
    longest = {name: max(found["cpu"].values()) for name, found in facts.items()}
    assert max(longest.values()) < FROZEN_S, longest


def test_no_engine(day):
    found = day[0]["no_engine"]
    assert found["none"]["text"].startswith("Neural Portrait needs its engine, a Python 3.11 or 3.12 with PyTorch.")
    assert found["none"]["buttons"] == ["portrait.setup_engine", "portrait.use_python", "portrait.preferences"]
    assert 'Python cannot be started: "/nowhere/python" (No such file or directory).' in found["nowhere"]["text"]
    assert found["nowhere"]["buttons"] == ["portrait.preferences", "portrait.copy_report", "portrait.dismiss"]
    assert found["left"] == []


def test_killed(day):
    found = day[0]["killed"]
    assert found["said"]["text"].startswith(
        "The engine stopped (killed, perhaps for lack of memory) while creating the portrait."
    )
    assert found["said"]["buttons"] == ["portrait.copy_report", "portrait.dismiss"]
    assert found["left"] == []
    assert nothing_said(found["idle"])  # an engine that died while it had nothing to do is simply started again
    assert found["portraits"] == 1


def test_no_memory(day):
    found = day[0]["no_memory"]
    assert found["said"]["text"].startswith("There is not enough memory for this.")
    assert found["said"]["buttons"][0] == "portrait.use_smaller"
    assert found["size"] == 16
    assert "Try a mesh detail of 24." in found["killed"]["text"]
    assert found["killed"]["buttons"][0] == "portrait.use_smaller"
    assert found["left"] == found["left_when_killed"] == []


def test_silent(day):
    found = day[0]["silent"]
    asks = ["portrait.cancel", "portrait.wait_for_engine", "portrait.restart_engine"]
    assert [found[name]["buttons"] for name in ("asks", "waits", "asks_again")] == [asks, asks[:1], asks]
    assert "The engine has not answered for 1 s." in found["asks"]["text"]
    assert found["restart_s"] < 1.0
    assert "stopped, the engine did not answer. The scene is unchanged." in found["restarted"]["text"]
    assert found["left"] == []
    assert found["portraits"] == 1


def test_model_removed(day):
    found = day[0]["model_removed"]
    assert nothing_said(found["meanwhile"])  # the engine had it in memory
    for name in ("said", "live"):
        assert 'made with "crawls" (hash 01234567...), which is not in your model folder.' in found[name]["text"]
        assert found[name]["buttons"][0] == "portrait.preferences"
    assert nothing_said(found["back"])
    assert found["blue"] == pytest.approx(191, abs=2)


def test_no_face(day):
    found = day[0]["no_face"]
    for name in ("create", "track"):
        assert found[name]["text"].startswith('No face can be followed in "faceless.mp4".')
        assert found[name]["buttons"] == ["portrait.copy_report", "portrait.dismiss"]
    assert found["left"] == found["left_of_track"] == []


def test_scene_deleted(day):
    found = day[0]["scene_deleted"]
    assert nothing_said(found["said"])
    assert found["portraits"] == {"Scene": 1}


def test_other_scene(day):
    """Results find the portrait in the scene that is not shown; the jaw is open in the new picture."""
    found = day[0]["other_scene"]
    assert all(nothing_said(found[name]) for name in ("picture", "mesh", "bake"))
    assert found["blue"] == pytest.approx(191, abs=2)
    assert found["baked"]
    assert found["surface"]


def test_objects_deleted(day):
    """What the engine's answer makes anew comes back; nothing else does, and baking says what it lacks."""
    found = day[0]["objects_deleted"]
    assert [one["new"] for name, one in found.items() if name.isupper()] == [[]] * 5
    for role in ("PLANE", "SURFACE", "RIG"):
        assert nothing_said(found[role])
        assert nothing_said(found[role]["bake"])
    assert found["PLANE"]["gone"] == found["SURFACE"]["gone"] == []
    assert "The scene has no camera." in found["CAMERA"]["bake"]["text"]
    assert found["ROOT"]["text"].startswith("The portrait was deleted while the engine worked.")


def test_undone(day):
    found = day[0]["undone"]
    for name in ("update_picture", "bake", "update_mesh"):
        assert found[name]["gone"]
        assert found[name]["text"].startswith("The portrait was deleted while ")
        assert found[name]["left"] == []
        assert found[name]["back"]
    assert found["blue"] == pytest.approx(191, abs=2)


def test_created_and_undone(day):
    found = day[0]["created_and_undone"]
    assert nothing_said(found["said"])
    assert found["portraits"] == found["cones"] == 1
    assert found["left"] == []


def test_two_windows(day):
    found = day[0]["two_windows"]
    assert nothing_said(found["said"])
    assert found["scenes"] == [0, 1]


def test_saved_while_baking(day):
    found = day[0]["saved_while_baking"]
    assert "The file was saved elsewhere while frames were baked: they were copied to" in found["said"]["text"]
    assert found["said"]["buttons"] == ["portrait.dismiss"]
    assert found["frames"] == {"here": 4, "there": 4}
    assert found["path"] == "//portrait_cache/Portrait 7/full/f_0001.png"


def blues(folder):
    """The blue in the middle of each rendered frame: a quarter, and half of the jaw beside it."""
    paths = sorted(folder.glob("r_*.png"))
    return [int(np.asarray(Image.open(path).convert("RGB"))[16, 16, 2]) for path in paths]


def test_saved_while_rendering(day):
    """The jaw opens from frame to frame; then it stays shut, and what is baked is out of date."""
    facts, _, out = day
    found = facts["saved_while_rendering"]
    assert nothing_said(found["said"])
    opening = blues(out / "rendered")
    assert len(opening) == 6
    assert opening == sorted(set(opening))
    assert (opening[0], opening[-1]) == (pytest.approx(64, abs=3), pytest.approx(191, abs=3))
    assert nothing_said(found["again"])
    assert blues(out / "again") == pytest.approx([64] * 6, abs=3)


def test_nowhere_to_write(day):
    found = day[0]["nowhere_to_write"]
    for name in ("bake", "bake_mesh", "render", "turntable"):
        assert "A part of that path is a file, not a folder: choose another." in found[name]["text"]
        assert found[name]["left"] == []
    assert nothing_said(found["make_portable"])  # nothing is baked: nothing has to be copied
    assert nothing_said(found["then"])
    assert found["frames"] == 4
