# SPDX-License-Identifier: Apache-2.0
"""One network's optimiser, and how the micro-batches of a phase become one optimiser step on all processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .distributed import World
from .recipe import Optimiser, Phase
from .schedules import lazy_share, warmup_cosine


class Learner:
    """The optimiser of one network: Adam with the rates that the recipe asks for."""

    def __init__(self, optimiser: Optimiser, phases: Sequence[Phase], scaled: bool, device: torch.device) -> None:
        """Build it.

        Args:
            optimiser: what the recipe asks for.
            phases: those that train this network.
            scaled: whether losses are multiplied by a factor that adapts itself (float16).
            device: where the network is.
        """
        self.parameters = [parameter for group in optimiser.groups for parameter in group.parameters]
        self._schedule = optimiser.schedule
        main = next((phase for phase in phases if phase.every == 1), None)
        self._lazy = [phase.every for phase in phases if phase is not main] if main else []
        share = lazy_share(self._lazy)
        self._rates = [group.lr * share for group in optimiser.groups]
        betas = (optimiser.betas[0] ** share, optimiser.betas[1] ** share)
        groups = [{"params": group.parameters, "lr": group.lr * share} for group in optimiser.groups]
        self.adam = torch.optim.Adam(groups, betas=betas, eps=optimiser.eps)
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)

    def gain(self, phase: Phase) -> int:
        """Return what a phase's loss is multiplied by: lazy regularisers make up for the steps that they miss."""
        return phase.every if self._lazy else 1

    def set_rates(self, progress: float, warmup: float, first: bool) -> float:
        """Set the learning rates for a share of the schedule, 0..1, and return that of the first group."""
        factor = 1.0
        if self._schedule == "warmup_cosine":
            factor = 1e-3 if first else warmup_cosine(progress, warmup)
        for group, rate in zip(self.adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        return self.adam.param_groups[0]["lr"]

    def begin(self) -> None:
        """Forget the last phase's gradients; from now on this network's parameters collect them."""
        self.adam.zero_grad(set_to_none=True)
        self.listen(True)

    def listen(self, on: bool) -> None:
        """Say whether parameters want gradients."""
        for parameter in self.parameters:
            parameter.requires_grad_(on)

    def step(self) -> None:
        """Move the parameters along the gradients."""
        self.scaler.step(self.adam)
        self.scaler.update()

    def skip(self) -> bool:
        """Leave the parameters alone after a gradient that is not finite; say whether that counts as a fault.

        With float16 it does not as long as the factor of the loss can still be lowered.
        """
        factor = self.scaler.get_scale()
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.adam)
            self.scaler.update()
        return factor <= 1

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"adam": self.adam.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.adam.load_state_dict(state["adam"])
        self.scaler.load_state_dict(state["scaler"])


class Accumulation:
    """Gradients, changes of buffers and figures of a phase, summed over micro-batches and then over processes.

    Buffers that a forward pass changes (a running mean of w, say; they are part of the saved weights, unlike constants,
    which may be large) are treated as gradients are: every micro-batch
    starts from the same values, and the mean of the changes is what remains. So they depend neither on how a batch is
    cut nor on who computes it.
    """

    def __init__(self, networks: Iterable[nn.Module], micro_batches: int) -> None:
        """Begin a phase; a batch has `micro_batches` of them over all processes."""
        self._networks, self._count = [(network, network.state_dict().keys()) for network in networks], micro_batches
        self._before = [buffer.detach().clone() for buffer in self._buffers()]
        self._changes = [torch.zeros_like(buffer) for buffer in self._before]
        self._figures: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, terms: Mapping[str, Tensor], figures: Mapping[str, float]) -> None:
        """Note a micro-batch after its backward pass, and give buffers back the values that they had before it."""
        for buffer, before, change in zip(self._buffers(), self._before, self._changes, strict=True):
            change += buffer - before
            buffer.copy_(before)
        device = next(iter(terms.values())).device
        numbers = {name: torch.tensor(value, device=device) for name, value in figures.items()}
        for name, value in ({name: term.detach().float() for name, term in terms.items()} | numbers).items():
            self._figures[name] = self._figures.get(name, torch.zeros_like(value)) + value / self._count

    @torch.no_grad()
    def finish(self, world: World, parameters: Iterable[nn.Parameter]) -> tuple[bool, dict[str, float]]:
        """Sum over processes; return whether gradients and buffers are finite on all of them, and the mean figures.

        If they are, buffers have their new values.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        names = list(self._figures)
        values = torch.stack([self._figures[name] for name in names])
        vector = world.add([*gradients, *self._changes, values])
        finite = bool(torch.isfinite(vector[: -len(names)]).all())
        if finite:
            for buffer, change in zip(self._buffers(), self._changes, strict=True):
                buffer += change / self._count
        return finite, dict(zip(names, values.tolist(), strict=True))

    def _buffers(self) -> list[Tensor]:
        return [
            buffer
            for network, saved in self._networks
            for name, buffer in network.named_buffers()
            if name in saved and buffer.is_floating_point()
        ]
