# SPDX-License-Identifier: Apache-2.0
"""The face model in motion, with the skull standing still.

Head space is fixed to the skull: a head that turns is one whose neck and shoulders turn the other way, seen by a camera
that turned. So a network that is driven by these vertices need not learn that faces turn as a whole.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..records import JOINTS
from .lbs import joint_transforms, rest_motions, rotation_matrices, skinned
from .model import FaceModel


class FacePoser(nn.Module):
    """Vertices of people who do something: facial actions, jaw, eyes and neck. Nothing is learned."""

    v_template: Tensor
    shapedirs: Tensor
    expressiondirs: Tensor
    j_regressor: Tensor
    parents: Tensor
    weights: Tensor
    joints: Tensor
    landmark_faces: Tensor
    landmark_weights: Tensor

    def __init__(self, face: FaceModel) -> None:
        """Take the face model's arrays.

        Raises:
            ValueError: The model has pose correctives, no joint "head", no landmarks, or joints that records do not
                keep.
        """
        super().__init__()
        strange = set(face.joint_names) - set(JOINTS)
        if face.posedirs is not None or strange or "head" not in face.joint_names:
            raise ValueError(f"{face.name} is not posed by the joints {', '.join(JOINTS)} alone")
        if face.landmarks_68 is None:
            raise ValueError(f"{face.name} has no landmarks")
        triangles, barycentric = face.landmarks_68
        self.head = face.joint_names.index("head")
        arrays = {
            "v_template": face.v_template,
            "shapedirs": face.shapedirs.reshape(-1, face.shapedirs.shape[2]),
            "expressiondirs": face.expressiondirs.reshape(-1, face.expressiondirs.shape[2]),
            "j_regressor": face.j_regressor,
            "parents": face.parents,
            "weights": face.weights,
            "joints": np.array([JOINTS.index(name) for name in face.joint_names]),
            "landmark_faces": face.faces[triangles].astype(np.int64),
            "landmark_weights": barycentric,
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)), persistent=False)

    def forward(
        self,
        actions: Float[Tensor, "b e"],
        joints: Float[Tensor, "b 10 3"],
        shape: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b v 3"]:
        """Return posed vertices, head space, metres. Differentiable in everything.

        Args:
            actions: facial actions in the order of the model's, 0..1.
            joints: rotations of ``records.JOINTS`` relative to their parents, axis-angle, radians.
            shape: identity coefficients, any number of the first; the mean head without.
        """
        neutral = self.v_template.expand(len(actions), -1, -1)
        if shape is not None:
            neutral = neutral + (shape @ self.shapedirs[:, : shape.shape[1]].T).unflatten(1, (-1, 3))
        acted = neutral + (actions @ self.expressiondirs.T).unflatten(1, (-1, 3))
        rest = self.j_regressor @ neutral
        rotations = rotation_matrices(joints[:, self.joints])
        motions = rest_motions(joint_transforms(rotations, rest, self.parents), rest)
        return skinned(acted, self.weights, _standing(motions, self.head))

    def landmarks(self, vertices: Float[Tensor, "b v 3"]) -> Float[Tensor, "b 68 3"]:
        """Return iBUG's landmarks on posed vertices."""
        return (vertices[:, self.landmark_faces] * self.landmark_weights[..., None]).sum(2)


def _standing(motions: Float[Tensor, "b j 4 4"], joint: int) -> Float[Tensor, "b j 4 4"]:
    """Return rigid motions followed by the one that takes a joint's own motion back."""
    turn, shift = motions[:, joint, :3, :3], motions[:, joint, :3, 3]
    rotations = turn.mT[:, None] @ motions[..., :3, :3]
    moved = (motions[..., :3, 3] - shift[:, None]) @ turn
    return torch.cat([torch.cat([rotations, moved[..., None]], -1), motions[..., 3:, :]], -2)
