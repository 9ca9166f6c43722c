# SPDX-License-Identifier: Apache-2.0
"""Mirror images: the person whose left and right are exchanged, and everything that is known of the picture.

With M = diag(-1, 1, 1) a point x of head or model space becomes M x. EG3D doubles its data so (Chan et al. 2022,
section 4.2); for Next3D (Sun et al. 2023, section 4) actions, joints and the driving mesh have to be mirrored, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_core.cameras import Camera
from neural_core.errors import UsageError
from neural_core.human import arkit
from neural_core.records import JOINTS

_OTHER_ACTION = [arkit.ACTIONS.index(arkit.mirrored(name)) for name in arkit.ACTIONS]
_SIDES = {"left": "right", "right": "left"}
_OTHER_JOINT = [
    JOINTS.index("_".join(_SIDES.get(word, word) for word in name.split("_"))) for name in JOINTS
]  # left_eye -> right_eye


def mirrored_labels(labels: Float[Tensor, "*n 25"]) -> Float[Tensor, "*n 25"]:
    """Return the camera labels of mirror images."""
    return Camera.from_label(labels.reshape(-1, 25)).mirrored().label().reshape(labels.shape)


def mirrored_actions(actions: Float[Tensor, "*n 52"]) -> Float[Tensor, "*n 52"]:
    """Return the facial actions of mirror images: what the left side did the right one does."""
    return actions[..., _OTHER_ACTION]


def mirrored_joints(joints: Float[Tensor, "*n 10 3"]) -> Float[Tensor, "*n 10 3"]:
    """Return the rotations of `records.JOINTS` in mirror images, axis-angle.

    R becomes M R M: the axis, as a direction, is mirrored, and the sense of the rotation is reversed, so of the vector
    y and z change their signs.
    """
    return joints[..., _OTHER_JOINT, :] * joints.new_tensor([1.0, -1.0, -1.0])


def mirrored_gaze(gaze: Float[Tensor, "*n 2 2"]) -> Float[Tensor, "*n 2 2"]:
    """Return yaw and pitch of the left and the right eye in mirror images."""
    return gaze.flip(-2) * gaze.new_tensor([-1.0, 1.0])


def mirrored_code(picture: Tensor) -> Tensor:
    """Return the mirror images of coordinate codes (`human/driver.py`, `human/pncc.py`), [..., 3, h, w] uint8.

    Red is the place on the mean head from its right to its left, so it is reversed. Grey is what is no place:
    background and eyes. (The few points of the skin whose code happens to be grey are taken for such.)
    """
    red, green, blue = picture.flip(-1).unbind(-3)
    grey = (red == green) & (green == blue)
    return torch.stack([torch.where(grey, red, 255 - red), green, blue], dim=-3)


def _flipped(picture: Tensor) -> Tensor:
    return picture.flip(-1)


def _same(value: Any) -> Any:
    return value


_MIRRORED: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("picture", "depth", "alpha", "regions", "background"), _flipped),
    **dict.fromkeys(("pncc", "driver"), mirrored_code),
    **dict.fromkeys(("index", "person", "time", "clip", "close_up"), _same),
    "shape": _same,  # the face model's heads are symmetric
    "label": mirrored_labels,
    "actions": mirrored_actions,
    "joints": mirrored_joints,
    "gaze": mirrored_gaze,
}


def check_mirrored(names: Iterable[str]) -> None:
    """Raise UsageError for arrays of a record whose mirror image is not known: codes, landmarks by number."""
    for name in names:
        if name not in _MIRRORED:
            raise UsageError(f'The "{name}" of a mirrored person is not known.', "Do without mirroring.")


def mirrored(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item of a data set as its mirror image; what has several frames is mirrored frame by frame."""
    return {
        name: _flipped(value) if name.startswith("mask_") else _MIRRORED[name](value) for name, value in item.items()
    }
