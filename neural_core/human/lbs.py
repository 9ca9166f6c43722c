# SPDX-License-Identifier: Apache-2.0
"""Linear blend skinning: SMPL (Loper et al. 2015), equations 2 to 7, which FLAME (Li et al. 2017, eq. 1-5) shares.

Plain arrays, batched, differentiable in everything but the topology. Rotations are axis-angle in radians. All lengths
are in the unit of the template (metres in this project).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Posed(NamedTuple):
    """A posed body: its surface, its joints, and what moved them."""

    vertices: Float[Tensor, "b v 3"]
    """Posed vertices."""
    joints: Float[Tensor, "b j 3"]
    """Posed joint positions."""
    transforms: Float[Tensor, "b j 4 4"]
    """Rigid transform of each joint from the rest pose of the same person, G' of eq. 4."""


def rotation_matrices(axis_angle: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation matrices of axis-angle vectors in radians (Rodrigues' formula; SMPL section 3, eq. 1).

    exp(K) = I + sin(a)/a K + (1 - cos(a))/a^2 K^2 with K the cross-product matrix of the vector and a its length.
    Differentiable everywhere, the null rotation included, where both factors are replaced by their series.
    """
    square = (axis_angle**2).sum(-1)
    small = square < 1e-8
    # The safe value keeps the gradient of the branch that is not taken finite.
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    first = torch.where(small, 1 - square / 6, angle.sin() / angle)[..., None, None]
    # 1 - cos a = 2 sin^2(a / 2), which does not cancel for small angles.
    second = torch.where(small, 0.5 - square / 24, 2 * (angle / 2).sin() ** 2 / angle**2)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device) + first * cross + second * (cross @ cross)


def joint_transforms(
    rotations: Float[Tensor, "b j 3 3"], joints: Float[Tensor, "b j 3"], parents: Int[Tensor, " j"]
) -> Float[Tensor, "b j 4 4"]:
    """World transform of every joint along the kinematic tree (SMPL, eq. 3).

    Args:
        rotations: Rotation of each joint relative to its parent.
        joints: Joint positions in rest pose.
        parents: Index of each joint's parent, smaller than its own; -1 for the root, which comes first.
    """
    offsets = torch.cat([joints[:, :1], joints[:, 1:] - joints[:, parents[1:]]], 1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=joints.dtype, device=joints.device).expand(
        *joints.shape[:2], 1, 4
    )
    local = torch.cat([torch.cat([rotations, offsets[..., None]], -1), bottom], -2)
    world = [local[:, 0]]
    for joint, parent in enumerate(parents.tolist()[1:], start=1):
        world.append(world[parent] @ local[:, joint])
    return torch.stack(world, 1)


def lbs(
    shape: Float[Tensor, "b k"],
    pose: Float[Tensor, "b j 3"],
    v_template: Float[Tensor, "v 3"],
    shapedirs: Float[Tensor, "v 3 k"],
    posedirs: Float[Tensor, "p v3"] | None,
    j_regressor: Float[Tensor, "j v"],
    parents: Int[Tensor, " j"],
    weights: Float[Tensor, "v j"],
) -> Posed:
    """Posed vertices, joints and joint transforms of a batch of people.

    In the paper's order: shape (eq. 8), joints of that shape (eq. 10), pose correctives (eq. 9), skinning (eq. 2-4, 7).

    Args:
        shape: Coefficients of ``shapedirs``; identity and expression are concatenated by the caller.
        pose: Axis-angle per joint in radians, relative to the parent.
        v_template: Mean person in rest pose.
        shapedirs: Displacement of each vertex per unit of each coefficient.
        posedirs: Pose correctives: row 9 (i - 1) + c belongs to entry c (row-major) of the rotation of joint i >= 1;
            column 3 v + d to coordinate d of vertex v. None for a model without.
        j_regressor: Joints as weighted means of the vertices of the unposed person.
        parents: See :func:`joint_transforms`.
        weights: Skinning weights; each row sums to 1.

    Returns:
        Posed: see there. Deterministic; differentiable in all floating-point arguments.
    """
    shaped = v_template + torch.einsum("vck,bk->bvc", shapedirs, shape)
    rest_joints = j_regressor @ shaped
    rotations = rotation_matrices(pose)
    if posedirs is not None:
        identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
        feature = (rotations[:, 1:] - identity).flatten(1)
        shaped_and_corrected = shaped + (feature @ posedirs).unflatten(-1, (-1, 3))
    else:
        shaped_and_corrected = shaped
    world = joint_transforms(rotations, rest_joints, parents)
    transforms = rest_motions(world, rest_joints)
    return Posed(skinned(shaped_and_corrected, weights, transforms), world[..., :3, 3], transforms)


def rest_motions(world: Float[Tensor, "b j 4 4"], rest_joints: Float[Tensor, "b j 3"]) -> Float[Tensor, "b j 4 4"]:
    """Rigid motion of each joint from rest pose (SMPL, eq. 4).

    Where the transform carries the rest position of the joint is subtracted, so that rest pose means no motion.
    """
    moved_origin = world[..., :3, 3] - torch.einsum("bjrc,bjc->bjr", world[..., :3, :3], rest_joints)
    return torch.cat([torch.cat([world[..., :3, :3], moved_origin[..., None]], -1), world[..., 3:, :]], -2)


def skinned(
    points: Float[Tensor, "b v 3"], weights: Float[Tensor, "v j"], motions: Float[Tensor, "b j 4 4"]
) -> Float[Tensor, "b v 3"]:
    """Points moved by the weighted mean of rigid motions (SMPL, eq. 7)."""
    blended = torch.einsum("vj,bjrc->bvrc", weights, motions[..., :3, :])
    return torch.einsum("bvrc,bvc->bvr", blended[..., :3], points) + blended[..., 3]
