# SPDX-License-Identifier: Apache-2.0
"""Messages between the add-on and the worker, and their framing. Standard library only.

A frame is a little-endian u32 (length of the header), a JSON header in UTF-8, and the bytes of the arrays that the
header lists, one after another::

    {"v": 1, "type": "render", "id": 3, ...fields..., "arrays": [{"name": "image", "dtype": "u1", "shape": [4, 4, 4]}]}

Every answer carries the `id` of the request that it belongs to. A request is answered by any number of `progress`,
`image` and `array`, then by exactly one `done` or `error`. Nothing in a message is ever executed.

Reading is strict: a byte string is a sequence of messages, or `ProtocolError`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from .errors import ProtocolError

VERSION = 1
MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 1 << 30
MAX_ARRAYS = 64
MAX_DIMENSIONS = 8
CAMERA_NUMBERS = 25  # cam2world row by row (16), then normalised intrinsics row by row (9): the camera label

ITEM_BYTES = {"u1": 1, "i4": 4, "i8": 8, "f2": 2, "f4": 4, "f8": 8}
"""Array item types, little-endian, named as numpy does without the byte order."""

_READ_CHUNK = 1 << 20


class ByteSource(Protocol):
    """What messages are read from: a pipe, a file, io.BytesIO."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most `size` bytes; b"" at the end."""
        ...


class ByteSink(Protocol):
    """What messages are written to."""

    def write(self, data: bytes, /) -> int | None:
        """Write the bytes."""
        ...

    def flush(self) -> None:
        """Push them to the other side."""
        ...


