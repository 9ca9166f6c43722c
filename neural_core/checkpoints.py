# SPDX-License-Identifier: Apache-2.0
"""Saved weights and portraits: one .safetensors file with config, licence and provenance in its header.

The header is an 8-byte length and JSON, so models are listed with the standard library alone (`read_header`). A file
holds numbers and text, and reading it executes nothing. Text keys of a checkpoint (`__metadata__`):

    format       "portrait-checkpoint/1"  ("portrait/1" for a .portrait file)
    system       one of the registered systems, for example "eg3d"
    config       JSON of the system's frozen config, conventions included
    licence, licence_url, use    SPDX id or name; an address; "any" or for example "non-commercial"
    source       JSON: title, authors, url, sha256 of the original, converter version
    data         JSON: data sets and their licences; the face model needed, by name and hash
    requires     JSON: external files by role
    trained      JSON: steps, images seen, commit, date, metrics
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import InputError, ModelError, PortraitError
from .files import write_bytes

if TYPE_CHECKING:  # torch takes seconds to import, and headers are read without it
    from torch import Tensor, nn

FORMAT = "portrait-checkpoint/1"
PORTRAIT_FORMAT = "portrait/1"
CHECKPOINT_KEYS = ("licence", "licence_url", "use", "source", "data", "requires", "trained")

T = TypeVar("T")

_MAX_HEADER_BYTES = 32 << 20
_ITEM_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2},
    **{"F32": 4, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8},
}


@dataclass(frozen=True)
class TensorInfo:
    """What the header says of one tensor: item type in safetensors' spelling ("F16"), and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A file's header, read without its tensors."""

    name: str
    """File name, for messages."""
    metadata: dict[str, str]
    """All text keys as stored."""
    tensors: dict[str, TensorInfo]
    nbytes: int
    """Size of the whole file."""

    @property
    def system(self) -> str:
        """Name of the system that the file belongs to."""
        return self.metadata.get("system", "")

    def json(self, key: str) -> dict[str, Any]:
        """Return the JSON object stored under a text key; {} if there is none. Raises ModelError if it is damaged."""
        return parse_json_object(self.metadata.get(key) or "{}", key, self.name)


@dataclass(frozen=True)
class Checkpoint:
    """Weights as loaded: tensors by name, with what is needed to build the network around them."""

    system: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    hash: str
    """sha256 of the file, in hex."""
    name: str = ""
    """File name, for messages."""


def read_header(path: Path) -> Header:
    """Return the checked header of a .safetensors or .portrait file, with the standard library alone.

    Raises:
        ModelError: if the file is missing, is no such file, or is cut short.
    """
    try:
        with path.open("rb") as file:
            prefix = file.read(8)
            length = _header_length(prefix, path.name)
            text = file.read(length)
        return _parse_header(text, length, path.stat().st_size, path.name)
    except OSError as error:
        raise _unreadable(path, error) from error


def load(path: Path, device: str = "cpu") -> Checkpoint:
    """Return the checkpoint stored in a file, tensors in the stored precision.

    Raises:
        ModelError: if the file is missing, damaged, cut short, or of another format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    tensors, metadata = unpack(data, FORMAT, path.name, device)
    for key in ("system", "config"):
        if not metadata.get(key):
            raise ModelError(f'"{path.name}" does not say its {key}.', "Export or convert it again.")
    config = parse_json_object(metadata["config"], "config", path.name)
    return Checkpoint(metadata["system"], config, tensors, metadata, hashlib.sha256(data).hexdigest(), path.name)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file in hex. Raises ModelError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def save(
    path: Path,
    tensors: Mapping[str, Tensor],
    system: str,
    config: Mapping[str, Any],
    metadata: Mapping[str, str | Mapping[str, Any]],
) -> str:
    """Write a checkpoint, and return its sha256. The same contents give the same bytes.

    Args:
        path: where to; written beside and renamed.
        tensors: stored in the precision that they have.
        system: a registered system's name.
        config: plain values; stored as JSON.
        metadata: texts or JSON objects under `CHECKPOINT_KEYS`; `licence` and `use` have to be there.

    Raises:
        PortraitError: kind "output", if the file cannot be written.
        ValueError: if a metadata key is unknown, or the licence is missing.
    """
    unknown = set(metadata) - set(CHECKPOINT_KEYS)
    if unknown or not metadata.get("licence") or not metadata.get("use"):
        raise ValueError(f"metadata needs licence and use and knows {CHECKPOINT_KEYS}; got {sorted(metadata)}")
    texts = {key: value if isinstance(value, str) else _dump(value) for key, value in metadata.items()}
    data = pack(tensors, {"format": FORMAT, "system": system, "config": _dump(config), **texts})
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file; the same contents give the same bytes."""
    import safetensors.torch

    data = safetensors.torch.save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, None)
    (length,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + length])
    # The library writes text keys in random order; sorting them makes files reproducible.
    header = json.dumps({"__metadata__": dict(sorted(metadata.items())), **entries}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def unpack(data: bytes, format: str, name: str, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and text keys of a file's bytes.

    Args:
        data: the whole file.
        format: the `format` key that it has to have.
        name: what to call it in messages.
        device: where the tensors go.

    Raises:
        ModelError: if the bytes are no such file (InputError for format "portrait/1").
    """
    import safetensors.torch

    try:
        length = _header_length(data[:8], name)
        header = _parse_header(data[8 : 8 + length], length, len(data), name)
        check_format(header.metadata, format, name)
        try:
            tensors = safetensors.torch.load(data)
        except Exception as error:  # the library's own class and ValueError, RuntimeError, by version
            raise ModelError(f'"{name}" is damaged: {error}.', "Copy or download it again.") from error
    except ModelError as error:
        if format == PORTRAIT_FORMAT:
            raise InputError(error.message, error.hint) from error
        raise
    return {key: tensor.to(device) for key, tensor in tensors.items()}, header.metadata


