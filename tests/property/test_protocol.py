# SPDX-License-Identifier: Apache-2.0
"""Any bytes are messages or a ProtocolError; any message survives the way."""

import io
import json
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neural_core import protocol
from neural_core.errors import ProtocolError
from tests.wire import json_values, messages

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(st.lists(messages(), max_size=3))
def test_messages_survive_the_way(sent):
    stream = io.BytesIO(b"".join(protocol.encode(message) for message in sent))
    received = []
    while (message := protocol.read(stream)) is not None:
        received.append(message)
    assert received == sent


def read_all(data: bytes) -> int:
    """Read until the end; the number of messages, or -1 for a ProtocolError. Any other exception is a failure."""
    stream, count = io.BytesIO(data), 0
    try:
        while protocol.read(stream) is not None:
            count += 1
    except ProtocolError:
        return -1
    return count


@patient
@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_protocol_error(data):
    read_all(data)


@patient
@given(st.dictionaries(st.sampled_from(["v", "type", "id", "arrays", "fields", "size", "camera"]), json_values))
def test_any_json_header_is_a_message_or_a_protocol_error(header):
    text = json.dumps({"v": 2, "type": "done", "id": 1, **header}).encode()
    read_all(struct.pack("<I", len(text)) + text)


@patient
@given(messages(), st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(message, data):
    frame = bytearray(protocol.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    read_all(bytes(frame))
