# SPDX-License-Identifier: Apache-2.0
"""The face layout and the shipped default model, against closed forms and against what its parts must do."""

import dataclasses

import numpy as np
import pytest

from neural_core.human.anny import identity_basis, load_anny_head
from neural_core.human.arkit import ACTIONS, mirrored
from neural_core.human.model import FaceModel
from neural_core.human.population import sample_local_changes, sample_phenotypes


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_anny_head()


def displacement(head: FaceModel, action: str) -> np.ndarray:
    return head.expressiondirs[:, :, head.expression_names.index(action)]


def test_the_shipped_model_has_the_layout(head: FaceModel):
    vertices, joints = len(head.v_template), len(head.joint_names)
    assert head.shapedirs.shape == (vertices, 3, 40)
    assert head.expressiondirs.shape == (vertices, 3, 52)
    assert head.expression_names == ACTIONS
    assert len(set(ACTIONS)) == 52
    assert head.joint_names == ("root", "neck", "head", "jaw", "left_eye", "right_eye")
    assert head.parents.tolist() == [-1, 0, 1, 2, 2, 2]
    assert head.weights.shape == (vertices, joints)
    assert head.j_regressor.shape == (joints, vertices)
    np.testing.assert_allclose(head.weights.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(head.j_regressor.sum(1), 1, atol=1e-4)
    assert (head.weights >= 0).all()
    assert head.faces.shape == head.uv_faces.shape
    np.testing.assert_array_equal(np.unique(head.faces), np.arange(vertices))
    assert head.uv_faces.max() == len(head.uv) - 1
    assert ((head.uv >= 0) & (head.uv <= 1)).all()
    assert head.licence == "CC0-1.0"
    np.testing.assert_array_equal(np.sum(list(head.parts.values()), axis=0), 1)  # every triangle has one part


def test_head_space(head: FaceModel):
    """Metres, +X the subject's left, +Y up, +Z out of the face, eyes at the height of the origin."""
    low, high = head.v_template.min(0), head.v_template.max(0)
    assert 0.2 < high[1] - low[1] < 0.32
    nose = head.v_template[head.v_template[:, 2].argmax()]
    assert abs(nose[0]) < 0.002
    assert -0.06 < nose[1] < -0.02
    left, right = head.joints(head.v_template)[4:]
    np.testing.assert_allclose(left, [0.031, 0, 0.057], atol=0.003)
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-3)
    eyeball = head.v_template[np.unique(head.faces[head.parts["left_eye"]])]
    assert np.linalg.norm(eyeball - left, axis=1).max() < 0.02


def test_triangles_face_outwards(head: FaceModel):
    skull = head.v_template[head.faces[head.parts["skin"]]]
    normals = np.cross(skull[:, 1] - skull[:, 0], skull[:, 2] - skull[:, 0])
    outwards = skull.mean(1) - np.array([0.0, 0.02, -0.02])
    top = skull.mean(1)[:, 1] > 0.06
    assert ((normals * outwards).sum(1)[top] > 0).all()


def test_identity_is_standardised_where_the_vertices_are_gaussian():
    """PCA of a mixture with known directions and variances, found again from samples."""
    rng = np.random.default_rng(0)
    first, second = np.zeros((5, 3)), np.zeros((5, 3))
    first[1, 0], second[3, 2] = 3.0, 1.0
    scores = rng.standard_normal((1000, 2))
    mean = rng.standard_normal((5, 3))
    vertices = mean + scores[:, :1, None] * first + scores[:, 1:, None] * second
    found_mean, directions, found = identity_basis(vertices, np.ones(5), 2)
    np.testing.assert_allclose(found_mean, mean, atol=0.2)
    np.testing.assert_allclose(directions[..., 0], first, atol=0.15)
    np.testing.assert_allclose(directions[..., 1], second, atol=0.1)
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(2), atol=0.02)


def test_a_weightless_vertex_has_no_say_but_follows():
    rng = np.random.default_rng(1)
    score = rng.standard_normal((1000, 1, 1))
    vertices = np.concatenate([score * [[[1.0, 0, 0]]], 5 * rng.standard_normal((1000, 1, 3)) + 2 * score], 1)
    _, directions, _ = identity_basis(vertices, np.array([1.0, 0.0]), 1)
    np.testing.assert_allclose(directions[0, :, 0], [1, 0, 0], atol=0.1)
    np.testing.assert_allclose(directions[1, :, 0], [2, 2, 2], atol=0.6)


def test_identity_components_fall_and_are_uncorrelated(head: FaceModel):
    sizes = np.linalg.norm(head.shapedirs, axis=(0, 1))
    assert sizes[0] > 3 * sizes[20]
    flat = head.shapedirs.reshape(-1, 40)
    hidden = np.zeros(len(head.v_template), bool)
    hidden[np.unique(head.faces[~(head.parts["skin"] | head.parts["left_eye"] | head.parts["right_eye"])])] = True
    seen = ~np.repeat(hidden, 3)
    unit = flat[seen] / np.linalg.norm(flat[seen], axis=0)
    assert np.abs(unit.T @ unit - np.eye(40)).max() < 0.35  # orthogonal under the weights, nearly so without


