# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the engine answered, before anything is built of it: Blender is never given half of a portrait. Pure.

An engine of the same version always passes. What does not is a damaged one, or something else that answers on its pipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .neural_core import errors

CAMERA_NUMBERS = 25
SURFACE = ("rest", "faces", "colours", "bind_index", "bind_weight")
"""Arrays of Mesh's answer that are used."""
_TEXTS = ("model", "model_hash", "system", "licence", "use", "photo", "style")
_SLIDER_TEXTS = ("name", "group", "label", "low", "high")
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Slider:
    """What can be asked of a person, in words; `value` is the person's, 0 the mean person's."""

    name: str
    group: str
    label: str
    low: str
    high: str
    value: float


def check_portrait(fields: Mapping[str, Any], arrays: Arrays) -> None:
    """Check the answer of Create and its like. Raises ProtocolError with the first thing that is wrong."""
    actions, joints = _names(fields, "action_names"), _names(fields, "joint_names")
    camera = fields.get("camera")
    if not isinstance(camera, list) or len(camera) != CAMERA_NUMBERS or not all(map(_is_number, camera)):
        raise _wrong("its camera is no list of 25 numbers")
    for name in ("model", "model_hash", "system"):
        if not isinstance(fields.get(name), str):
            raise _wrong(f"its {name} is no text")
    for name in _TEXTS:
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise _wrong(f"its {name} is no text")
    if fields.get("seed") is not None and not (type(fields["seed"]) is int and 0 <= fields["seed"] < 1 << 31):
        raise _wrong("its seed is none")
    if fields.get("truncation") is not None and not _is_number(fields["truncation"]):
        raise _wrong("its truncation is no number")
    if not isinstance(fields.get("animatable", False), (bool, type(None))):
        raise _wrong("its animatable is neither yes nor no")
    sliders(fields)
    notes = fields.get("notes") or []
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise _wrong("its notes are no sentences")
    _array(arrays, "portrait", "u1", None)
    vertices = len(_array(arrays, "rig/vertices", "f4", None, 3))
    corners = len(_array(arrays, "rig/uv", "f4", None, 2))
    triangles = _indices(arrays, "rig/faces", vertices, 3)
    if _indices(arrays, "rig/uv_faces", corners, 3).shape != triangles.shape:
        raise _wrong("its faces and their texture coordinates differ in number")
    _array(arrays, "rig/weights", "f4", vertices, len(joints))
    _array(arrays, "rig/joints", "f4", len(joints), 3)
    _array(arrays, "rig/actions", "f4", len(actions), vertices, 3)
    parents = _array(arrays, "rig/parents", "i4", len(joints))
    if any(parent >= child for child, parent in enumerate(parents.tolist())):
        raise _wrong("a joint comes before its parent")


def sliders(fields: Mapping[str, Any]) -> list[Slider]:
    """Return the sliders of a portrait's person. Raises ProtocolError if they make no sense."""
    listed = fields.get("sliders") or []
    if not isinstance(listed, list):
        raise _wrong("its sliders are no list")
    for entry in listed:
        texts = [entry.get(key) for key in _SLIDER_TEXTS] if isinstance(entry, dict) else []
        if not texts or not all(isinstance(text, str) for text in texts) or not texts[0]:
            raise _wrong("one of its sliders has no name, or other texts are missing")
        if not _is_number(entry.get("value")):
            raise _wrong(f'the value of its slider "{texts[0]}" is no number')
    names = [entry["name"] for entry in listed]
    if len(set(names)) != len(names):
        raise _wrong("its sliders repeat one")
    return [Slider(*(entry[key] for key in _SLIDER_TEXTS), value=float(entry["value"])) for entry in listed]


def check_picture(arrays: Arrays) -> np.ndarray:
    """Return the picture of an answer, u1[h,w,4]. Raises ProtocolError if there is none."""
    if "image" not in arrays:
        raise errors.ProtocolError("The engine drew a picture but did not send it.")
    if not is_picture(arrays["image"]):
        raise _wrong("its picture is none")
    return arrays["image"]


def is_picture(array: np.ndarray | None) -> bool:
    """Return whether an array can be shown: u1[h,w,4] with at least one pixel."""
    return array is not None and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 4 and array.size > 0


def check_surface(arrays: Arrays) -> None:
    """Check the answer of Mesh. Raises ProtocolError with the first thing that is wrong."""
    missing = [name for name in SURFACE if name not in arrays]
    if missing:
        raise errors.ProtocolError(f"The engine's surface lacks {', '.join(missing)}.")
    vertices = len(_array(arrays, "rest", "f4", None, 3))
    _indices(arrays, "faces", vertices, 3)
    _array(arrays, "colours", "f4", vertices, 3)
    index = _array(arrays, "bind_index", "i4", vertices, None)
    if index.size and index.min() < 0:
        raise _wrong("its surface is bound to nothing")
    _array(arrays, "bind_weight", "f4", *index.shape)


def check_exact(arrays: Arrays) -> None:
    """Check the answer of Mesh where the surface as it is will be used. Raises ProtocolError, as `check_surface`."""
    check_surface(arrays)
    _array(arrays, "vertices", "f4", len(arrays["rest"]), 3)


def curves(fields: Mapping[str, Any], arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the curves of an answer, values [n] by name. Raises ProtocolError with the first thing that is wrong."""
    names, values = fields.get("names"), arrays.get("curves")
    if not names or values is None or values.shape[1:] != (len(names),):
        raise errors.ProtocolError("The engine's curves do not fit their names.")
    if not _is_number(fields.get("fps")) or fields["fps"] <= 0:
        raise _wrong("its frames have no rate")
    return dict(zip(_names(fields, "names"), _array(arrays, "curves", "f4", None, len(names)).T, strict=True))


def check_motion(fields: Mapping[str, Any]) -> None:
    """Check what Track's answer says beside its curves. Raises ProtocolError with the first thing that is wrong."""
    if not _is_number(fields.get("start")) or fields["start"] < 0:
        raise _wrong("its motion has no start")
    if not isinstance(fields.get("sound"), bool):
        raise _wrong("its sound is neither there nor missing")
    notes = fields.get("notes")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise _wrong("its notes are no sentences")


def _names(fields: Mapping[str, Any], key: str) -> list[str]:
    names = fields.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise _wrong(f"its {key} are no names")
    if len(set(names)) != len(names):
        raise _wrong(f"its {key} repeat one")
    return names


def _array(arrays: Arrays, name: str, kind: str, *shape: int | None) -> np.ndarray:
    """Return an array if it has this item type and shape (None for any length) and only finite numbers."""
    array = arrays.get(name)
    if array is None:
        raise _wrong(f'the array "{name}" is missing')
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype != np.dtype("<" + kind) or not fits:
        raise _wrong(f'the array "{name}" is {array.dtype.str}{list(array.shape)}')
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _wrong(f'the array "{name}" has numbers that are not finite')
    return array


def _indices(arrays: Arrays, name: str, count: int, corners: int) -> np.ndarray:
    array = _array(arrays, name, "i4", None, corners)
    if array.size and not 0 <= array.min() <= array.max() < count:
        raise _wrong(f'the array "{name}" names vertices that are not there')
    return array


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _wrong(what: str) -> errors.ProtocolError:
    return errors.ProtocolError(
        f"The engine's answer makes no sense: {what}.", "The scene is unchanged; restart the engine in System."
    )
