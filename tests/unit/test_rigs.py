# SPDX-License-Identifier: Apache-2.0
"""The rig of a portrait: head and bust of the same person, and what the shoulders do."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from neural_core import rigs
from neural_core.human.anny import load_anny_head
from neural_core.human.bust import load_bust
from neural_core.records import JOINT_PARENTS, JOINTS
from neural_core.systems.common import Portrait

SHAPE = np.random.default_rng(2).normal(size=40).astype(np.float32)
SCALE, PLACE = 1.1, np.array([0.01, -0.02, 0.03])


@pytest.fixture(scope="module")
def portrait():
    fields = {field.name: None for field in dataclasses.fields(Portrait)}
    provenance = {rigs.PLACEMENT: [SCALE, *PLACE]}
    return Portrait(**{**fields, "shape": torch.from_numpy(SHAPE), "provenance": provenance})


@pytest.fixture(scope="module")
def rig(portrait):
    return rigs.person_rig(portrait)


@pytest.fixture(scope="module")
def head():
    return len(load_anny_head().v_template)


def test_the_head_comes_first_and_the_bust_is_the_same_persons(rig, head):
    face, bust = load_anny_head(), load_bust()
    np.testing.assert_allclose(rig.vertices[:head], SCALE * face.vertices(SHAPE) + PLACE, atol=1e-6)
    wanted = SCALE * (bust.template + bust.shapedirs @ SHAPE) + PLACE
    np.testing.assert_allclose(rig.vertices[head:], wanted, atol=1e-5)
    shoulder = SCALE * (bust.joints[2] + bust.joints_shapedirs[2] @ SHAPE) + PLACE
    np.testing.assert_allclose(rig.joints[JOINTS.index("left_shoulder")], shoulder, atol=1e-5)
    np.testing.assert_allclose(rig.joints[:6], face.joints(rig.vertices[:head]), atol=1e-5)


def test_its_parts_fit_together(rig, head):
    count = len(rig.vertices)
    assert (rig.faces.min(), rig.faces.max()) == (0, count - 1)
    assert rig.weights.shape == (count, 10)
    np.testing.assert_allclose(rig.weights.sum(1), 1.0, atol=1e-3)
    assert not rig.weights[:head, 6:].any()
    assert (rig.weights[head:, 6:] > 0.5).any()
    assert rig.actions.shape == (52, count, 3)
    assert not rig.actions[:, head:].any()


def test_arrays_for_blender_have_a_texture_on_the_head_alone(portrait, rig):
    arrays, face = rigs.rig_arrays(portrait), load_anny_head()
    assert arrays["rig/parents"].tolist() == list(JOINT_PARENTS)
    assert arrays["rig/uv_faces"].shape == rig.faces.shape
    np.testing.assert_array_equal(arrays["rig/uv_faces"][: len(face.faces)], face.uv_faces)
    assert (arrays["rig/uv_faces"][len(face.faces) :] == len(face.uv)).all()
    assert arrays["rig/uv"][-1].tolist() == [0.0, 0.0]


def test_a_turned_shoulder_moves_its_arm_about_the_joint_and_no_head(portrait, rig, head):
    turn = [0.1, 0.2, 0.4]
    posed = rigs.posed(portrait, {"joints": {"left_shoulder": turn}})
    index = JOINTS.index("left_shoulder")
    arm = rig.weights[:, index] > 0.999
    assert arm.sum() > 20
    joint = rig.joints[index].astype(float)
    wanted = (rig.vertices[arm] - joint) @ Rotation.from_rotvec(turn).as_matrix().T + joint
    np.testing.assert_allclose(posed.vertices[arm], wanted, atol=1e-5)
    np.testing.assert_allclose(posed.vertices[:head], rig.vertices[:head], atol=1e-6)


def test_a_collar_carries_the_shoulder(portrait, rig):
    turn = [0.0, 0.0, 0.3]
    posed = rigs.posed(portrait, {"joints": {"right_collar": turn}})
    arm = rig.weights[:, JOINTS.index("right_shoulder")] > 0.999
    joint = rig.joints[JOINTS.index("right_collar")].astype(float)
    wanted = (rig.vertices[arm] - joint) @ Rotation.from_rotvec(turn).as_matrix().T + joint
    np.testing.assert_allclose(posed.vertices[arm], wanted, atol=1e-5)


def test_a_surface_is_bound_to_the_outside_of_head_and_bust(rig, head):
    faces, face = rigs.outer_faces(), load_anny_head()
    assert faces.max() == len(rig.vertices) - 1
    outside = face.faces[face.parts["skin"] | face.parts["left_eye"] | face.parts["right_eye"]]
    hidden = set(range(head)) - set(outside.ravel().tolist())
    assert hidden
    assert set(faces.ravel().tolist()) == set(range(len(rig.vertices))) - hidden
