# SPDX-License-Identifier: Apache-2.0
"""Messages of every kind with anything in them, for properties of what speaks the protocol."""

import dataclasses
import math

from hypothesis import strategies as st

from neural_core import protocol

finite = st.floats(allow_nan=False, allow_infinity=False)
int64 = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
json_values = st.recursive(
    st.none() | st.booleans() | int64 | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@st.composite
def raw_arrays(draw):
    dtype = draw(st.sampled_from(sorted(protocol.ITEM_BYTES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    size = protocol.ITEM_BYTES[dtype] * math.prod(shape)
    return protocol.RawArray(dtype, shape, draw(st.binary(min_size=size, max_size=size)))


FIELD_VALUES = {
    "int": int64,
    "float": finite,
    "str": st.text(),
    "tuple[float, ...]": st.lists(finite, min_size=25, max_size=25).map(tuple),
    "dict[str, Any]": st.dictionaries(st.text(), json_values, max_size=3),
    "Arrays": st.dictionaries(st.text(), raw_arrays(), max_size=3),
}


@st.composite
def messages(draw):
    kind = draw(st.sampled_from(protocol.REQUESTS + protocol.ANSWERS))
    return kind(**{f.name: draw(FIELD_VALUES[str(f.type)]) for f in dataclasses.fields(kind)})


@st.composite
def damaged(draw, frames):
    """Frames of which a few bytes are wrong, missing or too many."""
    frame = bytearray(draw(frames))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(frame) - 1, 0)))
        what = draw(st.sampled_from(("change", "cut", "insert")))
        if what == "insert" or not frame:
            frame[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif what == "cut":
            del frame[place : place + draw(st.integers(1, 8))]
        else:
            frame[place] = draw(st.integers(0, 255))
    return bytes(frame)
