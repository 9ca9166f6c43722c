# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in the System panel: what is installed, bringing in the user's own files, and where others come from."""

import bpy
import pytest
import staging
from neural_portrait import model_list, panels, preferences, sentences, session
from recording import drawn


@pytest.fixture
def folder(scene, tmp_path, monkeypatch):
    """A model folder with one model and one face model."""
    folder = tmp_path / "models"
    staging.write_model(folder / "other.safetensors", licence="Somebody's", use="non-commercial")
    (folder / "torn.safetensors").write_bytes(b"\x10\x00")
    staging.write_model(tmp_path / "faces" / "flame2020.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(folder))
    return folder


def test_models_are_listed_with_their_licences(folder):
    text, buttons = drawn(panels.PORTRAIT_PT_models)
    assert "other Somebody's, non-commercial, 0 MB" in text
    assert "default-next3d CC0-1.0, any" in text
    assert '"torn.safetensors" is no model' in text
    assert "Your face models: flame2020" in text
    assert {"portrait.import_model", "portrait.import_face", "portrait.open_models_folder"} <= set(buttons)


def test_where_to_get_others(folder):
    text, buttons = drawn(panels.PORTRAIT_PT_models)
    for name in ("EG3D", "Next3D", "FLAME", "SMPL", "CLIP"):
        assert f"{name}: " in text
    assert buttons.count("wm.url_open") == 5
    assert sentences.NO_OTHERS_SHIPPED in text


def test_weights_are_imported_under_a_name(folder, tmp_path):
    (tmp_path / "ffhq 512 (final).pkl").write_text("")
    assert bpy.ops.portrait.import_model(filepath=str(tmp_path / "ffhq 512 (final).pkl")) == {"FINISHED"}
    assert 'Imported "ffhq-512-final" (MIT, model).' in drawn(panels.PORTRAIT_PT_status)[0]
    bpy.ops.portrait.import_face(filepath=str(tmp_path / "ffhq 512 (final).pkl"), name="mine")
    assert 'Imported "mine" (MIT, face).' in drawn(panels.PORTRAIT_PT_status)[0]


def test_weights_that_need_flame_ask_for_it(folder, tmp_path):
    (tmp_path / "next3d-flame.pkl").write_text("")
    assert bpy.ops.portrait.import_model(filepath=str(tmp_path / "next3d-flame.pkl")) == {"CANCELLED"}
    text, buttons = drawn(panels.PORTRAIT_PT_status)
    assert "is driven by the face model FLAME, which is not imported." in text
    assert "FLAME is for non-commercial research; you get it from flame.is.tue.mpg.de after registering." in text
    assert "We cannot ship it." in text
    assert "portrait.import_face" in buttons
    assert bpy.ops.portrait.import_model(filepath=str(tmp_path / "next3d-flame.pkl"), face="flame2020") == {"FINISHED"}


def test_a_file_that_is_not_there(folder, tmp_path):
    assert bpy.ops.portrait.import_model(filepath=str(tmp_path / "nothing.pkl")) == {"CANCELLED"}
    assert "There is no file" in session.engine().status.message


def test_without_a_choice_blender_and_engine_look_into_the_same_folder(scene, tmp_path, monkeypatch):
    """By another road: the engine's own library says where users' data lie."""
    import platformdirs

    monkeypatch.delenv("NEURAL_PORTRAIT_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    expected = platformdirs.user_data_path("neural-portrait", appauthor=False) / "models"
    assert model_list.user_folder() == expected
    assert (
        preferences.worker_settings().models_folder == ""
    )  # so that jobs for other machines name no folder of this one
    staging.write_model(expected / "mine.safetensors")
    assert "mine CC0-1.0" in drawn(panels.PORTRAIT_PT_models)[0]
    assert {"mine", "default-next3d"} <= set(model_list.names(""))


def test_a_model_folder_that_cannot_be_made(scene, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "file" / "models"))
    assert bpy.ops.portrait.open_models_folder() == {"CANCELLED"}
    assert "cannot be made" in session.engine().status.message
