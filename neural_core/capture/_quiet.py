# SPDX-License-Identifier: Apache-2.0
"""Keeping MediaPipe's chatter away from the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_ONE_AT_A_TIME = Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Send what native code writes to stderr nowhere while the block runs; Python's errors come through as ever.

    MediaPipe's C++ greets on file descriptor 2 before its own log level can be set. Where that is closed, nobody hears.
    """
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
