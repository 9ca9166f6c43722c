# SPDX-License-Identifier: Apache-2.0
"""What FaceMesh makes of a face: its landmarks as a linear function of the person, and how far it errs.

The geometry says where a landmark lies on the face model. FaceMesh is a network and sees it a little elsewhere: some
points are off for everybody, it moves its lids and lips less than the person does, and its errors come in patterns that
reach over the whole face. All of that is measured once on rendered people, whose truth is known
(``python -m training.synthetic.calibrate_fit``), and kept beside the face model. In head space, metres, a landmark is

    x = template + views q + identity s + actions a + errors w + noise,        w ~ N(0, 1), noise ~ N(0, deviation^2)

with q where the camera stands (FaceMesh turns heads less than they are turned), the person's coefficients s, the facial
actions a, and the mistakes w that FaceMesh makes in this picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import ARCHIVE_DAMAGE
from ..human.arkit import mirrored
from ..human.model import FaceModel

Array = NDArray[np.float64]

NAME = "facemesh_anny_head.npz"
SHIPPED = Path(__file__).parents[2] / "assets" / "face" / NAME

# Without a calibration: landmarks sway by two millimetres and nothing is known of how; actions are mostly weak, and the
# two sides of a face mostly do the same.
_PLAIN_DEVIATION = 0.002
_PLAIN_ACTION_MEAN, _PLAIN_ACTION_DEVIATION, _PLAIN_BOTH_SIDES = 0.05, 0.3, 0.7


@dataclass(frozen=True)
class LandmarkModel:
    """Landmarks as linear functions of a person, and what is likely; float64, head space, metres."""

    template: Array
    """[478, 3] of the mean person."""
    views: Array
    """[478, 3, 5] per unit of :func:`view_terms`."""
    identity: Array
    """[478, 3, K] per standard deviation of the identity coefficients."""
    actions: Array
    """[478, 3, E] at the value 1 of each action."""
    errors: Array
    """[478, 3, w] patterns of the detector's mistakes, per standard deviation; w may be 0."""
    deviation: Array
    """[478] standard deviation of what remains, in each direction of the picture."""
    normals: Array
    """[478, 3] unit normals of the mean face, outwards."""
    action_mean: Array
    """[E] of the actions of people before a camera."""
    action_precision: Array
    """[E, E] inverse covariance of them: what goes together, and what does not."""

    def points(self, towards: Array, shape: Array, actions: Array, mistakes: Array) -> Array:
        """Return the landmarks [478, 3] of a person [K] with actions [E], from the direction [3] of the camera."""
        seen = self.template + self.views @ view_terms(towards)
        return seen + self.identity @ shape + self.actions @ actions + self.errors @ mistakes


@dataclass(frozen=True)
class Calibration:
    """How FaceMesh's landmarks differ from the geometry (what is added to it, metres), and how people act."""

    template: Array
    views: Array
    identity: Array
    actions: Array
    errors: Array
    deviation: Array
    action_mean: Array
    action_covariance: Array

    def save(self, path: Path) -> None:
        """Write the calibration; lengths in half precision."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: (_UNIT * getattr(self, name)).astype(np.float16) for name in self.__dataclass_fields__}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a calibration. Raises InputError if the file is damaged or something else."""
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                return cls(**{name: file[name].astype(np.float64) / _UNIT for name in cls.__dataclass_fields__})
        except ARCHIVE_DAMAGE as error:
            raise InputError(f"{path} is no calibration of landmarks ({error}).", "Install again.") from error


_UNIT = 1e4  # tenths of a millimetre keep half precision away from its smallest numbers


VIEW_TERMS = 5


def view_terms(towards: Array) -> Array:
    """Return [5]: x, y, x^2, x y, y^2 of the unit direction [3] in head space towards the camera."""
    x, y, _ = towards
    return np.array([x, y, x * x, x * y, y * y])


@cache
def shipped_calibration() -> Calibration | None:
    """The calibration for the default face model; None where the project has none (before the first is made)."""
    packaged = Path(str(resources.files("neural_core"))) / "assets" / "face" / NAME
    path = next((path for path in (SHIPPED, packaged) if path.is_file()), None)
    return None if path is None else Calibration.load(path)


def landmark_model(model: FaceModel, calibration: Calibration | None = None) -> LandmarkModel:
    """The 478 landmarks of a face model, as geometry has them or as a calibration says that FaceMesh does.

    Raises:
        InputError: The model has no 478 landmarks, so no face can be fitted with it.
    """
    if model.landmarks_478 is None:
        raise InputError(f"The face model {model.name} has no MediaPipe landmarks.", "Use the default face model.")
    triangles, barycentric = model.landmarks_478
    corners = model.faces[triangles]
    template, identity, actions, normals = (
        np.einsum("nc,nc...->n...", barycentric.astype(np.float64), values[corners].astype(np.float64))
        for values in (model.v_template, model.shapedirs, model.expressiondirs, _normals(model))
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    count = len(template)
    if calibration is None:
        mean, covariance = _plain_actions(model.expression_names)
        errors, deviation = np.zeros((count, 3, 0)), np.full(count, _PLAIN_DEVIATION)
        views = np.zeros((count, 3, VIEW_TERMS))
    else:
        template, identity = template + calibration.template, identity + calibration.identity
        actions = actions + calibration.actions
        views, errors, deviation = calibration.views, calibration.errors, calibration.deviation
        mean, covariance = calibration.action_mean, calibration.action_covariance
    precision = np.linalg.inv(covariance)
    return LandmarkModel(template, views, identity, actions, errors, deviation, normals, mean, precision)


def _plain_actions(names: tuple[str, ...]) -> tuple[Array, Array]:
    """Mean [E] and covariance [E, E] of actions of which only this is known: left and right go together."""
    partners = np.array([[mirrored(one) == other for other in names] for one in names])
    correlation = np.where(partners, _PLAIN_BOTH_SIDES, 0.0)
    np.fill_diagonal(correlation, 1.0)
    return np.full(len(names), _PLAIN_ACTION_MEAN), _PLAIN_ACTION_DEVIATION**2 * correlation


def _normals(model: FaceModel) -> Array:
    """Outward normals [V, 3] of the mean person, means of the triangles' normals weighted by their areas."""
    a, b, c = (model.v_template[model.faces[:, corner]].astype(np.float64) for corner in range(3))
    normals = np.zeros((len(model.v_template), 3))
    for corner in range(3):
        np.add.at(normals, model.faces[:, corner], np.cross(b - a, c - a))
    return normals
