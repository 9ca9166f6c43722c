# SPDX-License-Identifier: Apache-2.0
"""The user's FLAME or SMPL as a rig: everything that Blender needs to build it, as plain arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import models
from .errors import ModelError
from .human.anny import load_anny_head
from .human.flame import read_flame
from .human.model import FaceModel
from .human.retarget import fit_retargeting
from .human.smpl import read_smpl

_READERS: dict[str, Callable[[Path], FaceModel]] = {"flame": read_flame, "smpl": read_smpl}


@dataclass(frozen=True)
class FaceRig:
    """An imported face model; its FaceModel keeps only the blend shapes that are wanted."""

    name: str
    kind: str
    face: FaceModel

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the rig as `messages.Face` describes it, without what our actions are for it."""
        face = self.face
        arrays = {
            "vertices": face.v_template,
            "faces": face.faces,
            "weights": face.weights,
            "joints": face.joints(face.v_template),
            "parents": face.parents,
            "shapes": np.moveaxis(face.shapedirs, 2, 0),
            "joint_shapes": self._joints_of(face.shapedirs),
            "expressions": np.moveaxis(face.expressiondirs, 2, 0),
            "joint_expressions": self._joints_of(face.expressiondirs),
        }
        if face.posedirs is not None:
            arrays["correctives"] = face.posedirs.reshape(len(face.posedirs), -1, 3)
        return arrays

    def _joints_of(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how blend shapes [V, 3, K] move the joints [K, J, 3]."""
        return np.einsum("jv,vck->kjc", self.face.j_regressor, directions).astype(np.float32)

    def action_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what the 52 actions are for this face; {} where they mean nothing to it. Takes some seconds."""
        try:
            fitted = fit_retargeting(load_anny_head(), self.face)
        except ValueError:  # it has no expressions, or its head is not where heads are
            return {}
        names = self.face.joint_names
        turns = np.zeros((fitted.jaw.shape[1], len(names), 3), np.float32)
        for name, turn in zip(("jaw", "left_eye", "right_eye"), (fitted.jaw, *fitted.eyes), strict=True):
            turns[:, names.index(name)] = turn.numpy().T
        return {"action_expressions": fitted.expression.numpy().T, "action_turns": turns}


def read(name: str, shapes: int, expressions: int) -> FaceRig:
    """Return an imported face model with at most so many of its identity shapes and expressions.

    Args:
        name: as `neural-portrait faces` lists it; "" for the only one.
        shapes: how many of the identity's blend shapes are kept, the most important come first.
        expressions: how many of the expressions are kept.

    Raises:
        ModelError: if it is not there, one of several, or no face model.
        InputError: if it is damaged.
    """
    known = models.faces()
    if not known:
        raise ModelError(
            "No face model is imported.",
            "Get FLAME or SMPL from its owners' site and bring it in: `neural-portrait faces import FILE`.",
        )
    if name not in known and (name or len(known) > 1):
        problem = f'There is no face model "{name}".' if name else "There are several face models."
        raise ModelError(problem, f"Imported: {', '.join(known)}.")
    chosen = name or next(iter(known))
    kind = models.face_kind(known[chosen])
    if kind not in _READERS:
        raise ModelError(f'"{known[chosen].name}" holds no FLAME and no SMPL.', "Import it again.")
    face = _READERS[kind](known[chosen])
    kept = dataclasses.replace(
        face,
        shapedirs=face.shapedirs[:, :, :shapes],
        expressiondirs=face.expressiondirs[:, :, :expressions],
        expression_names=face.expression_names[:expressions],
    )
    return FaceRig(chosen, kind, kept)
