# SPDX-License-Identifier: Apache-2.0
"""Facial actions on another face model, against one whose truth is known (`tests/face_models.py`)."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from neural_core.human import flame, retarget
from neural_core.human.anny import load_anny_head
from neural_core.human.lbs import lbs
from neural_core.human.registration import register, surface_points, transferred_landmarks
from neural_core.records import JOINTS
from tests.face_models import second_model, with_actions, with_turning_jaw

JAW = 0.3  # radians of jawOpen
NAMES = ("browInnerUp", "eyeBlinkLeft", "eyeLookOutLeft", "eyeLookUpRight", "jawOpen", "mouthSmileLeft", "mouthPucker")


@pytest.fixture(scope="module")
def face():
    return with_actions(with_turning_jaw(load_anny_head(), JAW), NAMES)


@pytest.fixture(scope="module")
def second(face):
    return second_model(face)


@pytest.fixture(scope="module")
def registration(face, second):
    return register(face, second.model)


@pytest.fixture(scope="module")
def fitted(face, second):
    return retarget.fit_retargeting(face, second.model)


def action(**values):
    return torch.tensor([[values.get(name, 0.0) for name in NAMES]])


def distances(found, truth):
    return np.linalg.norm(found - truth, axis=1)


def test_the_mesh_of_one_model_lies_on_the_other(face, second, registration):
    """The second model's vertices are known points of the first one's mesh."""
    before = distances(second.weights @ face.v_template, second.model.v_template)
    after = distances(second.weights @ registration.vertices, second.model.v_template)
    assert np.median(before) > 5e-3
    assert np.median(after) < 3e-4
    assert np.percentile(after, 95) < 1e-3
    size = np.linalg.svd(registration.linear)[1]
    assert size == pytest.approx([second.size] * 3, rel=0.02)


def test_landmarks_are_found_on_the_other_mesh(face, second, registration):
    embedding = transferred_landmarks(face, second.model, registration)
    found = dataclasses.replace(second.model, landmarks_68=embedding).landmarks(second.model.v_template)
    error = distances(found, face.landmarks(second.mean))
    assert error[17:].max() < 2.5e-3  # the jaw's outline has no feature to hold on to
    assert np.median(error) < 1e-3


def test_a_head_elsewhere_is_refused(face, second):
    moved = dataclasses.replace(second.model, v_template=second.model.v_template + np.float32([0, 0.4, 0]))
    with pytest.raises(ValueError, match="does not lie on"):
        register(face, moved)


def test_a_place_belongs_to_the_side_that_it_looks_to():
    """Two parallel sheets, back to back, 2 mm apart; the nearer one looks away."""
    sheet = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    vertices = np.concatenate([sheet, sheet - [0, 0, 0.002]])
    faces = np.array([[0, 1, 2], [3, 5, 4]])
    places = np.array([[0.25, 0.25, -0.003], [0.25, 0.25, 0.001], [0.25, 0.25, 0.001]])
    found = surface_points(places, np.array([[0, 0, 1.0], [0, 0, 1], [1, 0, 0]]), vertices, faces)
    assert found.triangles[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found.distance, [0.003, 0.001, np.inf], atol=1e-12)
    np.testing.assert_allclose(found.barycentric[0], [0.5, 0.25, 0.25], atol=1e-12)


def test_only_the_jaw_opens_the_jaw(fitted):
    opened = fitted.jaw[:, NAMES.index("jawOpen")]
    assert opened.tolist() == pytest.approx([JAW, 0, 0], abs=0.02)
    others = [NAMES.index(name) for name in NAMES if name != "jawOpen"]
    assert fitted.jaw[:, others].abs().max() < 0.01


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({"eyeBlinkLeft": 1.0}, 0.07),
        ({"mouthSmileLeft": 0.6, "browInnerUp": 1.0}, 0.03),
        ({"jawOpen": 1.0}, 0.04),
        ({"jawOpen": 0.5, "mouthPucker": 0.7}, 0.1),  # half a turn of the jaw is not half way along the chord
    ],
)
def test_the_other_face_does_what_was_asked(face, second, fitted, values, limit):
    """The truth is the first model's own displacement at the points that the second one's vertices are."""
    asked = action(**values)
    wanted = second.size * second.weights @ (face.expressiondirs @ asked[0].numpy())
    found = posed(second.model, fitted.controls(asked)) - second.model.v_template
    skin = second.model.weights[:, 3:].sum(1) < 0.5
    error, size = (np.sqrt((d[skin] ** 2).sum(1).mean()) for d in (found - wanted, wanted))
    assert size > 2e-4
    assert error < limit * size


def test_places_that_were_taken_for_others_are_outvoted(face, second, registration, monkeypatch):
    """With the mesh 3 mm too high, a seam of the lower lip is taken for the upper one, and should not open less."""
    high = dataclasses.replace(registration, vertices=registration.vertices + np.array([0, 0.003, 0]))
    monkeypatch.setattr(retarget, "register", lambda source, target: high)
    opening = with_actions(face, ("jawOpen",))
    found = retarget.fit_retargeting(opening, second.model).controls(torch.ones(1, 1))
    wanted = second.size * second.weights @ opening.expressiondirs[:, :, 0]
    missed = distances(posed(second.model, found) - second.model.v_template, wanted)
    assert np.sqrt((missed**2).mean()) < 0.05 * np.sqrt((wanted**2).sum(1).mean())


def test_eyeballs_have_no_say_in_expressions(face, second, registration, monkeypatch):
    """They are moved by their own joints, and lie close to lids that are moved by others."""

    def problem(target, places, wanted, weights):
        assert wanted.shape == (len(NAMES), len(places), 3)
        assert len(places) > 2500
        assert (second.model.weights[places, 3:].sum(1) <= 0.5).all()
        raise StopIteration

    monkeypatch.setattr(retarget, "register", lambda source, target: registration)
    monkeypatch.setattr(retarget, "_Problem", problem)
    with pytest.raises(StopIteration):
        retarget.fit_retargeting(face, second.model)


def posed(model, controls):
    pose = torch.zeros(1, 5, 3)
    pose[:, 2] = controls["jaw_pose"]
    arrays = (model.v_template, model.expressiondirs, model.j_regressor, model.parents, model.weights)
    template, directions, regressor, parents, weights = map(torch.from_numpy, arrays)
    found = lbs(controls["expression"], pose, template, directions, None, regressor, parents, weights)
    return found.vertices[0].numpy()


def test_eyes_turn_as_their_irises_move(face, fitted):
    """The direction from the eyeball's centre to the iris, before and after."""
    for name, landmark, joint in (("eyeLookOutLeft", 473, "left_eye"), ("eyeLookUpRight", 468, "right_eye")):
        number = NAMES.index(name)
        ball = np.unique(face.faces[face.parts[joint]])
        directions = []
        for vertices in (face.v_template, face.v_template + face.expressiondirs[:, :, number]):
            ray = face.landmarks(vertices, "478")[landmark] - vertices[ball].mean(0)
            directions.append(ray / np.linalg.norm(ray))
        side = ("left_eye", "right_eye").index(joint)
        turned = Rotation.from_rotvec(fitted.eyes[side, :, number].numpy()).apply(directions[0])
        assert np.degrees(np.arccos(directions[0] @ directions[1])) > 8
        assert np.degrees(np.arccos(min(1.0, turned @ directions[1]))) < 2
    assert fitted.eyes[0, 1, NAMES.index("eyeLookOutLeft")] > 0.1  # towards +X, the subject's left
    assert fitted.eyes[1, 0, NAMES.index("eyeLookUpRight")] < -0.1
    assert fitted.eyes[1, :, NAMES.index("eyeLookOutLeft")].abs().max() < 1e-3


