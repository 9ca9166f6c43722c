# SPDX-License-Identifier: Apache-2.0
"""The body below the head model: neck, shoulders, chest and upper arms of the same people, from the same CC0 data.

The bust is linear in the identity coefficients as the head is (``FaceModel.shapedirs``), regressed on the same sampled
people (``bust_builder.py``), so at the cut of the neck both agree by themselves. Arms hang down at the sides.

The file also says where the teeth are: MakeHuman's rows of teeth, which the head model leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_core.records import JOINTS

from .model import FaceModel

FORMAT = "bust/1"
BODY_JOINTS = JOINTS[6:]
"""left_collar, right_collar, left_shoulder, right_shoulder."""
TEETH_ACTIONS = ("jawOpen", "jawForward", "jawLeft", "jawRight")
SHIPPED = Path(__file__).parents[2] / "assets" / "face" / "anny_bust.safetensors"

_REACH = 0.09  # metres from the cut of the neck over which a person's own neck is followed


@dataclass(frozen=True)
class Torso:
    """The bust of one person, neutral, in head space (metres)."""

    vertices: NDArray[np.float64]
    """[B, 3] without the cut of the neck, whose vertices are the head's."""
    faces: NDArray[np.int32]
    """[F, 3] counter-clockwise seen from outside; indices below V are the head model's vertices, the others V + i."""
    weights: NDArray[np.float64]
    """[B, 10] skinning weights over ``records.JOINTS``; rows sum to 1."""
    joints: NDArray[np.float64]
    """[4, 3] places of ``BODY_JOINTS``."""


@dataclass(frozen=True)
class BustModel:
    """Busts of all people that the head model knows: B vertices, K identity coefficients, n vertices at the cut.

    The directions [..., K] are displacements in metres per standard deviation of each coefficient, as in ``FaceModel``.
    """

    template: NDArray[np.float32]
    """[B, 3] the mean person's."""
    shapedirs: NDArray[np.float32]
    """[B, 3, K]."""
    faces: NDArray[np.int32]
    """[F, 3] as in ``Torso``."""
    weights: NDArray[np.float32]
    """[B, 10] over ``records.JOINTS``."""
    joints: NDArray[np.float32]
    """[4, 3] the mean person's ``BODY_JOINTS``."""
    joints_shapedirs: NDArray[np.float32]
    """[4, 3, K]."""
    loop: NDArray[np.int32]
    """[n] the head model's vertices at the cut of the neck, in order round it."""
    teeth: NDArray[np.float32]
    """[2, 68, 3] MakeHuman's strips of upper and lower teeth of the mean person."""
    teeth_shapedirs: NDArray[np.float32]
    """[2, 68, 3, K]."""
    lower_teeth_actions: NDArray[np.float32]
    """[4, 68, 3] displacement of the lower strip at the value 1 of each of ``TEETH_ACTIONS``."""

    def torso(self, model: FaceModel, vertices: NDArray, shape: NDArray) -> Torso:
        """The bust under a head.

        Args:
            model: The head model that the bust was made for.
            vertices: [V, 3] the person's neutral head. Where its neck differs from what the coefficients say, the bust
                follows it with a smooth falloff, so that both meet at the cut.
            shape: [k <= K] identity coefficients, standard deviations.
        """
        shape = np.asarray(shape, np.float64).reshape(-1)
        bust = _along(self.template, self.shapedirs, shape)
        cut = _along(model.v_template[self.loop], model.shapedirs[self.loop], shape)
        bust += follow(bust, cut, np.asarray(vertices, np.float64)[self.loop] - cut)
        joints = _along(self.joints, self.joints_shapedirs, shape)
        return Torso(bust, self.faces, self.weights.astype(np.float64), joints)

    def teeth_strips(self, shape: NDArray) -> NDArray[np.float64]:
        """[2, 68, 3] a person's strips of upper and lower teeth."""
        return _along(self.teeth, self.teeth_shapedirs, np.asarray(shape, np.float64).reshape(-1))

    def save(self, path: Path, header: Mapping[str, str]) -> None:
        """Write the file; directions in half precision."""
        from safetensors.numpy import save_file

        tensors = {}
        for field in fields(self):
            values = getattr(self, field.name)
            tensors[field.name] = values.astype(np.float16) if field.name.endswith("shapedirs") else values
        save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, path, {"format": FORMAT, **header})

    @classmethod
    def load(cls, path: Path) -> BustModel:
        """Read the file. Raises ValueError if it is no bust of this format."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="np") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise ValueError(f"{path} is no bust of format {FORMAT}")
                tensors = {field.name: file.get_tensor(field.name) for field in fields(cls)}
        except SafetensorError as error:
            raise ValueError(f"{path} is no bust: {error}") from error
        return cls(**{name: t.astype(np.float32) if t.dtype == np.float16 else t for name, t in tensors.items()})


@cache
def load_bust() -> BustModel:
    """The bust that the project ships, for ``load_anny_head()``."""
    packaged = Path(str(resources.files("neural_core"))) / "assets" / "face" / SHIPPED.name
    return BustModel.load(SHIPPED if SHIPPED.is_file() else packaged)


def build_torso(model: FaceModel, vertices: NDArray, shape: NDArray) -> Torso:
    """The body under a neutral head [V, 3] of a person with identity coefficients [40]; see ``BustModel.torso``."""
    return load_bust().torso(model, vertices, shape)


def neck_loop(model: FaceModel) -> NDArray[np.int32]:
    """Vertices [n] of the cut of the neck, in order around the vertical axis, from the back over the right."""
    edges = np.sort(np.concatenate([model.faces[:, [0, 1]], model.faces[:, [1, 2]], model.faces[:, [2, 0]]]), 1)
    single = np.array([edge for edge, count in Counter(map(tuple, edges.tolist())).items() if count == 1])
    loop = np.unique(single)
    loop = loop[model.v_template[loop, 1] < -0.06]
    around = model.v_template[loop] - model.v_template[loop].mean(0)
    return loop[np.argsort(np.arctan2(around[:, 0], around[:, 2]))].astype(np.int32)


def follow(points: NDArray, anchors: NDArray, moved: NDArray) -> NDArray[np.float64]:
    """Displacement [m, 3] of points near anchors [n, 3] that are moved [n, 3]: all of it there, none 9 cm away."""
    distance = np.linalg.norm(points[:, None] - anchors, axis=2)
    near = 1 / (distance + 1e-4) ** 3
    near /= near.sum(1, keepdims=True)
    t = np.clip(1 - distance.min(1) / _REACH, 0, 1)
    return (t * t * (3 - 2 * t))[:, None] * (near @ moved)


def _along(mean: NDArray, directions: NDArray, shape: NDArray) -> NDArray[np.float64]:
    return mean.astype(np.float64) + directions[..., : len(shape)].astype(np.float64) @ shape
