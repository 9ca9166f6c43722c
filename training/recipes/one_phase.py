# SPDX-License-Identifier: Apache-2.0
"""What recipes answer that have one network and one phase, and nothing that adapts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from torch import nn

from ..recipe import Phase, Step

Network = TypeVar("Network", bound=nn.Module)


class OnePhase(Generic[Network]):
    """A recipe's answers where one phase compares a network with what is known; the network is called "G"."""

    def __init__(self, module: Network) -> None:
        """Take the network, on its device."""
        self.module = module

    def networks(self) -> dict[str, nn.Module]:
        """Return the network."""
        return {"G": self.module}

    def averaged(self) -> tuple[str, ...]:
        """Return that it is averaged."""
        return ("G",)

    def phases(self) -> list[Phase]:
        """Return the one phase."""
        return [Phase("compare", "G")]

    def together(self) -> int:
        """Return 1: samples are not compared with each other."""
        return 1

    def after_step(self, step: Step, logged: Mapping[str, float]) -> dict[str, float]:
        """Do nothing: nothing adapts."""
        return {}

    def figures(self) -> dict[str, float]:
        """Return nothing: the losses say it all."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return nothing: the network is all there is."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take nothing back."""
