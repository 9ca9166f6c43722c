# SPDX-License-Identifier: Apache-2.0
"""How a process of a run ends."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process with an exit code.

    Under `torchrun` without the interpreter's farewell: a thread of gloo that still waits for a lost process would then
    be destroyed while it runs, and the C++ library would abort the program instead (SIGABRT, seen once in seven runs).
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
