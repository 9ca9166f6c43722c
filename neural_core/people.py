# SPDX-License-Identifier: Apache-2.0
"""Sliders of a person: age, face, skin, hair, clothes, as numbers that can be read and asked for.

People of our own weights are codes (`human/appearance.py`), and every slider is a reading of the code along one of its
directions. Directions have length 1, so that over all people each slider is a standard normal: 0 is the mean person,
-1 and 1 are usual, -3 and 3 about the ends of what there is.

* Shapes and looks are the code's own numbers.
* Age, masculinity, weight and ancestry are the face model's linear estimates (`FaceModel.attributes`), less their mean
  and by their deviation: the directions along which the estimates change most.

Directions overlap: age is made of shapes, and who looks more African looks less European. The rule: what is asked for
holds, and of the code as little as possible changes; of contradictory wishes the nearest that can be. Readings are
linear, so this is the solution of least norm.

Published weights know no such code, and their people have no sliders.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .errors import UsageError
from .human.anny import load_anny_head
from .human.appearance import APPEARANCE, CODE_SIZE, IDENTITY_SIZE
from .human.model import FaceModel
from .systems.common import Portrait

LIMIT = 5.0
"""Sliders beyond it ask for nobody that a network has learned."""

_CODE = "z"
"""A portrait's tensor [1, 64], where there is one."""
_ATTRIBUTES = {
    "age": ("age", "Age", "young", "old"),
    "gender": ("masculinity", "Masculinity", "feminine", "masculine"),
    "weight": ("weight", "Weight", "slim", "heavy"),
    "african": ("african", "African", "less", "more"),
    "asian": ("asian", "Asian", "less", "more"),
    "caucasian": ("european", "European", "less", "more"),
}
"""The face model's name for what it estimates: name, label, low and high."""
_GROUPS = {
    "Skin": ("skin_tone", "skin_warmth", "skin_redness", "freckles", "lip_colour"),
    "Eyes and brows": (
        *("eye_shade", "iris_colour", "iris_lightness"),
        *("brow_thickness", "brow_arch", "brow_strength"),
    ),
    "Hair": (
        *("hair_length", "hair_volume", "hair_wave", "hair_lightness", "hair_redness", "hair_grey"),
        *("hairline", "parting", "fringe"),
    ),
    "Beard": ("beard", "beard_length"),
    "Clothes": ("clothes_hue", "clothes_lightness"),
}
_DEPENDENT = 1e-4
"""Directions that are the others' sum but for this share are taken to be it; ancestry's three are."""


@dataclass(frozen=True)
class Slider:
    """One of the things that can be asked of a person.

    Attributes:
        name: for messages and commands.
        group: "Face", "Shape", "Skin", "Eyes and brows", "Hair", "Beard" or "Clothes".
        label: for the user.
        low: what a low value looks like; "" where there is no word for it.
        high: what a high value looks like.
        direction: [64] of length 1; the value is its product with the code.
    """

    name: str
    group: str
    label: str
    low: str
    high: str
    direction: NDArray[np.float64]


def sliders(portrait: Portrait) -> tuple[Slider, ...]:
    """Return what can be asked of a portrait's person, in the order of groups; nothing of one without a code."""
    code = portrait.tensors.get(_CODE)
    return _sliders(load_anny_head()) if code is not None and tuple(code.shape) == (1, CODE_SIZE) else ()


def read(portrait: Portrait) -> dict[str, float]:
    """Return the value of each slider of a portrait's person."""
    return {slider.name: float(slider.direction @ _code(portrait)) for slider in sliders(portrait)}


def described(portrait: Portrait) -> list[dict[str, Any]]:
    """Return the sliders and their values as plain values, as `messages.Create` has them."""
    values = read(portrait)
    return [
        {
            **{key: getattr(slider, key) for key in ("name", "group", "label", "low", "high")},
            "value": values[slider.name],
        }
        for slider in sliders(portrait)
    ]


def changed(portrait: Portrait, asked: Mapping[str, Any]) -> Portrait:
    """Return the person with some sliders at other values; all else stays, also what inversion found of a photo.

    Args:
        portrait: who it is now.
        asked: values by the sliders' names; the others go where the rule of this module puts them.

    Raises:
        UsageError: if the person has no sliders, there is none of a name, or a value is no number in -5..5.
    """
    if not asked:
        return portrait
    known = {slider.name: slider for slider in sliders(portrait)}
    if not known:
        raise UsageError(
            "People of this model have no sliders: it knows them by numbers without a name.",
            "Mix them with others, or choose a model of ours.",
        )
    for name, value in asked.items():
        _check(name, value, known)
    directions = np.stack([known[name].direction for name in asked])
    code = _code(portrait)
    missing = np.array([float(value) for value in asked.values()]) - directions @ code
    code = code + np.linalg.lstsq(directions, missing, rcond=_DEPENDENT)[0]
    z = portrait.tensors[_CODE]
    new = torch.from_numpy(code)[None].to(z)
    shape = None if portrait.shape is None else new[0, : len(portrait.shape)].clone()
    return dataclasses.replace(portrait, tensors={**portrait.tensors, _CODE: new}, shape=shape)


def _code(portrait: Portrait) -> NDArray[np.float64]:
    return portrait.tensors[_CODE][0].detach().cpu().double().numpy()


def _sliders(face: FaceModel) -> tuple[Slider, ...]:
    """Return the sliders that a face model's people have."""
    found = []
    for attribute, (name, label, low, high) in _ATTRIBUTES.items():
        slopes = np.zeros(CODE_SIZE)
        slopes[:IDENTITY_SIZE] = face.attributes[attribute][:IDENTITY_SIZE]
        found.append(Slider(name, "Face", label, low, high, slopes / np.linalg.norm(slopes)))
    own = np.eye(CODE_SIZE)
    found += [Slider(f"shape_{k + 1:02d}", "Shape", f"Shape {k + 1}", "", "", own[k]) for k in range(IDENTITY_SIZE)]
    at = {name: IDENTITY_SIZE + place for place, name in enumerate(APPEARANCE)}
    for group, names in _GROUPS.items():
        found += [Slider(name, group, _label(name), *APPEARANCE[name], own[at[name]]) for name in names]
    return tuple(found)


def _label(name: str) -> str:
    return name.replace("_", " ").title()


def _check(name: str, value: object, known: Mapping[str, Slider]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        raise UsageError(f'There is no slider "{name}".', f'Did you mean "{close[0]}"?' if close else "")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LIMIT:
        raise UsageError(
            f'The slider "{name}" cannot be {value}.',
            f"Sliders go from {-LIMIT:g} to {LIMIT:g}: 0 is the mean person, -3 and 3 are about the ends.",
        )
