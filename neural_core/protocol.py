# SPDX-License-Identifier: Apache-2.0
"""Messages between the add-on and the worker, and their framing. Standard library only.

A frame is a little-endian u32 (length of the header), a JSON header in UTF-8, and the bytes of the arrays that the
header lists, one after another::

    {"v": 2, "type": "render", "id": 3, ...fields..., "arrays": [{"name": "image", "dtype": "u1", "shape": [4, 4, 4]}]}

Every answer carries the `id` of the request that it belongs to. A request is answered by any number of `progress`,
`image` and `array`, then by exactly one `done` or `error`. Nothing in a message is ever executed.

Reading is strict: a byte string is a sequence of messages, or `ProtocolError`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

from .errors import ProtocolError
from .messages import (
    ANSWERS,
    ITEM_BYTES,
    MESSAGES,
    REQUESTS,
    Array,
    Arrays,
    Cancel,
    Create,
    Done,
    Error,
    Export,
    Face,
    Free,
    Hello,
    Image,
    Import,
    List,
    Load,
    Mesh,
    Message,
    Open,
    Person,
    Progress,
    RawArray,
    Reconstruct,
    Render,
    Speak,
    Stylise,
    Track,
)

__all__ = [
    "ANSWERS",
    "MESSAGES",
    "REQUESTS",
    "VERSION",
    "Array",
    "Arrays",
    "Cancel",
    "Create",
    "Done",
    "Error",
    "Export",
    "Face",
    "Free",
    "Hello",
    "Image",
    "Import",
    "List",
    "Load",
    "Mesh",
    "Message",
    "Open",
    "Person",
    "Progress",
    "RawArray",
    "Reconstruct",
    "Render",
    "Speak",
    "Stylise",
    "Track",
    "encode",
    "read",
    "write",
]

VERSION = 2
MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 1 << 30
MAX_ARRAYS = 64
MAX_DIMENSIONS = 8
CAMERA_NUMBERS = 25  # cam2world row by row (16), then normalised intrinsics row by row (9): the camera label

_READ_CHUNK = 1 << 20


@runtime_checkable
class ByteSource(Protocol):
    """What messages are read from: a pipe, a file, io.BytesIO."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most `size` bytes; b"" at the end."""
        ...


@runtime_checkable
class ByteSink(Protocol):
    """What messages are written to."""

    def write(self, data: bytes, /) -> int | None:
        """Write the bytes."""
        ...

    def flush(self) -> None:
        """Push them to the other side."""
        ...


# Writing ------------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        ProtocolError: if a field has the wrong type, a number is not finite, an array's bytes do not match its shape,
            or a limit is passed; so what we send can always be read.
    """
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    arrays = cast("Arrays", fields.pop("arrays", {}))
    listed = [{"name": name, "dtype": a.dtype, "shape": list(a.shape)} for name, a in arrays.items()]
    _array_entries(listed)
    for name, array in arrays.items():
        if len(array.data) != array.nbytes:
            raise ProtocolError(f'Array "{name}" has {len(array.data)} bytes, its shape asks for {array.nbytes}.')
    try:
        text = json.dumps({"v": VERSION, "type": message.type, **fields, "arrays": listed}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f'A "{message.type}" message cannot be written: {error}.') from error
    header = text.encode("utf-8")
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(f'The header of "{message.type}" has {len(header)} bytes, more than {MAX_HEADER_BYTES}.')
    _message(_parse_header(header), arrays)
    return b"".join([struct.pack("<I", len(header)), header, *(a.data for a in arrays.values())])


def write(sink: ByteSink, message: Message) -> None:
    """Write one frame and flush it."""
    sink.write(encode(message))
    sink.flush()


# Reading ------------------------------------------------------------------------------------------------------------


def read(source: ByteSource) -> Message | None:
    """Return the next message, or None where the stream ends between two frames. Blocks.

    Raises:
        ProtocolError: if the bytes are no frame, or end inside one.
    """
    prefix = source.read(4)
    if not prefix:
        return None
    prefix = bytes(prefix) + _read_exactly(source, 4 - len(prefix))
    (length,) = struct.unpack("<I", prefix)
    if not 0 < length <= MAX_HEADER_BYTES:
        raise ProtocolError(
            f"A header of {length} bytes is announced (at most {MAX_HEADER_BYTES}): this is not our protocol.",
            "Something else writes to the worker's output; see the log.",
        )
    header = _parse_header(_read_exactly(source, length))
    arrays = {
        name: dataclasses.replace(array, data=_read_exactly(source, array.nbytes))
        for name, array in _array_entries(header.pop("arrays", [])).items()
    }
    return _message(header, arrays)


def _read_exactly(source: ByteSource, count: int) -> bytes:
    """Read `count` bytes piece by piece, so that a false length costs no memory."""
    parts = bytearray()
    while len(parts) < count:
        part = source.read(min(count - len(parts), _READ_CHUNK))
        if not part:
            raise ProtocolError(f"The stream ended inside a message ({len(parts)} of {count} bytes).")
        parts += part
    return bytes(parts)


def _parse_header(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a header."""
    try:
        header = json.loads(data.decode("utf-8"), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"A message header is not JSON: {error}.") from error
    return _read_dict("A message header", header)


