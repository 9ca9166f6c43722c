# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a picture of the network is made: what jobs and the panel compare before they draw it again."""

from __future__ import annotations

import hashlib
from typing import Any

import bpy

from .frame_record import key_of
from .requests import Shot
from .scene import find, portrait

_DECIMALS = 6
# By identifier and length of the stored text: the bytes behind an identifier never change, and live pictures ask often.
_digests: dict[tuple[str, int], str] = {}


def picture_facts(root: bpy.types.Object, shot: Shot, size: int, quality: str) -> dict[str, Any]:
    """Return everything that decides how the network's picture looks: who, with which weights, from where, doing what.

    The frame's number is not among them, nor is the .blend: the same face from the same place is the same picture.

    Raises:
        InputError: if the portrait's data is gone from the .blend.
    """
    return {
        "portrait": portrait_digest(root),
        "model_hash": find.identity_of(root).model_hash,
        "camera": [round(number, _DECIMALS) for number in shot.camera],
        "controls": shot.controls,
        "size": size,
        "quality": quality,
        **({"background": shot.background} if shot.background else {}),
    }


def picture_key(root: bpy.types.Object, shot: Shot, size: int, quality: str = "full") -> str:
    """Return the key of a picture. Raises InputError if the portrait's data is gone from the .blend."""
    return key_of(picture_facts(root, shot, size, quality))


def portrait_digest(root: bpy.types.Object) -> str:
    """Return the SHA-256 of a portrait's file. Raises InputError if its data is gone."""
    identity = find.identity_of(root)
    key = (identity.uuid, len(identity.file.lines) if identity.file else 0)
    if key not in _digests:
        _digests[key] = hashlib.sha256(portrait.kept_bytes(root)).hexdigest()
    return _digests[key]