def as_config(kind: type[T], config: Mapping[str, Any], system: str, name: str = "config") -> T:
    """Return the frozen config of a class from plain values; strict.

    Args:
        kind: the class of a system's configs.
        config: as in the checkpoint's header.
        system: the system's name.
        name: what to call the file in messages.

    Raises:
        ModelError: naming the first unknown key, wrong type or impossible combination.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(json.dumps(config), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ModelError(
            f'The config in "{name}" is not one of {system}: {where}: {first["msg"]}.',
            "It was changed, or made by another version: export or convert it again.",
        ) from error


def check_format(metadata: Mapping[str, str], format: str, name: str) -> None:
    """Raise ModelError unless a file's text keys say that it has this format."""
    found = metadata.get("format", "")
    if found != format:
        raise ModelError(f'"{name}" has format "{found or "none"}", expected "{format}".', _format_hint(found))


def fill(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy tensors into a module's parameters and buffers, converting to their precision. Strict.

    Raises:
        ModelError: naming missing tensors, extra ones and wrong shapes.
    """
    import torch

    own = module.state_dict()
    check_shapes({key: tuple(value.shape) for key, value in own.items()}, tensors, name)
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(tensors[key])


def check_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Any], name: str) -> None:
    """Raise ModelError naming the differences, unless `found` has exactly the expected names and shapes."""
    if problems := differences(expected, found):
        raise ModelError(
            f'"{name}" does not fit the network of its config: it {problems}.',
            "The file was changed or made by another version: export or convert it again.",
        )


def differences(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Any]) -> str:
    """Return in words how tensors differ from the expected names and shapes ("lacks a; has unknown b"); "" if not."""
    problems: list[str] = []
    if missing := sorted(set(expected) - set(found)):
        problems.append(f"lacks {_some(missing)}")
    if extra := sorted(set(found) - set(expected)):
        problems.append(f"has unknown {_some(extra)}")
    for key in sorted(set(expected) & set(found)):
        if tuple(found[key].shape) != tuple(expected[key]):
            problems.append(f"has {key} of shape {list(found[key].shape)}, expected {list(expected[key])}")
    more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
    return "; ".join(problems[:4]) + more


def parse_json_object(text: str, key: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a header's text. Raises ModelError if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f'The {key} in "{name}" is not JSON: {error}.', "The file is damaged.") from error
    if not isinstance(value, dict):
        raise ModelError(f'The {key} in "{name}" is not a JSON object.', "The file is damaged.")
    return cast("dict[str, Any]", value)


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _some(names: Iterable[str], limit: int = 5) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _format_hint(found: str) -> str:
    if found == PORTRAIT_FORMAT:
        return "That is a portrait, not a model."
    if found == FORMAT:
        return "That is a model, not a portrait."
    if found.startswith(("portrait-checkpoint/", "portrait/")):
        return "It was made by another version of Neural Portrait."
    return "It was not made by Neural Portrait; published models come in by `neural-portrait models import`."


def _unreadable(path: Path, error: OSError) -> PortraitError:
    return ModelError(f'Cannot read "{path}": {error.strerror or error}.', "Check the path and the permissions.")


def _header_length(prefix: bytes, name: str) -> int:
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    if not 0 < length <= _MAX_HEADER_BYTES:
        raise ModelError(f'"{name}" is no safetensors file.', "Choose a file made by Neural Portrait.")
    return length


def _parse_header(text: bytes, length: int, nbytes: int, name: str) -> Header:
    """Check a header against the size of its file, and return it."""
    if len(text) < length:
        raise ModelError(f'"{name}" is cut short inside its header.', "Copy or download it again.")
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        texts = {str(key): str(value) for key, value in metadata.items()}
        tensors = {key: TensorInfo(entry["dtype"], tuple(entry["shape"])) for key, entry in entries.items()}
        expected = sum(_ITEM_BYTES[t.dtype] * math.prod(t.shape) for t in tensors.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f'The header of "{name}" is damaged.', "Copy or download it again.") from error
    if nbytes != 8 + length + expected:
        raise ModelError(
            f'"{name}" is cut short or damaged: its header promises {expected} bytes of tensors, '
            f"the file holds {nbytes - 8 - length}.",
            "Copy or download it again.",
        )
    return Header(name, texts, tensors, nbytes)
