# SPDX-License-Identifier: Apache-2.0
"""FLAME as the mesh of Next3D's published weights, against smplx on a file of FLAME's kind."""

import numpy as np
import pytest
import torch

from neural_core.errors import InputError
from neural_core.human.flame import CONTROLS, LANDMARKS, flame_mesh, read_flame
from neural_core.human.model_files import convert, read_model_file

NEAR = 2e-6  # metres


@pytest.fixture(scope="module")
def source(parity_folder):
    return parity_folder / "faces" / "flame_like_chumpy.pkl"


@pytest.fixture(scope="module")
def embedding():
    rng = np.random.default_rng(1)
    return {LANDMARKS[0]: rng.integers(0, 720, 68), LANDMARKS[1]: rng.dirichlet(np.ones(3), 68)}


@pytest.fixture(scope="module")
def flame(source, embedding, tmp_path_factory):
    """The file as `faces import` leaves it."""
    target = tmp_path_factory.mktemp("faces") / "flame.safetensors"
    convert(source, target, embedding)
    return read_flame(target)


@pytest.fixture(scope="module")
def asked():
    sizes = {"expression": 30, "jaw_pose": 3, "neck_pose": 3, "eye_pose": 6}
    torch.manual_seed(2)
    return {name: 0.3 * torch.randn(2, sizes[name]) for name in CONTROLS}


def posed_by_smplx(source, shape, asked):
    """FLAME's own frame: the root is turned against the neck, and the head put back where it was."""
    from smplx.lbs import lbs

    file = read_model_file(source)
    template, directions, correctives, regressor, weights = (
        torch.from_numpy(np.asarray(file.array(name), np.float32))
        for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    )
    parents = torch.from_numpy(file.array("kintree_table")[0].astype(np.int64))
    parents[0] = -1
    coefficients = torch.zeros(len(shape), directions.shape[2])
    coefficients[:, : shape.shape[1]] = shape
    coefficients[:, 300 : 300 + asked["expression"].shape[1]] = asked["expression"]
    neck = asked["neck_pose"]
    pose = torch.cat([-neck, neck, asked["jaw_pose"], asked["eye_pose"]], 1)
    correctives = correctives.flatten(0, 1).T
    people = template.expand(len(shape), -1, -1)
    vertices, joints = lbs(coefficients, pose, people, directions, correctives, regressor, parents, weights)
    rest = regressor @ (template + torch.einsum("vck,bk->bvc", directions, coefficients))
    return vertices + (rest - joints)[:, 1:2]


def test_the_mesh_is_what_smplx_makes_with_the_head_held_still(source, flame, asked, embedding):
    shape = torch.randn(2, 20)
    vertices, landmarks = flame_mesh(flame, shape, asked)
    expected = posed_by_smplx(source, shape, asked)
    torch.testing.assert_close(vertices, expected, atol=NEAR, rtol=0)
    assert (vertices - flame_mesh(flame, shape, {"jaw_pose": torch.zeros(2, 3)})[0]).abs().max() > 0.01
    faces = read_model_file(source).array("f").astype(np.int64)[embedding[LANDMARKS[0]]]
    points = (expected.numpy()[:, faces] * embedding[LANDMARKS[1]][..., None]).sum(2)
    np.testing.assert_allclose(landmarks, points, atol=NEAR)


def test_missing_controls_are_neutral(source, flame):
    template = torch.from_numpy(read_model_file(source).array("v_template")).float()
    for name, size in (("expression", 100), ("expression", 50), ("neck_pose", 3), ("eye_pose", 6)):
        vertices, _ = flame_mesh(flame, None, {name: torch.zeros(1, size)})
        torch.testing.assert_close(vertices[0], template, atol=NEAR, rtol=0)


def test_gradients_reach_what_is_given(flame, asked):
    given = {name: value.clone().requires_grad_() for name, value in asked.items()}
    vertices, landmarks = flame_mesh(flame, None, given)
    (vertices.square().sum() + landmarks.sum()).backward()
    assert all(value.grad.abs().sum() > 0 for value in given.values())


def test_what_does_not_fit_is_refused(source, flame, tmp_path):
    with pytest.raises(InputError, match="no landmarks"):
        flame_mesh(read_flame(source), None, {"jaw_pose": torch.zeros(1, 3)})
    with pytest.raises(ValueError, match="101 coefficients for 100"):
        flame_mesh(flame, None, {"expression": torch.zeros(1, 101)})
    with pytest.raises(ValueError, match="no control"):
        flame_mesh(flame, None, {"actions": torch.zeros(1, 52)})
    wrong = {LANDMARKS[0]: np.full(68, 720), LANDMARKS[1]: np.full((68, 3), 1 / 3)}
    convert(source, tmp_path / "wrong.safetensors", wrong)
    with pytest.raises(InputError, match="do not fit its mesh"):
        read_flame(tmp_path / "wrong.safetensors")
