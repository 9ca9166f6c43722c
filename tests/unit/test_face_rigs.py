# SPDX-License-Identifier: Apache-2.0
"""Imported face models as rigs: which one is meant, and the arrays that Blender gets."""

import numpy as np
import pytest
import torch

from neural_core import face_rigs, models
from neural_core.errors import ModelError
from neural_core.human.flame import JOINTS
from neural_core.human.model_files import convert
from neural_core.human.retarget import Retargeting


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The empty folder of face models."""
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "faces").mkdir()
    return tmp_path / "faces"


def save_like_published(path):
    """Write a small file of FLAME's kind, as `faces import` leaves them: five joints, eight vertices, six shapes."""
    rng, joints, vertices, shapes = np.random.default_rng(1), len(JOINTS), 8, 6
    source = path.with_suffix(".npz")
    np.savez(
        source,
        v_template=rng.normal(size=(vertices, 3)),
        shapedirs=rng.normal(size=(vertices, 3, shapes)),
        posedirs=rng.normal(size=(vertices, 3, 9 * (joints - 1))),
        J_regressor=rng.dirichlet(np.ones(vertices), joints),
        weights=rng.dirichlet(np.ones(joints), vertices),
        kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], range(5)]),
        f=np.array([[0, 1, 2], [2, 3, 4]]),
    )
    convert(source, path)
    source.unlink()


def test_the_only_face_model_needs_no_name(folder):
    save_like_published(folder / "mine.safetensors")
    rig = face_rigs.read("", 4, 50)
    assert (rig.name, rig.kind, rig.face.joint_names) == ("mine", "flame", JOINTS)
    assert face_rigs.read("mine", 4, 50).name == "mine"


def test_arrays_are_those_of_the_model_cut_to_what_is_wanted(folder):
    save_like_published(folder / "mine.safetensors")
    whole, rig = face_rigs.read("", 300, 50).face, face_rigs.read("", 4, 50)
    assert whole.shapedirs.shape[2] == 6
    arrays = rig.arrays()
    assert arrays["shapes"].shape == (4, 8, 3)
    assert arrays["expressions"].shape == (0, 8, 3)
    assert arrays["joint_expressions"].shape == (0, 5, 3)
    assert arrays["correctives"].shape == (36, 8, 3)
    person = np.array([0.5, -1.0, 2.0, 1.5])
    vertices = whole.vertices(person)
    np.testing.assert_allclose(arrays["vertices"] + np.tensordot(person, arrays["shapes"], 1), vertices, atol=1e-5)
    moved = arrays["joints"] + np.tensordot(person, arrays["joint_shapes"], 1)
    np.testing.assert_allclose(moved, whole.joints(vertices), atol=1e-5)
    assert whole.posedirs is not None
    feature = np.random.default_rng(2).normal(size=36)
    wanted = (feature @ whole.posedirs).reshape(-1, 3)
    np.testing.assert_allclose(np.tensordot(feature, arrays["correctives"], 1), wanted, atol=1e-4)
    assert rig.action_arrays() == {}  # it has no expressions


def test_actions_turn_the_joints_that_they_turn(folder, monkeypatch):
    save_like_published(folder / "mine.safetensors")
    rig = face_rigs.read("", 4, 50)
    rng = np.random.default_rng(3)
    expression, jaw, eyes = (torch.from_numpy(rng.normal(size=(*n, 52))).float() for n in ((2,), (3,), (2, 3)))
    fitted = Retargeting(expression, jaw, eyes, np.zeros(52), np.ones(52))
    monkeypatch.setattr(face_rigs, "fit_retargeting", lambda source, target: fitted)
    arrays = rig.action_arrays()
    actions = rng.random(52)
    controls = fitted.controls(torch.from_numpy(actions)[None].float())
    np.testing.assert_allclose(actions @ arrays["action_expressions"], controls["expression"][0], atol=1e-4)
    turns = np.tensordot(actions, arrays["action_turns"], 1)
    assert not turns[:2].any()
    np.testing.assert_allclose(turns[2], controls["jaw_pose"][0], atol=1e-4)
    np.testing.assert_allclose(turns[3:].ravel(), controls["eye_pose"][0], atol=1e-4)


def test_which_face_model_is_meant_is_asked_for(folder):
    with pytest.raises(ModelError, match="No face model is imported"):
        face_rigs.read("", 4, 50)
    for name in ("mine", "yours"):
        save_like_published(folder / f"{name}.safetensors")
    with pytest.raises(ModelError, match="several face models") as caught:
        face_rigs.read("", 4, 50)
    assert caught.value.hint == "Imported: mine, yours."
    with pytest.raises(ModelError, match='no face model "his"'):
        face_rigs.read("his", 4, 50)
    (folder / "yours.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="holds no FLAME and no SMPL"):
        face_rigs.read("yours", 4, 50)
