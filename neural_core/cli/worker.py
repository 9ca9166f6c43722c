# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait worker`."""

from __future__ import annotations

from dataclasses import dataclass, field

import tyro

from .console import Console
from .options import Common


@dataclass(frozen=True)
class Worker:
    """Be the process that Blender talks to: framed messages on stdin and stdout, the log on stderr."""

    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, console: Console) -> None:
        """Serve until stdin is closed."""
        from ..worker import main

        main(["--device", self.common.device])
