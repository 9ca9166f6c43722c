# SPDX-License-Identifier: GPL-3.0-or-later
"""A session in a real Blender with a window: timers, undo, a killed worker, cancel. Each $BLENDER_EXE, under Xvfb."""

import json

import display
import pytest
import staging
from blenders import EXECUTABLES, IN_WINDOWS
from PIL import Image

pytestmark = IN_WINDOWS


@pytest.fixture(scope="module", params=EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def session(request, stub_stage, tmp_path_factory):
    """What a session reported, what Blender printed, and a photograph of its window."""
    out = tmp_path_factory.mktemp("session")
    models = tmp_path_factory.mktemp("models")
    staging.write_model(models / "moving.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURAL_PORTRAIT_MODELS", str(models))
        log = display.run_plan(request.param, stub_stage, "session", out, out / "window.png")
    if "libGL" in log and not (out / "facts.json").exists():
        pytest.skip(f"this Blender has no OpenGL library: {log.strip()}")
    assert (out / "facts.json").is_file(), log
    return json.loads((out / "facts.json").read_text()), log, out / "window.png"


def test_panels_are_drawn_without_errors(session):
    facts, log, _ = session
    assert "Traceback" not in log
    assert {"PORTRAIT_PT_status", "PORTRAIT_PT_create", "PORTRAIT_PT_models"} < set(facts["panels"])
    assert set(facts["drawn"]) == set(facts["panels"])


def test_create_returns_at_once_and_the_timer_does_the_rest(session):
    facts, _, _ = session
    assert facts["returned_at_once"]
    assert facts["created"] == 1


def test_the_first_portrait_is_seen_from_the_front_beside_the_sidebar(session):
    seen = session[0]["seen"]
    assert seen["facing"] > 0.9
    left, right, bottom, top = seen["shares"]
    assert 0.0 < left < right < 1.0
    assert 0.0 < bottom < top < 1.0
    assert max(right - left, top - bottom) > 0.7  # and fills the view
    assert seen["shading"] == "SOLID"  # software GL would compile shaders for a minute


def test_create_is_one_undo_step(session):
    facts, _, _ = session
    assert facts["after_undoing_something_else"] == 1
    assert facts["left_by_undo"] == []
    assert facts["lost_by_undo"] == []
    assert facts["after_redo"] == 1


def test_killed_worker_leaves_a_sentence_and_the_next_create_works(session):
    facts, _, _ = session
    assert facts["stage"] == "Creating the portrait: lingering"
    assert facts["state"] == "error"
    assert facts["message"] == "The engine stopped (killed, perhaps for lack of memory) while creating the portrait."
    assert (facts["after_kill"], facts["after_next_create"]) == (1, 2)


def test_a_photo_shows_pictures_on_the_way(session):
    facts, _, _ = session
    assert facts["preview_icon"] > 0
    assert facts["after_photo"] == 3


def test_the_live_picture_follows_the_frame(session):
    """The stub's blue is a quarter, and half of the jaw beside it; keys are smooth, so half way is half open."""
    facts, _, _ = session
    assert facts["blue"] == pytest.approx([64, 128, 191], abs=2)


def test_cancel_button(session):
    facts, _, _ = session
    assert facts["cancelled"] == "Create Portrait: cancelled. The scene is unchanged."


def test_the_window_can_be_photographed(session):
    picture = Image.open(session[2])
    assert picture.size == display.WINDOW
    assert len(picture.getcolors()) > 50, "an empty screen has one colour"
