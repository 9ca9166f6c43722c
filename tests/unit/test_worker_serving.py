# SPDX-License-Identifier: Apache-2.0
"""What the worker answers when a request does not fit into memory."""

import io

import pytest

from neural_core import protocol
from neural_core.worker.serving import Server


class Full:
    """An engine for which nothing fits into memory."""

    def __init__(self, error):
        self.error = error

    def answer(self, request, report):
        raise self.error
        yield


def answered(request, error, monkeypatch):
    sink = io.BytesIO()
    server = Server(sink, "cpu", lambda code: None)
    monkeypatch.setattr(server, "_start_engine", lambda report: Full(error))
    server.listen(io.BytesIO(protocol.encode(request))).join(10)
    server.work()
    return protocol.read(io.BytesIO(sink.getvalue()))


CAMERA = (0.0,) * 25


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
@pytest.mark.parametrize(
    ("request_", "advice"),
    [
        (protocol.Render(1, "p", CAMERA, 1024), "Try a picture of 512 pixels."),
        (protocol.Mesh(1, "p", 256), "Try a mesh detail of 128."),
        (protocol.Export(1, "p", "x.glb", "glb", 200), "Try a mesh detail of 100."),
        (protocol.Create(1, "m", 1, 0.7, "p"), "Choose a smaller picture or less mesh detail."),
    ],
)
def test_the_size_to_try_is_named(request_, advice, error, monkeypatch):
    answer = answered(request_, error, monkeypatch)
    assert (answer.kind, answer.hint) == ("memory", advice)
    assert answer.message == "There is not enough memory for this."


def test_other_failures_keep_their_hints(monkeypatch):
    answer = answered(protocol.Mesh(1, "p", 256), ValueError("odd"), monkeypatch)
    assert answer.kind == "internal"
    assert "detail" not in answer.hint