@dataclass(frozen=True)
class RawArray:
    """An array as it travels: item type, shape, and C-ordered little-endian bytes.

    `numpy.frombuffer(a.data, "<" + a.dtype).reshape(a.shape)` makes an array of it.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | bytearray

    @property
    def nbytes(self) -> int:
        """Number of bytes that dtype and shape ask for."""
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)


Arrays = Mapping[str, RawArray]


@dataclass(frozen=True)
class Message:
    """What all messages have. `id` is chosen by the client, and unique among its requests."""

    type: ClassVar[str] = ""
    id: int


# Requests -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Message):
    """First request. `done` gives: version, protocol, python, torch, device, device_name, memory_mb, threads."""

    type = "hello"
    client_version: str


@dataclass(frozen=True)
class List(Message):
    """`done` gives models: a list of {name, system, licence, licence_url, use, size_mb, path, problem}, and default."""

    type = "list"


@dataclass(frozen=True)
class Load(Message):
    """Read a model into memory, so that the next Create is fast."""

    type = "load"
    model: str


@dataclass(frozen=True)
class Create(Message):
    """Make a portrait from a seed, and keep it in the worker under the client's name `portrait`.

    `done` gives model, model_hash, system, licence, licence_url, use, seed, truncation, camera (25 numbers, head
    space: where the creation picture is taken from), joint_names, action_names; and arrays shape f4[K],
    portrait u1[n] (the bytes of a .portrait file), rig/vertices f4[V,3], rig/faces i4[F,3], rig/uv f4[U,2],
    rig/uv_faces i4[F,3], rig/weights f4[V,J], rig/joints f4[J,3], rig/parents i4[J], rig/actions f4[A,V,3].
    """

    type = "create"
    model: str
    seed: int
    truncation: float
    portrait: str


@dataclass(frozen=True)
class Open(Message):
    """Take the portrait of a .portrait file (array `file`, u1[n]) into the worker. `done` is that of Create."""

    type = "open"
    portrait: str
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Render(Message):
    """Draw a portrait. Answers one `image`, then `done` with size and seconds.

    `camera` is a camera label in head space. `size` is the side of the picture in pixels. `quality` is "draft"
    (half the neural resolution) or "full".
    """

    type = "render"
    portrait: str
    camera: tuple[float, ...]
    size: int
    quality: str = "full"


@dataclass(frozen=True)
class Mesh(Message):
    """Extract the surface. `detail` is the number of grid cells along a side of the box.

    `done` gives arrays vertices f4[n,3] (head space, metres), faces i4[m,3], colours f4[n,3] (sRGB, 0..1),
    bind_index i4[n,k] (vertices of the rig's mesh), bind_weight f4[n,k] (non-negative, rows sum to 1).
    """

    type = "mesh"
    portrait: str
    detail: int


@dataclass(frozen=True)
class Export(Message):
    """Write a file on the worker's side. `kind` is glb, obj, ply or portrait. `done` gives path and bytes."""

    type = "export"
    portrait: str
    path: str
    kind: str
    detail: int = 128


@dataclass(frozen=True)
class Free(Message):
    """Drop all models and portraits from memory. `done` gives memory_mb."""

    type = "free"


@dataclass(frozen=True)
class Cancel(Message):
    """Stop request `target`, which then answers `error` of kind "cancelled". Answered at once by `done`."""

    type = "cancel"
    target: int


# Answers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress(Message):
    """Work goes on: `done` of `total` steps of the named stage."""

    type = "progress"
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Image(Message):
    """A picture: array `image` u1[h,w,4], sRGB with straight alpha, first row on top."""

    type = "image"
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Array(Message):
    """Arrays that are ready before the request is done."""

    type = "array"
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Done(Message):
    """The request succeeded. `fields` are named in the request's docstring."""

    type = "done"
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Error(Message):
    """The request failed. `kind` is that of `errors.PortraitError`; `trace` is for the log, not for the user."""

    type = "error"
    kind: str
    message: str
    hint: str = ""
    trace: str = ""


REQUESTS = (Hello, List, Load, Create, Open, Render, Mesh, Export, Free, Cancel)
ANSWERS = (Progress, Image, Array, Done, Error)
MESSAGES: dict[str, type[Message]] = {message.type: message for message in (*REQUESTS, *ANSWERS)}


# Writing ------------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        ProtocolError: if a field has the wrong type, a number is not finite, an array's bytes do not match its shape,
            or a limit is passed; so what we send can always be read.
    """
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    arrays: Arrays = fields.pop("arrays", {})
    listed = [{"name": name, "dtype": a.dtype, "shape": list(a.shape)} for name, a in arrays.items()]
    _check_arrays(listed)
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
    prefix = _read_exactly(source, 4, may_end=True)
    if prefix is None:
        return None
    (length,) = struct.unpack("<I", prefix)
    if not 0 < length <= MAX_HEADER_BYTES:
        raise ProtocolError(
            f"A header of {length} bytes is announced (at most {MAX_HEADER_BYTES}): this is not our protocol.",
            "Something else writes to the worker's output; see the log.",
        )
    header = _parse_header(_read_exactly(source, length))
    arrays: dict[str, RawArray] = {}
    for entry in _check_arrays(header.pop("arrays", [])):
        array = RawArray(entry["dtype"], tuple(entry["shape"]), b"")
        arrays[entry["name"]] = dataclasses.replace(array, data=_read_exactly(source, array.nbytes))
    return _message(header, arrays)


def _read_exactly(source: ByteSource, count: int, may_end: bool = False) -> bytes | None:
    """Read `count` bytes piece by piece, so that a false length costs no memory. None: ended before the first."""
    parts = bytearray()
    while len(parts) < count:
        part = source.read(min(count - len(parts), _READ_CHUNK))
        if not part:
            if may_end and not parts:
                return None
            raise ProtocolError(f"The stream ended inside a message ({len(parts)} of {count} bytes).")
        parts += part
    return bytes(parts)


def _parse_header(data: bytes | None) -> dict[str, Any]:
    """Return the JSON object of a header."""
    try:
        header = json.loads((data or b"").decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"A message header is not JSON: {error}.") from error
    if not isinstance(header, dict):
        raise ProtocolError("A message header is not a JSON object.")
    return header


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_arrays(listed: Any) -> list[dict[str, Any]]:
    """Return the list of arrays of a header, if every entry is legal and the sizes are within the limits."""
    if not isinstance(listed, list) or len(listed) > MAX_ARRAYS:
        raise ProtocolError(f'"arrays" is not a list of at most {MAX_ARRAYS} entries.')
    total, names = 0, set()
    for entry in listed:
        if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
            raise ProtocolError("An array entry does not have exactly name, dtype and shape.")
        name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
        if not isinstance(name, str) or name in names:
            raise ProtocolError(f"The array name {name!r} is no text or occurs twice.")
        if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
            raise ProtocolError(f'Array "{name}" has item type {dtype!r}; known are {", ".join(ITEM_BYTES)}.')
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(_is_size(n) for n in shape):
            raise ProtocolError(f'Array "{name}" has no legal shape.')
        names.add(name)
        total += ITEM_BYTES[dtype] * math.prod(shape)
    if total > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"A message announces {total} bytes of arrays, more than {MAX_PAYLOAD_BYTES}.")
    return listed


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


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PAYLOAD_BYTES


def _read_int(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
        raise ProtocolError(f"{name} is no 64-bit integer.")
    return value


def _read_float(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProtocolError(f"{name} is no number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ProtocolError(f"{name} is not finite.")
    return number


def _read_str(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is no text.")
    return value


def _read_camera(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != CAMERA_NUMBERS:
        raise ProtocolError(f"{name} is not a list of {CAMERA_NUMBERS} numbers.")
    return tuple(_read_float(name, item) for item in value)


def _read_dict(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{name} is no object.")
    return value


# Keyed by the annotation as written above: `from __future__ import annotations` keeps annotations as text.
_READERS: dict[str, Callable[[str, Any], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "str": _read_str,
    "tuple[float, ...]": _read_camera,
    "dict[str, Any]": _read_dict,
}