def test_joints_come_after_what_actions_ask(fitted):
    rng = np.random.default_rng(4)
    joints = torch.from_numpy(rng.normal(size=(2, 10, 3)) * 0.3)
    asked = torch.cat([action(jawOpen=0.8), action(eyeLookOutLeft=1.0)]).double()
    found = fitted.controls(asked, joints)
    alone = fitted.controls(asked)
    turn = {name: Rotation.from_rotvec(joints[:, JOINTS.index(name)].numpy()) for name in JOINTS}
    expected = {
        "neck_pose": turn["neck"] * turn["head"],
        "jaw_pose": turn["jaw"] * Rotation.from_rotvec(alone["jaw_pose"].numpy()),
    }
    for name, rotation in expected.items():
        np.testing.assert_allclose(found[name], rotation.as_rotvec(), atol=1e-6)
    for side, name in enumerate(("left_eye", "right_eye")):
        own = Rotation.from_rotvec(alone["eye_pose"].numpy()[:, 3 * side : 3 * side + 3])
        np.testing.assert_allclose(
            found["eye_pose"][:, 3 * side : 3 * side + 3], (turn[name] * own).as_rotvec(), atol=1e-6
        )
    assert found["neck_pose"].abs().min() > 0
    assert not alone["neck_pose"].any()


def test_axis_angles_invert_rotations_and_have_gradients_everywhere():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(50, 3))
    vectors *= (rng.uniform(0, 3.1, 50) / np.linalg.norm(vectors, axis=1))[:, None]
    vectors[0], vectors[1] = 0, [1e-6, -2e-6, 1e-6]
    found = retarget.axis_angles(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()))
    np.testing.assert_allclose(found, vectors, atol=1e-9)
    matrices = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    matrices[1] = torch.from_numpy(Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix())
    assert torch.autograd.gradcheck(retarget.axis_angles, matrices.requires_grad_())


def test_a_model_is_fitted_once(second, fitted, monkeypatch):
    calls = []

    def fit(source, target):
        calls.append(target)
        return dataclasses.replace(fitted)

    monkeypatch.setattr(retarget, "fit_retargeting", fit)
    other = dataclasses.replace(second.model)
    assert retarget.retargeting(second.model) is retarget.retargeting(second.model)
    assert retarget.retargeting(other) is not retarget.retargeting(second.model)
    assert len(calls) == 2
    retarget._kept.cache_clear()


def test_a_model_without_expressions_is_refused(face, second):
    still = dataclasses.replace(second.model, expressiondirs=np.zeros((len(second.weights), 3, 0), np.float32))
    with pytest.raises(ValueError, match="no expressions"):
        retarget.fit_retargeting(face, still)


def test_faces_import_carries_our_landmarks_to_flame(face, second, registration, monkeypatch):
    monkeypatch.setattr(flame, "register", lambda source, target: registration)
    triangles, barycentric = (flame.landmark_arrays(second.model)[name] for name in flame.LANDMARKS)
    corners = second.model.v_template[second.model.faces[triangles]]
    found = (corners * barycentric[..., None]).sum(1)
    assert distances(found, face.landmarks(second.mean))[48:].max() < 2e-3  # the mouth
    far = dataclasses.replace(registration, distance=0.01)
    monkeypatch.setattr(flame, "register", lambda source, target: far)
    assert flame.landmark_arrays(second.model) == {}
