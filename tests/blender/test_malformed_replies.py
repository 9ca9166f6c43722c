# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand nonsensical answers to the add-on's engine: none raises, none hangs it, and none gets into the scene."""

import dataclasses
import importlib
import io
import sys
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire import damaged, json_values, messages, raw_arrays

PATIENCE_S = 30.0
CAMERA = [1.0, 0, 0, 0, 0, -1.0, 0, 0, 0, 0, -1.0, 1.35, 0, 0, 0, 1.0, 4.2, 0, 0.5, 0, 4.2, 0.5, 0, 0, 1.0]


@pytest.fixture(scope="module")
def addon(stub_stage):
    """Modules of the staged package by name."""
    sys.path.insert(0, str(stub_stage))
    yield lambda name: importlib.import_module(f"neural_portrait.{name}")
    sys.path.remove(str(stub_stage))


AGE = {"name": "age", "group": "Face", "label": "Age", "low": "young", "high": "old", "value": 0.5}


class Process:
    """Stands in for a worker's process: it has said all that it will ever say, and ends when that is read."""

    pid = 1

    def __init__(self, said: bytes):
        self.stdin, self.stdout, self.stderr = io.BytesIO(), io.BytesIO(said), io.BytesIO(b"a line of the log\n")

    def poll(self):
        return None

    def wait(self, timeout=None):
        return 0

    def kill(self):
        pass


def good_fields():
    return {
        **{"model": "m", "model_hash": "h", "system": "s", "licence": "CC0-1.0", "use": "any", "seed": 7},
        **{"truncation": 0.7, "camera": CAMERA, "joint_names": ["root", "jaw"], "action_names": ["jawOpen"]},
        **{"animatable": True, "notes": [], "sliders": [AGE]},
    }


def good_arrays():
    """The arrays of a portrait with four vertices, two joints and one action."""
    triangles = np.array([[0, 1, 2], [1, 2, 3]], np.int32)
    return {
        "portrait": np.arange(5, dtype=np.uint8),
        "rig/vertices": np.eye(4, 3, dtype=np.float32),
        "rig/faces": triangles,
        "rig/uv": np.eye(4, 2, dtype=np.float32),
        "rig/uv_faces": triangles,
        "rig/weights": np.full((4, 2), 0.5, np.float32),
        "rig/joints": np.zeros((2, 3), np.float32),
        "rig/parents": np.array([-1, 0], np.int32),
        "rig/actions": np.zeros((1, 4, 3), np.float32),
    }


def surface_arrays():
    return {
        "rest": np.eye(4, 3, dtype=np.float32),
        "faces": np.array([[0, 1, 2]], np.int32),
        "colours": np.zeros((4, 3), np.float32),
        "bind_index": np.zeros((4, 2), np.int32),
        "bind_weight": np.full((4, 2), 0.5, np.float32),
    }


def wire(protocol, arrays):
    return {name: protocol.RawArray(a.dtype.str[1:], a.shape, a.tobytes()) for name, a in arrays.items()}


@st.composite
def nearly(draw, protocol, number, fields, arrays):
    """An answer as it should be, but for one or two of its fields and arrays."""
    fields, arrays = dict(fields), dict(wire(protocol, arrays))
    for _ in range(draw(st.integers(0, 2))):
        if fields and draw(st.booleans()):
            fields[draw(st.sampled_from(sorted(fields)))] = draw(json_values)
        elif arrays:
            name = draw(st.sampled_from(sorted(arrays)))
            if draw(st.booleans()):
                other = draw(raw_arrays())
                arrays[name] = protocol.RawArray(other.dtype, other.shape, other.data)
            else:  # other numbers, not finite ones among them
                size = len(arrays[name].data)
                arrays[name] = dataclasses.replace(arrays[name], data=draw(st.binary(min_size=size, max_size=size)))
    return protocol.encode(protocol.Done(number, fields, arrays))


def picture(protocol, number):
    pixels = np.zeros((4, 4, 4), np.uint8)
    return protocol.encode(protocol.Image(number, wire(protocol, {"image": pixels})))


@st.composite
def conversations(draw, protocol, version):
    """What a worker may say to: hello (1), create (2), render (3), mesh (4)."""
    hello = protocol.encode(protocol.Done(1, {"version": version, "device": "cpu"}))
    steps = [
        draw(st.sampled_from([hello, hello, hello, hello, draw(nearly(protocol, 1, {"version": version}, {}))])),
        draw(nearly(protocol, 2, good_fields(), good_arrays())),
        picture(protocol, 3) + draw(nearly(protocol, 3, {"size": 4}, {})),
        draw(nearly(protocol, 4, {}, surface_arrays())),
    ]
    anything = messages().map(lambda message: renumbered(message, draw(st.integers(-1, 5)))).map(protocol.encode)
    noise = st.one_of(anything, damaged(st.sampled_from(steps)), st.binary(max_size=30))
    for _ in range(draw(st.integers(0, 2))):
        steps.insert(draw(st.integers(0, len(steps))), draw(noise))
    return b"".join(steps)


def renumbered(message, number):
    return dataclasses.replace(message, id=number)


def talk(addon, said):
    """Let an engine create a portrait with a worker that says these bytes; returns its status and the results."""
    settings_of_worker = addon("worker_client").WorkerSettings("python")
    engine, results = addon("engine").Engine(lambda: settings_of_worker), []
    with mock.patch.object(addon("worker_client").subprocess, "Popen", return_value=Process(said)):
        engine.start(
            "Create", addon("tasks").create(addon("requests").CreateChoice(size=16, detail=32)), results.append
        )
        end = time.monotonic() + PATIENCE_S
        while engine.step(0.02):
            assert time.monotonic() < end, "it hangs"
    status = engine.status
    engine.stop()
    return status, results


