# SPDX-License-Identifier: Apache-2.0
"""The .portrait file: a person's latents with their provenance, some kilobytes; with tuned weights some megabytes.

It is a safetensors file of format "portrait/1" (see `checkpoints`): the system's tensors by name, differences of tuned
weights among them (`fitting/tunable.py`), the identity coefficients of the rig under "face/shape", and as text keys the
system, the sha256 of the model, and the provenance.
"""

from __future__ import annotations

import json

import torch

from . import checkpoints
from .errors import InputError, ModelError
from .systems.common import Portrait

SHAPE_KEY = "face/shape"


def to_bytes(portrait: Portrait) -> bytes:
    """Return the contents of the portrait's file; the same portrait gives the same bytes."""
    tensors = dict(portrait.tensors)
    if portrait.shape is not None:
        tensors[SHAPE_KEY] = portrait.shape
    metadata = {
        "format": checkpoints.PORTRAIT_FORMAT,
        "system": portrait.system,
        "checkpoint_hash": portrait.checkpoint_hash,
        "provenance": json.dumps(portrait.provenance, sort_keys=True),
    }
    return checkpoints.pack(tensors, metadata)


def from_bytes(data: bytes, name: str, device: str = "cpu") -> Portrait:
    """Return the portrait in a file's bytes.

    Args:
        data: the whole file.
        name: what to call it in messages.
        device: where its tensors go.

    Raises:
        InputError: if the bytes are no portrait, are cut short, or hold numbers that are not finite.
    """
    tensors, metadata = checkpoints.unpack(data, checkpoints.PORTRAIT_FORMAT, name, device)
    if not metadata.get("system") or not metadata.get("checkpoint_hash"):
        raise InputError(f'"{name}" does not say which model it was made with.', "Create the portrait again.")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise InputError(f'"{name}" holds numbers that are not finite.', "The file is damaged: create it again.")
    try:
        provenance = checkpoints.parse_json_object(metadata.get("provenance", "{}"), "provenance", name)
    except ModelError as error:
        raise InputError(error.message, error.hint) from error
    shape = tensors.pop(SHAPE_KEY, None)
    return Portrait(metadata["system"], metadata["checkpoint_hash"], tensors, shape, provenance)
