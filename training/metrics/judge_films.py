# SPDX-License-Identifier: Apache-2.0
"""The judge of films with sound: whether lips move with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neural_core import others

from .faces import check_available
from .film import film_sync
from .protocol import Figure, Measured, Setting, joined
from .sync import syncnet


class Sync:
    """SyncNet's confidence and distance."""

    def __init__(self, setting: Setting) -> None:
        check_available()
        self.network = syncnet(others.find("syncnet", "The metric 'sync'"), setting.subject.system.device)

    def measure(self, item: Path) -> Measured:
        """Listen to a film."""
        found = film_sync(self.network, item)
        return Measured({"confidence": np.array([found.confidence]), "distance": np.array([found.distance])})

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average both."""
        confidence, distance = joined(measured, "confidence"), joined(measured, "distance")
        return [
            Figure("sync", float(confidence.mean()), "", "higher", len(confidence), "films", "confidence (LSE-C)"),
            Figure("sync_distance", float(distance.mean()), "", "lower", len(distance), "films", "LSE-D"),
        ]
