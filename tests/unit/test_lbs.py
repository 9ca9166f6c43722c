# SPDX-License-Identifier: Apache-2.0
"""Linear blend skinning against rotations that can be worked out by hand, scipy, and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from neural_core.human.lbs import joint_transforms, lbs, rotation_matrices


def arm(bend: float, weights: list[list[float]]):
    """A straight arm along +X: shoulder at 0, elbow at 1; vertices at 0.5 and 2; the elbow bends about +Z."""
    return lbs(
        shape=torch.zeros(1, 0, dtype=torch.float64),
        pose=torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, bend]]], dtype=torch.float64),
        v_template=torch.tensor(
            [[0.5, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64
        ),
        shapedirs=torch.zeros(4, 3, 0, dtype=torch.float64),
        posedirs=None,
        j_regressor=torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64),
        parents=torch.tensor([-1, 0]),
        weights=torch.tensor([*weights, [1.0, 0], [0, 1.0]], dtype=torch.float64),
    )


def test_a_bent_elbow_moves_the_hand_by_plane_geometry():
    posed = arm(math.pi / 2, [[1.0, 0.0], [0.0, 1.0]])
    expected = torch.tensor([[0.5, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.float64)
    assert_close(posed.vertices[0], expected)
    assert_close(posed.joints[0], torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64))


def test_a_vertex_of_two_joints_lies_between_its_two_rigid_positions():
    posed = arm(math.pi / 2, [[1.0, 0.0], [0.25, 0.75]])
    # The hand stays at (2, 0) with the upper arm and goes to (1, 1) with the lower one.
    assert_close(posed.vertices[0, 1], torch.tensor([0.25 * 2 + 0.75 * 1, 0.75, 0.0], dtype=torch.float64))


def test_shape_moves_the_joints_before_they_turn():
    longer = torch.zeros(2, 3, 1, dtype=torch.float64)
    longer[1, 0, 0] = 1.0  # one unit of shape moves the second vertex, and so the elbow that it defines, along +X
    posed = lbs(
        torch.tensor([[0.5]], dtype=torch.float64),
        torch.tensor([[[0, 0, 0], [0, math.pi, 0]]], dtype=torch.float64),
        torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64),
        longer,
        None,
        torch.eye(2, dtype=torch.float64),
        torch.tensor([-1, 0]),
        torch.tensor([[0.0, 1], [0, 1]], dtype=torch.float64),
    )
    # Half a turn about the elbow at x = 1.5 takes the vertex at 0 to 3.
    assert_close(posed.vertices[0], torch.tensor([[3.0, 0, 0], [1.5, 0, 0]], dtype=torch.float64))


def test_rotation_matrices_agree_with_scipy():
    vectors = np.random.default_rng(0).normal(size=(200, 3)) * np.geomspace(1e-9, 3, 200)[:, None]
    expected = torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix())
    assert_close(rotation_matrices(torch.from_numpy(vectors)), expected, atol=1e-14, rtol=0)


def test_the_null_rotation_has_the_generators_as_gradient():
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(rotation_matrices, zero)
    assert isinstance(jacobian, torch.Tensor)
    assert_close(jacobian[2, 1, 0], torch.tensor(1.0, dtype=torch.float64))  # d R_zy / d x = 1
    assert_close(jacobian, -jacobian.transpose(0, 1))


def test_joints_along_a_chain_are_products_of_transforms():
    generator = np.random.default_rng(1)
    rotations = Rotation.random(4, random_state=2).as_matrix()
    joints = generator.normal(size=(4, 3))
    world = joint_transforms(
        torch.from_numpy(rotations)[None], torch.from_numpy(joints)[None], torch.tensor([-1, 0, 1, 1])
    )
    matrix = np.eye(4)
    for joint, parent in ((0, None), (1, 0), (3, 1)):
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = rotations[joint], joints[joint] - (joints[parent] if parent is not None else 0)
        matrix = matrix @ step
    assert_close(world[0, 3], torch.from_numpy(matrix))


def random_model(seed: int, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=dtype)

    regressor, weights = normal(3, 7).softmax(1), normal(7, 3).softmax(1)
    return normal(7, 3), normal(7, 3, 2), 0.1 * normal(18, 21), regressor, torch.tensor([-1, 0, 1]), weights


def test_gradients_agree_with_finite_differences():
    template, shapedirs, posedirs, regressor, parents, weights = random_model(3)
    shape = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4), requires_grad=True)
    pose = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5), requires_grad=True)

    def vertices(shape, pose, template, weights):
        return lbs(shape, pose, template, shapedirs, posedirs, regressor, parents, weights).vertices

    assert torch.autograd.gradcheck(vertices, (shape, pose, template.requires_grad_(), weights.requires_grad_()))


def test_turning_the_root_turns_the_person_rigidly():
    template, shapedirs, posedirs, regressor, parents, weights = random_model(6)
    shape = torch.zeros(1, 2, dtype=torch.float64)
    pose = torch.zeros(2, 3, 3, dtype=torch.float64)
    pose[1, 0] = torch.tensor([0.3, -0.8, 0.5])
    rest, turned = (lbs(shape, p[None], template, shapedirs, posedirs, regressor, parents, weights) for p in pose)
    assert_close(rest.vertices[0], template)
    rotation = torch.from_numpy(Rotation.from_rotvec(pose[1, 0].numpy()).as_matrix())
    pivot = (regressor @ template)[0]
    assert_close(turned.vertices[0], (template - pivot) @ rotation.T + pivot)


def test_wrong_shapes_are_refused():
    template, shapedirs, posedirs, regressor, parents, weights = random_model(7)
    arguments = (template, shapedirs, posedirs, regressor, parents, weights)
    with pytest.raises(Exception, match=r"pose|shape"):
        lbs(torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, 3, dtype=torch.float64), *arguments)
