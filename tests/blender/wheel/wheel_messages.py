# SPDX-License-Identifier: GPL-3.0-or-later
"""Every sentence of the design's table of errors that applies by now, read where the user reads it."""

import time

import addon_utils
import bpy
import pytest
import staging
from neural_portrait import model_list, panels, preferences, sentences, session
from neural_portrait.neural_core import __version__
from neural_portrait.scene import find, lights
from recording import drawn


def shown():
    return drawn(panels.PORTRAIT_PT_status)


@pytest.fixture
def no_python(monkeypatch):
    monkeypatch.delenv("NEURAL_PORTRAIT_PYTHON", raising=False)


def test_nothing_to_say_when_idle(scene):
    text, buttons = shown()
    assert text == "The engine starts when it is needed"
    assert buttons == []


def test_engine_missing_is_the_only_thing_shown(scene, no_python):
    text, buttons = shown()
    assert "Neural Portrait needs its engine, a Python 3.11 or 3.12 with PyTorch." in text
    assert buttons == ["portrait.setup_engine", "portrait.use_python", "portrait.preferences"]
    assert not panels.PORTRAIT_PT_create.poll(bpy.context)
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    text, buttons = shown()
    assert text.count("Neural Portrait needs its engine") == 1
    assert "portrait.preferences" in buttons


def test_wrong_python_says_what_it_lacks(scene, tmp_path, monkeypatch):
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setenv("NEURAL_PORTRAIT_PYTHON", str(tmp_path / "bare" / "bin" / "python"))
    bpy.ops.portrait.test_engine()
    text, buttons = shown()
    assert "That Python has no numpy (tried: `import numpy`: No module named 'numpy')." in text
    assert {"portrait.preferences", "portrait.copy_report", "portrait.dismiss"} <= set(buttons)


def test_engine_test_reports_what_it_found(scene):
    assert bpy.ops.portrait.test_engine() == {"FINISHED"}
    assert "The engine works: Python 3, PyTorch none, stub, 1 model(s)." in shown()[0]
    bpy.ops.portrait.dismiss()
    assert "The engine works" not in shown()[0]


def test_model_of_a_portrait_is_missing(portrait):
    identity = find.identity_of(portrait)
    identity.model, identity.model_hash = "next3d-ffhq-512", "3fa9c0ffee"
    assert bpy.ops.portrait.update_picture() == {"CANCELLED"}
    text, buttons = shown()
    assert (
        'This portrait was made with "next3d-ffhq-512" (hash 3fa9c0ff...), which is not in your model folder.' in text
    )
    assert "portrait.preferences" in buttons


def test_model_that_is_chosen_is_missing(scene):
    scene.portrait.model = "nobody"
    assert 'There is no model "nobody" in the add-on or your model folder.' in drawn(panels.PORTRAIT_PT_create)[0]


def test_model_file_that_is_none(scene, tmp_path, monkeypatch):
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\x00")
    staging.write_model(tmp_path / "other.safetensors", use="non-commercial", licence="NVIDIA Source Code License")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    names = model_list.names(preferences.worker_settings().models_folder)
    assert {"torn", "other", "default-next3d", "default-eg3d"} == set(names)
    scene.portrait.model = "torn"
    assert '"torn.safetensors" is no model' in drawn(panels.PORTRAIT_PT_create)[0]
    scene.portrait.model = "other"
    assert "NVIDIA Source Code License, non-commercial" in drawn(panels.PORTRAIT_PT_create)[0]


def test_licence_of_the_output(portrait):
    find.identity_of(portrait).use = "non-commercial"
    context = type("Context", (), {})()
    context.scene, context.view_layer = bpy.context.scene, bpy.context.view_layer
    context.space_data = type("Space", (), {"shading": type("Shading", (), {"type": "SOLID"})()})()
    said = drawn(panels.PORTRAIT_PT_person, context)[0]
    assert "Made with a non-commercial model: portraits carry that limit." in said
    assert "portrait.show_colours" in drawn(panels.PORTRAIT_PT_surface, context)[1]


def test_version_of_a_newer_release(portrait):
    find.identity_of(portrait).version = "99.0"
    assert bpy.ops.portrait.update_mesh() == {"CANCELLED"}
    expected = f"Made by a newer Neural Portrait (99.0); this is {__version__}: sliders still work"
    assert expected in shown()[0]


@pytest.mark.parametrize(
    ("theirs", "ours", "newer"),
    [
        ("0.2.0", "0.1.0", True),
        ("0.10", "0.9", True),
        ("0.1.0", "0.1.0", False),
        ("0.1", "0.1.0", False),
        ("", "0.1", False),
    ],
)
def test_versions_are_compared_by_number(theirs, ours, newer):
    assert sentences.is_newer(theirs, ours) is newer


def test_view_transform_hint_and_its_button(portrait, scene):
    scene.view_settings.view_transform = "AgX"
    context = type("Context", (), {"scene": scene, "view_layer": bpy.context.view_layer})()
    context.space_data = type("Space", (), {"shading": type("Shading", (), {"type": "MATERIAL"})()})()
    text, buttons = drawn(panels.PORTRAIT_PT_render, context)
    assert "AgX changes the portrait's colours" in text
    assert "portrait.use_standard_view" in buttons
    bpy.ops.portrait.use_standard_view()
    assert lights.keeps_colours(scene)
    assert "changes the portrait's colours" not in drawn(panels.PORTRAIT_PT_render, context)[0]


