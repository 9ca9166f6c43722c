# SPDX-License-Identifier: Apache-2.0
"""A portrait between two portraits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import UsageError
from .fitting.tunable import PREFIX, Tunable
from .systems.common import Portrait, System


@dataclass(frozen=True)
class Mix:
    """Who is mixed in, and how much of them."""

    seed: int
    share: float
    """0..1: 0 is the person alone, 1 the other."""

    def __post_init__(self) -> None:
        """Raise UsageError for what is no share."""
        if not 0.0 <= self.share <= 1.0:
            raise UsageError(f"The share {self.share:g} is not between 0 and 1.", "0.5 is half of each.")


def mixed(system: System, first: Portrait, second: Portrait, share: float) -> Portrait:
    """Return the person between two of one model, along a straight line through what the network is told of them.

    A face's coefficients are part of that in our own weights, so that the mean of two heads is half-way between.
    Weights that were tuned to a photo count by as much as their person.

    Args:
        system: of both.
        first: who it is at share 0.
        second: who it is at share 1.
        share: 0..1.

    Raises:
        UsageError: if the system's people have no numbers to go along.
    """
    if not isinstance(system, Tunable):
        raise UsageError(
            f'People of "{system.info.name}" cannot be mixed.', "Choose a model whose people come of seeds."
        )
    here, there = system.latents(first), system.latents(second)
    between = system.portrait_of_latents({name: torch.lerp(value, there[name], share) for name, value in here.items()})
    tuned: dict[str, Tensor] = {}
    for portrait, part in ((first, 1 - share), (second, share)):
        for name, value in portrait.tensors.items():
            if name.startswith(PREFIX) and part:
                tuned[name] = tuned.get(name, 0) + part * value
    return dataclasses.replace(between, tensors={**between.tensors, **tuned})
