# SPDX-License-Identifier: Apache-2.0
"""What a system tells the trainer: networks, phases, data, losses. A recipe describes; the trainer owns time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.data import Dataset

from .draws import Draws


@dataclass(frozen=True)
class Step:
    """Where the run is, and the random numbers of the micro-batch at hand."""

    index: int
    """Optimiser steps done before this one."""
    images: int
    """Training pictures seen before this step: `index * batch`."""
    progress: float
    """Share of the schedule done, 0..1."""
    draws: Draws
    """Random numbers of this micro-batch in this phase."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    name: str
    parameters: list[nn.Parameter]
    lr: float


@dataclass(frozen=True)
class Optimiser:
    """One Adam for one network."""

    groups: list[ParameterGroup]
    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8
    schedule: str = "constant"
    """"constant", or "warmup_cosine": the rate rises over `RunConfig.warmup` and then falls along a cosine."""


@dataclass(frozen=True)
class Phase:
    """One kind of optimiser step.

    Of several phases of a network the first with `every` 1 is the main one, the others are its lazy regularisers
    (StyleGAN2, appendix B): they run at the steps that `every` divides, their loss is multiplied by it, and the
    optimiser's rate and betas are corrected for the additional steps.
    """

    name: str
    network: str
    """Which of `Recipe.networks()` it trains; no other gets gradients meanwhile."""
    every: int = 1


@dataclass(frozen=True)
class Sample:
    """A picture or a film for the run folder."""

    name: str
    frames: Tensor
    """[n, 3, h, w] in 0..1; one frame is a picture, several are a turntable."""


class Recipe(Protocol):
    """A system's training. Nothing of a system's name is known to the trainer."""

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks by name ("G", "D", ...); all of them are saved in the run's state."""
        ...

    def averaged(self) -> tuple[str, ...]:
        """Return the names of the networks whose weights are averaged over time (EMA)."""
        ...

    def optimisers(self) -> dict[str, Optimiser]:
        """Return an optimiser for each network that a phase trains."""
        ...

    def phases(self) -> Sequence[Phase]:
        """Return what happens in a step, in order."""
        ...

    def data(self) -> Dataset[Any]:
        """Return the data set. Item i is drawn for a sample; items are collated by torch's default into a batch."""
        ...

    def together(self) -> int:
        """Return of which number a micro-batch has to be a multiple: samples that are compared with each other."""
        ...

    def losses(self, phase: str, batch: Any, step: Step) -> dict[str, Tensor]:
        """Return a micro-batch's loss terms in a phase: scalars, means over its samples, already weighted.

        Called once a micro-batch; the trainer adds the terms up and averages over micro-batches.
        """
        ...

    def after_step(self, step: Step, logged: Mapping[str, float]) -> dict[str, float]:
        """Do what follows an optimiser step (adaptation of augmentation); return figures for the log.

        `logged` holds the step's loss terms and what `figures` returned, averaged over micro-batches and processes.
        """
        ...

    def figures(self) -> dict[str, float]:
        """Return numbers that `losses` noted beside the losses since the last call (signs of logits, say)."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs beyond networks and optimisers: plain numbers and tensors."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        ...

    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterable[Sample]:
        """Yield pictures and turntables made with the averaged weights."""
        ...

    def export(self, averaged: Mapping[str, nn.Module], trained: dict[str, Any], path: Path) -> None:
        """Write what a user gets from the averaged weights."""
        ...
