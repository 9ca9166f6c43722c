# SPDX-License-Identifier: Apache-2.0
"""The pictures of a data set and their camera labels, as ``dataset.json`` of EG3D's layout says them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_core.errors import InputError

from .sources import Source

LABELS = "dataset.json"
_NUMBERS = 25
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_HOW_TO = "Make one: python -m training.prepare PHOTOS --out DIR, or EG3D's own preparation."


@dataclass(frozen=True)
class Labelled:
    """The n pictures that have a camera label, sorted by name as in EG3D."""

    names: NDArray[np.str_]
    """[n] relative to the data set, with forward slashes."""
    labels: NDArray[np.float32]
    """[n, 25] camera labels."""
    left_out: tuple[str, ...]
    """A sentence about every picture and every label that lacks its other half."""


def labelled_pictures(source: Source) -> Labelled:
    """Return what a data set lists. No picture is opened.

    Raises:
        InputError: there are no pictures, no labels, labels of something else than cameras, or of other pictures.
    """
    files = source.names()
    pictures = [name for name in files if name.lower().endswith(_PICTURES)]
    if not pictures:
        raise InputError(f'There are no pictures in "{source.path}".', "Give the folder or the zip of a data set.")
    said = _read(source, files)
    names, labels, left_out = [], [], []
    for name in pictures:
        label = _numbers(said.get(name))
        if label is None:
            left_out.append(f"{name}: its label is not 25 numbers." if name in said else f"{name}: it has no label.")
        else:
            names.append(name)
            labels.append(label)
    if not names:
        raise _no_match(source, pictures, said)
    left_out += [f"{name}: there is only its label." for name in sorted(said.keys() - set(pictures))]
    return Labelled(np.array(names, np.str_), np.stack(labels), tuple(left_out))


def _read(source: Source, files: list[str]) -> dict[str, Any]:
    """Return labels by the names of pictures, unchecked."""
    if LABELS not in files:
        deeper = [name for name in files if name.endswith(f"/{LABELS}")]
        where = f'It is in "{deeper[0]}": pack or give that folder.' if deeper else _HOW_TO
        raise InputError(f'"{source.path}" has no {LABELS}: nothing is known of the cameras.', where)
    try:
        labels = json.loads(source.read(LABELS))["labels"]
        # Some tools write a mapping, most a list of pairs; EG3D reads both.
        pairs = labels.items() if isinstance(labels, dict) else [entry[:2] for entry in labels or []]
        said = {str(name).replace("\\", "/"): label for name, label in pairs}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{LABELS} in "{source.path}" is damaged or something else.', _HOW_TO) from error
    if not said:
        raise InputError(f'{LABELS} in "{source.path}" has no labels: nothing is known of the cameras.', _HOW_TO)
    return said


def _numbers(label: Any) -> NDArray[np.float32] | None:
    try:
        numbers = np.asarray(label, np.float32)
    except (ValueError, TypeError):
        return None
    return numbers if numbers.shape == (_NUMBERS,) and np.isfinite(numbers).all() else None


def _no_match(source: Source, pictures: list[str], said: dict[str, Any]) -> InputError:
    """Return the sentence for labels of which none is a camera of a picture that is there."""
    both = next((name for name in pictures if name in said), None)
    if both is None:
        return InputError(
            f'{LABELS} in "{source.path}" names none of its {len(pictures)} pictures.',
            f'It begins with "{next(iter(said))}", the pictures with "{pictures[0]}".',
        )
    label = said[both]
    has = f"{len(label)} numbers" if isinstance(label, list) else f"the value {label!r}"
    return InputError(
        f'The labels in "{source.path}" are no cameras: that of "{both}" has {has}, not {_NUMBERS}.',
        "EG3D's are cam2world (16, by rows) and the intrinsics (9, by rows).",
    )