def test_vertices_add_both_bases(head: FaceModel):
    rng = np.random.default_rng(2)
    shape, expression = rng.standard_normal(40), rng.random(52)
    expected = head.v_template.astype(np.float64)
    for number in range(40):
        expected = expected + shape[number] * head.shapedirs[:, :, number]
    for number in range(52):
        expected = expected + expression[number] * head.expressiondirs[:, :, number]
    np.testing.assert_allclose(head.vertices(shape, expression), expected, atol=1e-6)
    np.testing.assert_array_equal(head.vertices(), head.v_template)
    np.testing.assert_allclose(head.vertices(shape[:3]), head.vertices(np.r_[shape[:3], np.zeros(37)]), atol=1e-7)
    with pytest.raises(ValueError, match="41 coefficients"):
        head.vertices(np.zeros(41))


def test_actions_move_what_they_name(head: FaceModel):
    template = head.v_template
    chin = np.abs(template - [0, -0.1, 0.07]).sum(1).argmin()
    assert displacement(head, "jawOpen")[chin, 1] < -0.015
    scalp = template[:, 1] > 0.06
    skin = np.unique(
        head.faces[head.parts["skin"]]
    )  # blinking moves four hidden vertices behind the nose, in the source
    assert np.abs(displacement(head, "jawOpen")[scalp]).max() < 1e-3
    for side, sign in (("Left", 1), ("Right", -1)):
        for action in (f"eyeBlink{side}", f"mouthSmile{side}", f"browDown{side}"):
            moved = np.linalg.norm(displacement(head, action)[skin], axis=1)
            assert (sign * template[skin][moved > 0.4 * moved.max(), 0] > -1e-3).all(), action
    blink = displacement(head, "eyeBlinkLeft")
    assert blink[np.linalg.norm(blink, axis=1).argmax(), 1] < -0.005


def test_left_and_right_actions_are_mirror_images(head: FaceModel):
    assert mirrored("eyeBlinkLeft") == "eyeBlinkRight"
    assert mirrored("browOuterUpRight") == "browOuterUpLeft"
    assert mirrored("jawOpen") == "jawOpen"
    assert all(mirrored(mirrored(action)) == action and mirrored(action) in ACTIONS for action in ACTIONS)
    for action in ("mouthSmileLeft", "eyeBlinkLeft", "noseSneerLeft"):
        left = np.linalg.norm(displacement(head, action), axis=1)
        right = np.linalg.norm(displacement(head, mirrored(action)), axis=1)
        centre = (left[:, None] * head.v_template).sum(0) / left.sum()
        other = (right[:, None] * head.v_template).sum(0) / right.sum()
        np.testing.assert_allclose(centre * [-1, 1, 1], other, atol=1.5e-3)
        assert centre[0] > 0.01


def test_attributes_are_linear_and_separate(head: FaceModel):
    assert {"gender", "age", "african", "asian", "caucasian"} <= set(head.attributes)
    slopes = head.attributes["gender"][:40]
    masculine = slopes / np.linalg.norm(slopes) * 3
    constant = float(head.attributes["gender"][40])
    assert head.attribute("gender", np.zeros(40)) == pytest.approx(constant)
    assert head.attribute("gender", masculine) == pytest.approx(constant + 3 * np.linalg.norm(slopes), rel=1e-5)
    ancestry = sum(head.attributes[name] for name in ("african", "asian", "caucasian"))
    np.testing.assert_allclose(ancestry, np.r_[np.zeros(40), 1], atol=1e-4)


def test_people_stay_people(head: FaceModel):
    """No sampled head is far from the size of a head, nor does its face turn inside out."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        vertices = head.vertices(rng.standard_normal(40))
        height = np.ptp(vertices[:, 1])
        assert 0.22 < height < 0.34
        assert 0.055 < vertices[:, 0].max() < 0.12
        eyes = head.joints(vertices)[4:]
        assert 0.05 < eyes[0, 0] - eyes[1, 0] < 0.08
        assert np.abs(eyes[:, 1]).max() < 0.025


def test_saving_and_loading_gives_the_same_model(head: FaceModel, tmp_path):
    file = tmp_path / "new" / "head.safetensors"
    head.save(file)
    again = FaceModel.load(file)
    for field in dataclasses.fields(FaceModel):
        first, second = getattr(head, field.name), getattr(again, field.name)
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second, err_msg=field.name)
        elif field.name in ("parts", "attributes"):
            assert first.keys() == second.keys()
            assert all((first[name] == second[name]).all() for name in first)
    assert [path.name for path in file.parent.iterdir()] == ["head.safetensors"]
    assert file.stat().st_size < 6e6


def test_a_file_of_another_kind_is_refused(tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(2, np.float32)}, file)
    with pytest.raises(ValueError, match="no face model of format"):
        FaceModel.load(file)
    file.write_bytes(b"\x08\0\0\0\0\0\0\0rubbish!")
    with pytest.raises(ValueError, match="no face model"):
        FaceModel.load(file)


def test_sampled_people_are_adults_within_limits():
    labels = ("gender", "age", "muscle", "weight", "height", "proportions", "cupsize", "african", "asian", "caucasian")
    values = sample_phenotypes(labels, 500, np.random.default_rng(0))
    assert ((values >= 0) & (values <= 1)).all()
    assert values[:, 1].min() > 0.5  # 1/3 is a child, 2/3 a young adult
    np.testing.assert_allclose(values[:, 7:].sum(1), 1)
    assert (values[:, 6] == 0.5).all()
    local = ("l-cheek-volume-incr", "r-cheek-volume-incr", "head-trans-up", "torso-trans-up", "nose-hump-incr")
    drawn = sample_local_changes(local, 500, np.random.default_rng(0))
    assert np.abs(drawn).max() <= 1
    assert (drawn[:, 2:4] == 0).all()
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.9
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 4])[0, 1]) < 0.15
