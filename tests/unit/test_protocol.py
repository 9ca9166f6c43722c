# SPDX-License-Identifier: Apache-2.0
"""Frames of the worker's protocol, one by one."""

import io
import json
import struct
import subprocess
import sys

import pytest

from neural_core import protocol
from neural_core.errors import ProtocolError

CAMERA = tuple(float(n) for n in range(25))


def frame(header: object, payload: bytes = b"") -> io.BytesIO:
    """A frame written by hand, not by `encode`."""
    text = json.dumps(header).encode()
    return io.BytesIO(struct.pack("<I", len(text)) + text + payload)


def test_a_frame_written_by_hand_is_read():
    header = {
        "v": 2, "type": "done", "id": 7, "fields": {"seed": 3},
        "arrays": [{"name": "a", "dtype": "i4", "shape": [2, 1]}, {"name": "b", "dtype": "u1", "shape": [3]}],
    }  # fmt: skip
    message = protocol.read(frame(header, struct.pack("<ii", 5, -6) + b"xyz"))
    expected = {
        "a": protocol.RawArray("i4", (2, 1), struct.pack("<ii", 5, -6)),
        "b": protocol.RawArray("u1", (3,), b"xyz"),
    }
    assert message == protocol.Done(7, {"seed": 3}, expected)


def test_an_encoded_message_has_the_documented_bytes():
    data = protocol.encode(protocol.Open(2, "p", {"file": protocol.RawArray("u1", (2,), b"\x01\xff")}))
    (length,) = struct.unpack("<I", data[:4])
    assert json.loads(data[4 : 4 + length]) == {
        "v": 2, "type": "open", "id": 2, "portrait": "p", "arrays": [{"name": "file", "dtype": "u1", "shape": [2]}],
    }  # fmt: skip
    assert data[4 + length :] == b"\x01\xff"


def test_messages_follow_one_another_until_the_end():
    stream = io.BytesIO(protocol.encode(protocol.List(1)) + protocol.encode(protocol.Cancel(2, 1)))
    assert protocol.read(stream) == protocol.List(1)
    assert protocol.read(stream) == protocol.Cancel(2, 1)
    assert protocol.read(stream) is None


def test_defaults_may_be_left_out_of_a_frame():
    header = {"v": 2, "type": "render", "id": 1, "portrait": "p", "camera": CAMERA, "size": 64}
    assert protocol.read(frame(header)) == protocol.Render(1, "p", CAMERA, 64, "full")


RENDER = {"v": 2, "type": "render", "id": 1, "portrait": "p", "camera": list(CAMERA), "size": 64, "arrays": []}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": 1}, "version 1"),
        ({"v": True}, "version True"),
        ({"type": "reboot"}, "no message of type"),
        ({"id": "1"}, "integer"),
        ({"id": True}, "integer"),
        ({"id": 1 << 64}, "integer"),
        ({"size": 1.5}, "integer"),
        ({"camera": [0.0] * 24}, "25 numbers"),
        ({"camera": ["0"] * 25}, "no number"),
        ({"camera": 5}, "no list"),
        ({"portrait": None}, "no text"),
        ({"colour": "red"}, 'no field "colour"'),
        ({"arrays": [{"name": "x", "dtype": "u1", "shape": [0]}]}, "no arrays"),
        ({"arrays": {}}, "no list"),
    ],
)
def test_a_wrong_header_is_refused_by_name(change, says):
    with pytest.raises(ProtocolError, match=says):
        protocol.read(frame({**RENDER, **change}))


@pytest.mark.parametrize("missing", ["id", "portrait", "camera", "size", "v", "type"])
def test_a_missing_field_is_refused(missing):
    with pytest.raises(ProtocolError):
        protocol.read(frame({key: value for key, value in RENDER.items() if key != missing}))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"name": "x", "dtype": "O8", "shape": [1]}, "item type"),
        ({"name": "x", "dtype": "f4", "shape": [-1]}, "shape"),
        ({"name": "x", "dtype": "f4", "shape": [1] * 9}, "shape"),
        ({"name": "x", "dtype": "f4", "shape": [1 << 20, 1 << 20]}, "more than"),
        ({"name": "x", "dtype": "f4"}, "exactly"),
        ({"name": 3, "dtype": "f4", "shape": [1]}, "no text"),
    ],
)
def test_a_wrong_array_entry_is_refused_before_its_bytes_are_read(entry, says):
    with pytest.raises(ProtocolError, match=says):
        protocol.read(frame({"v": 2, "type": "done", "id": 1, "arrays": [entry]}))


def test_two_arrays_of_one_name_are_refused():
    entry = {"name": "x", "dtype": "u1", "shape": [1]}
    with pytest.raises(ProtocolError, match="twice"):
        protocol.read(frame({"v": 2, "type": "done", "id": 1, "arrays": [entry, entry]}, b"ab"))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    text = f'{{"v": 2, "type": "done", "id": 1, "fields": {{"x": {number}}}}}'.encode()
    with pytest.raises(ProtocolError, match="finite"):
        protocol.read(io.BytesIO(struct.pack("<I", len(text)) + text))


@pytest.mark.parametrize("text", ["[1]", '"v"', "{", "[" * 100_000, "\xff"])
def test_a_header_that_is_no_strict_json_object_is_refused(text):
    data = text.encode("latin1")
    with pytest.raises(ProtocolError):
        protocol.read(io.BytesIO(struct.pack("<I", len(data)) + data))


@pytest.mark.parametrize("length", [0, protocol.MAX_HEADER_BYTES + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_without_waiting_for_its_bytes(length):
    with pytest.raises(ProtocolError, match="not our protocol"):
        protocol.read(io.BytesIO(struct.pack("<I", length)))


def test_a_stream_that_ends_inside_a_message_is_refused():
    data = protocol.encode(protocol.Done(1, {}, {"x": protocol.RawArray("f4", (4,), bytes(16))}))
    for end in range(1, len(data)):
        with pytest.raises(ProtocolError, match="ended inside"):
            protocol.read(io.BytesIO(data[:end]))


def test_what_could_not_be_read_is_not_written():
    with pytest.raises(ProtocolError, match="asks for"):
        protocol.encode(protocol.Image(1, {"image": protocol.RawArray("u1", (2, 2), b"abc")}))
    with pytest.raises(ProtocolError, match="cannot be written"):
        protocol.encode(protocol.Done(1, {"x": float("nan")}))
    with pytest.raises(ProtocolError, match="cannot be written"):
        protocol.encode(protocol.Done(1, {"x": object()}))
    with pytest.raises(ProtocolError, match="header"):
        protocol.encode(protocol.Done(1, {"x": "y" * protocol.MAX_HEADER_BYTES}))


def test_protocol_and_errors_need_the_standard_library_only(repository):
    code = (
        "import sys\n"
        "for name in ('numpy', 'torch', 'pydantic', 'rich', 'tyro', 'jaxtyping'): sys.modules[name] = None\n"
        "import neural_core.protocol, neural_core.errors, neural_core.files, neural_core.worker\n"
        "print(sorted(n for n in sys.modules if n.startswith('neural_core')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "neural_core.worker.serving" in done.stdout
