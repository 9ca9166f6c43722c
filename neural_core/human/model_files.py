# SPDX-License-Identifier: Apache-2.0
"""Reads other people's face and body model files without executing anything in them.

FLAME and SMPL are published as pickles that need the library chumpy, which no longer imports; ``inert_pickle.py`` reads
them without it. Files of plain arrays (``.npz``) are read too. :func:`convert` writes the arrays as safetensors, so
that the pickle need not be read again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, PortraitError
from ..files import ARCHIVE_DAMAGE, replacing
from .inert_pickle import NUMERIC, InertUnpickler, class_name, evaluate

FORMAT = "model-arrays/1"


@dataclass(frozen=True)
class ModelFile:
    """What was read from a model file.

    Attributes:
        name: The file's name, for messages.
        sha256: Digest of the file that the arrays first came from, hexadecimal.
        arrays: Numeric arrays by key, with the file's own element types; sparse matrices are dense.
        texts: Short texts by key (``bs_style`` ...).
    """

    name: str
    sha256: str
    arrays: dict[str, NDArray[Any]]
    texts: dict[str, str] = field(default_factory=dict)

    def array(self, key: str) -> NDArray[Any]:
        """Return one array.

        Raises:
            InputError: The file has no such array.
        """
        if key not in self.arrays:
            raise InputError(f'"{self.name}" has no array "{key}".', "Is it a file of this face model?")
        return self.arrays[key]


def read_model_file(path: Path) -> ModelFile:
    """Return the arrays of a ``.pkl``, ``.npz`` or (written by :func:`convert`) ``.safetensors`` file.

    Raises:
        InputError: There is no such file, it is of another kind, is damaged, holds objects instead of numbers, or is a
            pickle that asks for anything but arrays. Nothing in the file has been executed.
    """
    readers: dict[str, Callable[[str, bytes], ModelFile]] = {
        ".pkl": _read_pickle,
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f'"{path.name}" is no model file.', f"Expected one of {', '.join(readers)}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'Cannot read "{path}": {error.strerror or error}.') from error
    return reader(path.name, data)


def convert(source: Path, target: Path, more: Mapping[str, NDArray[Any]] | None = None) -> ModelFile:
    """Read ``source`` once and write its arrays to the safetensors file ``target``, with the digest of ``source``.

    ``more`` are arrays to write beside them; those of the file of the same name are replaced.

    Raises:
        InputError: As :func:`read_model_file`.
        PortraitError: The target cannot be written.
    """
    from safetensors.numpy import save_file

    model = read_model_file(source)
    model.arrays.update(more or {})
    header = {"format": FORMAT, "name": model.name, "sha256": model.sha256}
    header |= {f"text/{key}": text for key, text in model.texts.items()}
    with replacing(target) as partial:
        save_file({key: np.ascontiguousarray(a) for key, a in model.arrays.items()}, partial, metadata=header)
    return model


def _read_npz(name: str, data: bytes) -> ModelFile:
    arrays: dict[str, NDArray[Any]] = {}
    texts: dict[str, str] = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            for key in file.files:
                value = file[key]
                if value.dtype.kind == "U" and value.ndim == 0:
                    texts[key] = str(value)
                else:
                    arrays[key] = _numeric(value, key, name)
    except ARCHIVE_DAMAGE as error:
        if "allow_pickle" in str(error):
            raise InputError(f'"{name}" holds objects instead of numbers.', "Object arrays are never read.") from error
        raise InputError(f'"{name}" is damaged or no .npz file.') from error
    return ModelFile(name, hashlib.sha256(data).hexdigest(), arrays, texts)


def _read_safetensors(name: str, data: bytes) -> ModelFile:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f'"{name}" is damaged or no safetensors file.') from error
    if header.get("format") != FORMAT:
        raise InputError(f'"{name}" holds no converted model file.', f'Its format is not "{FORMAT}".')
    texts = {key.removeprefix("text/"): text for key, text in header.items() if key.startswith("text/")}
    return ModelFile(header["name"], header["sha256"], arrays, texts)


def _read_pickle(name: str, data: bytes) -> ModelFile:
    try:
        content = InertUnpickler(io.BytesIO(data), name).load()
    except PortraitError:
        raise
    except Exception as error:  # hostile bytes make the unpickler raise nearly anything
        raise InputError(f'"{name}" is damaged or no pickle of arrays.', f"({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InputError(f'"{name}" holds a {class_name(content)}, not a dictionary of arrays.')
    arrays: dict[str, NDArray[Any]] = {}
    texts: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, str):
            texts[str(key)] = value
        elif value is not None:
            arrays[str(key)] = _numeric(evaluate(value, str(key), name), str(key), name)
    return ModelFile(name, hashlib.sha256(data).hexdigest(), arrays, texts)


def _numeric(array: NDArray[Any], key: str, name: str) -> NDArray[Any]:
    """Return the array in the machine's byte order and writable, or refuse what is no number."""
    if array.dtype.name not in NUMERIC:
        kind = array.dtype.name
        raise InputError(f'"{key}" in "{name}" holds {kind} instead of numbers.', "Such arrays are not read.")
    return np.array(array, array.dtype.newbyteorder("="))