def test_the_conversation_that_is_spoilt_below_is_a_good_one(addon):
    protocol = addon("neural_core.protocol")
    said = [
        protocol.Done(1, {"version": addon("neural_core").__version__, "device": "cpu"}),
        protocol.Done(2, good_fields(), wire(protocol, good_arrays())),
        protocol.Image(3, wire(protocol, {"image": np.zeros((4, 4, 4), np.uint8)})),
        protocol.Done(3, {"size": 4}),
        protocol.Done(4, {}, wire(protocol, surface_arrays())),
    ]
    status, results = talk(addon, b"".join(map(protocol.encode, said)))
    assert len(results) == 1, status
    assert status.state in ("idle", "error")  # the stream ended after it was done


@pytest.mark.slow
@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_no_answer_raises_hangs_or_gets_through(addon, data):
    protocol, answers = addon("neural_core.protocol"), addon("answers")
    said = data.draw(conversations(protocol, addon("neural_core").__version__))
    status, results = talk(addon, said)
    assert 0.0 <= status.fraction <= 1.0
    assert status.preview is None or answers.is_picture(status.preview)
    if results:
        (created,) = results
        answers.check_portrait(created.portrait.fields, created.portrait.arrays)
        assert answers.is_picture(created.picture.pixels)
        assert len(created.surface.vertices) == len(created.surface.colours)
    else:
        assert status.state in ("error", "notice")
        assert status.message
        assert "Traceback" not in status.message
        assert status.kind != "internal", status.report


def spoil(name, change):
    return lambda fields, arrays: (fields, {**arrays, name: change(arrays[name])})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda f, a: ({**f, "camera": [1.0]}, a), "its camera"),
        (lambda f, a: ({**f, "camera": [True] * 25}, a), "its camera"),
        (lambda f, a: ({**f, "action_names": ["jawOpen", "jawOpen"]}, a), "repeat"),
        (lambda f, a: ({**f, "joint_names": "root"}, a), "its joint_names"),
        (lambda f, a: ({**f, "model": None}, a), "its model"),
        (lambda f, a: ({**f, "seed": 1 << 31}, a), "its seed"),
        (lambda f, a: ({**f, "truncation": "much"}, a), "its truncation"),
        (lambda f, a: ({**f, "notes": [1]}, a), "its notes"),
        (lambda f, a: ({**f, "animatable": 3}, a), "its animatable"),
        (lambda f, a: ({**f, "sliders": {"age": 1.0}}, a), "its sliders are no list"),
        (lambda f, a: ({**f, "sliders": ["age"]}, a), "sliders has no name"),
        (lambda f, a: ({**f, "sliders": [{**AGE, "name": ""}]}, a), "sliders has no name"),
        (lambda f, a: ({**f, "sliders": [{**AGE, "low": None}]}, a), "sliders has no name"),
        (lambda f, a: ({**f, "sliders": [{**AGE, "value": "old"}]}, a), 'of its slider "age" is no number'),
        (lambda f, a: ({**f, "sliders": [AGE, AGE]}, a), "sliders repeat one"),
        (lambda f, a: (f, {k: v for k, v in a.items() if k != "rig/uv"}), '"rig/uv" is missing'),
        (spoil("rig/vertices", lambda v: v * np.float32(np.nan)), "not finite"),
        (spoil("rig/faces", lambda v: v + np.int32(2)), "not there"),
        (spoil("rig/faces", lambda v: v - np.int32(1)), "not there"),
        (spoil("rig/uv_faces", lambda v: v[:1]), "differ in number"),
        (spoil("rig/weights", lambda v: v[:, :1]), '"rig/weights"'),
        (spoil("rig/joints", lambda v: v.astype(np.float64)), '"rig/joints"'),
        (spoil("rig/actions", lambda v: v[:, :3]), '"rig/actions"'),
        (spoil("rig/parents", lambda v: v[::-1]), "before its parent"),
    ],
)
def test_what_is_wrong_with_a_portrait_is_said(addon, change, complaint):
    answers = addon("answers")
    answers.check_portrait(good_fields(), good_arrays())
    with pytest.raises(addon("neural_core.errors").ProtocolError) as caught:
        answers.check_portrait(*change(good_fields(), good_arrays()))
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("faces", lambda v: v + np.int32(2), "not there"),
        ("colours", lambda v: v[:3], '"colours"'),
        ("bind_index", lambda v: v - np.int32(1), "bound to nothing"),
        ("bind_weight", lambda v: v[:, :1], '"bind_weight"'),
        ("rest", lambda v: v * np.float32(np.inf), "not finite"),
    ],
)
def test_what_is_wrong_with_a_surface_is_said(addon, name, change, complaint):
    answers = addon("answers")
    answers.check_surface(surface_arrays())
    with pytest.raises(addon("neural_core.errors").ProtocolError) as caught, np.errstate(invalid="ignore"):
        answers.check_surface({**surface_arrays(), name: change(surface_arrays()[name])})
    assert complaint in caught.value.message


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 4), (0, 4, 4), (4, 4, 4, 1)])
def test_what_is_no_picture(addon, shape):
    answers = addon("answers")
    assert not answers.is_picture(np.zeros(shape, np.uint8))
    assert not answers.is_picture(np.zeros((4, 4, 4), np.float32))
    assert answers.is_picture(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(addon("neural_core.errors").ProtocolError):
        answers.check_picture({"image": np.zeros(shape, np.uint8)})