def test_engine_that_dies_leaves_a_sentence_and_a_report(scene):
    scene.portrait.model = "dies"
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    text, buttons = shown()
    assert "The engine stopped (exit code 3) while creating the portrait." in text
    assert "portrait.copy_report" in buttons
    assert "the sky is falling" in session.engine().status.report
    assert find.roots(scene) == []
    scene.portrait.model = "default-next3d"
    assert bpy.ops.portrait.create() == {"FINISHED"}
    assert len(find.roots(scene)) == 1


def test_error_of_the_engine_is_shown_with_its_hint(scene):
    scene.portrait.model = "missing"
    bpy.ops.portrait.create()
    text, buttons = shown()
    assert 'Stub error of kind "model". A hint.' in text
    assert "portrait.preferences" in buttons


def test_nothing_selected_and_nothing_to_make(scene):
    assert not bpy.ops.portrait.update_mesh.poll()
    scene.portrait.make_rig = scene.portrait.make_plane = scene.portrait.make_mesh = False
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    assert "Nothing is to be made. Switch on rig, image plane or mesh." in shown()[0]


def test_no_camera(portrait, scene):
    scene.camera = None
    assert bpy.ops.portrait.update_picture() == {"CANCELLED"}
    assert "The scene has no camera." in shown()[0]


def test_busy_shows_progress_and_a_cancel_button(scene):
    status = session.engine().status
    status.state, status.stage, status.fraction = "busy", "Drawing the picture", 0.25
    status.started = status.stage_started = time.monotonic() - 60
    text, buttons = shown()
    assert text.startswith("Drawing the picture 60 s, about 3 min left")
    assert buttons == ["portrait.cancel"]


def test_numpy_missing_is_a_sentence(monkeypatch):
    import importlib.util

    import neural_portrait

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"^This Blender lacks numpy: install python3-numpy\.$"):
        neural_portrait.register()


def test_add_on_can_be_switched_off_and_on_again(scene):
    for _ in range(3):
        addon_utils.disable("neural_portrait", default_set=True)
        assert not hasattr(bpy.types, "PORTRAIT_PT_create")
        assert not hasattr(bpy.types.Object, "portrait")
        addon_utils.enable("neural_portrait", default_set=True)
        assert bpy.ops.portrait.create.poll()


def test_opening_a_file_forgets_what_is_being_made(scene):
    status = session.engine()
    status.start("Create", iter_forever(), pytest.fail)
    assert session.engine().busy
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not session.engine().busy


def iter_forever():
    from neural_portrait import tasks
    from neural_portrait.neural_core import protocol

    while True:
        yield tasks.Step("Going on", protocol.List(0))


def test_search_finds_sliders_by_their_words():
    from neural_portrait import expressions

    assert len(expressions.NAMES) == len(set(expressions.NAMES)) == 52
    assert expressions.label("mouthSmileLeft") == "Mouth Smile Left"
    assert expressions.matching("smile left") == {"Mouth": ("mouthSmileLeft",)}
    assert expressions.matching("xyz") == {}


def test_a_silent_engine_asks_what_to_do(scene, monkeypatch):
    status = session.engine().status
    status.state, status.stage, status.started = "busy", "Drawing the picture", 0.0
    monkeypatch.setattr(type(session.engine()), "silent_s", 60.4)
    text, buttons = shown()
    assert "The engine has not answered for 60 s." in text
    assert buttons == ["portrait.cancel", "portrait.wait_for_engine", "portrait.restart_engine"]
    monkeypatch.setattr(type(session.engine()), "silent_s", 59.0)
    assert "has not answered" not in shown()[0]


def test_too_little_memory_offers_half(scene):
    scene.portrait.model, scene.portrait.size = "too heavy", 64
    assert bpy.ops.portrait.create() == {"CANCELLED"}
    text, buttons = shown()
    assert "The engine stopped (killed, perhaps for lack of memory) while drawing the picture." in text
    assert "Try a picture of 32 pixels." in text
    assert "portrait.use_smaller" in buttons
    assert bpy.ops.portrait.use_smaller() == {"FINISHED"}
    assert scene.portrait.size == 32
    assert not bpy.ops.portrait.use_smaller.poll()
    assert "killed" not in shown()[0]


def test_jobs_that_wait_are_listed_and_can_be_forgotten(scene):
    engine = session.engine()
    engine.enqueue("Create", iter_forever(), pytest.fail)
    engine.enqueue("Stylise", iter_forever(), pytest.fail)
    text, buttons = drawn(panels.PORTRAIT_PT_system)
    assert "Waiting: Stylise" in text
    assert {"portrait.cancel", "portrait.forget_waiting"} <= set(buttons)
    bpy.ops.portrait.forget_waiting(number=0)
    assert engine.waiting == ()
    engine.stop()
    assert "Waiting" not in drawn(panels.PORTRAIT_PT_system)[0]