def _finite(text: str) -> float:
    """Read a JSON number; Python's reader would also take NaN, Infinity and 1e999."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _array_entries(listed: object) -> dict[str, RawArray]:
    """Return the arrays of a header, still without bytes, if each is legal and all together are within the limits."""
    entries = _read_list("arrays", listed)
    if len(entries) > MAX_ARRAYS:
        raise ProtocolError(f"A message has {len(entries)} arrays, more than {MAX_ARRAYS}.")
    arrays: dict[str, RawArray] = {}
    for item in entries:
        entry = _read_dict("An array entry", item)
        if set(entry) != {"name", "dtype", "shape"}:
            raise ProtocolError("An array entry does not have exactly name, dtype and shape.")
        name, dtype = _read_str("An array name", entry["name"]), _read_str("An item type", entry["dtype"])
        shape = tuple(_read_int("A size", size) for size in _read_list("A shape", entry["shape"]))
        if name in arrays:
            raise ProtocolError(f'The array "{name}" occurs twice.')
        if dtype not in ITEM_BYTES:
            raise ProtocolError(f'Array "{name}" has item type "{dtype}"; known are {", ".join(ITEM_BYTES)}.')
        if len(shape) > MAX_DIMENSIONS or any(not 0 <= size <= MAX_PAYLOAD_BYTES for size in shape):
            raise ProtocolError(f'Array "{name}" has no legal shape.')
        arrays[name] = RawArray(dtype, shape, b"")
    total = sum(array.nbytes for array in arrays.values())
    if total > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"A message announces {total} bytes of arrays, more than {MAX_PAYLOAD_BYTES}.")
    return arrays


def _message(header: dict[str, Any], arrays: Arrays) -> Message:
    """Make the dataclass that a header names, checking every field."""
    fields = {name: value for name, value in header.items() if name not in ("v", "type", "arrays")}
    version, name = header.get("v"), header.get("type")
    if type(version) is not int or version != VERSION:
        raise ProtocolError(
            f"The other side speaks version {version!r} of the protocol, this one {VERSION}.",
            "Install the add-on and the worker from the same release.",
        )
    if not isinstance(name, str) or name not in MESSAGES:
        raise ProtocolError(f"There is no message of type {name!r}.")
    kind = MESSAGES[name]
    known = {f.name: f for f in dataclasses.fields(kind)}
    takes_arrays = "arrays" in known
    if arrays and not takes_arrays:
        raise ProtocolError(f'A "{name}" message carries no arrays.')
    values: dict[str, Any] = {"arrays": dict(arrays)} if takes_arrays else {}
    for key, value in fields.items():
        if key not in known:
            raise ProtocolError(f'A "{name}" message has no field "{key}".')
        values[key] = _READERS[str(known[key].type)](f"{name}.{key}", value)
    missing = [
        key
        for key, f in known.items()
        if key not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ProtocolError(f'A "{name}" message lacks {", ".join(missing)}.')
    return kind(**values)


def _read_int(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
        raise ProtocolError(f"{name} is no 64-bit integer.")
    return value


def _read_float(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProtocolError(f"{name} is no number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ProtocolError(f"{name} is not finite.")
    return number


def _read_str(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is no text.")
    return value


def _read_list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ProtocolError(f"{name} is no list.")
    return cast("list[Any]", value)


def _read_camera(name: str, value: object) -> tuple[float, ...]:
    numbers = _read_list(name, value)
    if len(numbers) != CAMERA_NUMBERS:
        raise ProtocolError(f"{name} is not a list of {CAMERA_NUMBERS} numbers.")
    return tuple(_read_float(name, number) for number in numbers)


def _read_dict(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{name} is no object.")
    return cast("dict[str, Any]", value)


# Keyed by the annotation as written above: `from __future__ import annotations` keeps annotations as text.
_READERS: dict[str, Callable[[str, object], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "str": _read_str,
    "tuple[float, ...]": _read_camera,
    "dict[str, Any]": _read_dict,
}
