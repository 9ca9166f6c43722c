# SPDX-License-Identifier: Apache-2.0
"""The training loop. A recipe describes; the trainer owns time: optimiser steps, averages, states, logs, signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from neural_core.errors import PortraitError

from .config import RunConfig
from .ema import EMA
from .run_log import RunLog
from .schedules import warmup_cosine


@dataclass(frozen=True)
class Step:
    """Where the run is."""

    index: int
    """Optimiser steps done."""
    progress: float
    """Share of the schedule done, 0..1."""
    generator: torch.Generator
    """The step's random numbers: they depend on the run's seed and `index` alone, so a resumed run draws the same."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    name: str
    parameters: list[nn.Parameter]
    lr: float


class Recipe(Protocol):
    """What a system brings to the trainer: its network, its loss, its pictures."""

    module: nn.Module

    def groups(self) -> list[ParameterGroup]:
        """Return the optimiser's parameter groups."""
        ...

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the step's loss terms, each a scalar and already weighted; the trainer adds them up."""
        ...

    def samples(self, module: nn.Module) -> Iterable[tuple[str, Tensor]]:
        """Yield (file name, picture [3, h, w] in 0..1) made with the averaged weights."""
        ...

    def export(self, module: nn.Module, trained: dict[str, Any], path: Path) -> None:
        """Write what a user gets from the averaged weights."""
        ...


class Trainer:
    """Runs a recipe until its schedule ends, a signal comes, or gradients break too often."""

    def __init__(self, recipe: Recipe, config: RunConfig, log: RunLog) -> None:
        """Build the optimiser and, where the run folder holds a state, go on from it."""
        self.recipe, self.config, self.log = recipe, config, log
        groups = recipe.groups()
        self.base_lrs = [group.lr for group in groups]
        named = [{"params": group.parameters, "lr": group.lr} for group in groups]
        self.optimiser = torch.optim.Adam(named, betas=(0.9, 0.99), eps=1e-8)
        self.ema = EMA(recipe.module, config.ema)
        self.step, self.seconds, self.bad_steps = 0, 0.0, 0
        state = log.load_state()
        if state is not None:
            self._restore(state)

    def run(self) -> None:
        """Train to the end of the schedule and export.

        Raises:
            PortraitError: too many steps had non-finite gradients (the state before the abort is saved).
        """
        stop = _StopSignal()
        begin, logged = time.monotonic() - self.seconds, {}
        while self.progress < 1 and not stop.asked:
            terms = self._train_step()
            self.seconds = time.monotonic() - begin
            if self.step % self.config.log_every == 0 and terms:
                logged = {name: float(value.detach()) for name, value in terms.items()}
                self.log.stats(
                    step=self.step,
                    minutes=self.seconds / 60,
                    progress=self.progress,
                    lr=self.optimiser.param_groups[0]["lr"],
                    bad_steps=self.bad_steps,
                    **logged,
                )
                self._say(logged)
            if self.step % self.config.save_every == 0:
                self._save()
            if self.step % self.config.sample_every == 0:
                self._publish()
        self._save()
        self._publish()

    @property
    def progress(self) -> float:
        """Share of the schedule done, 0..1, by the clock or by steps as the configuration says."""
        if self.config.minutes > 0:
            return min(self.seconds / (60 * self.config.minutes), 1.0)
        return min(self.step / max(self.config.steps, 1), 1.0)

    def _train_step(self) -> dict[str, Tensor]:
        factor = warmup_cosine(self.progress, self.config.warmup) if self.step else 1e-3
        for group, lr in zip(self.optimiser.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * factor
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        terms = self.recipe.losses(Step(self.step, self.progress, generator))
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        self.step += 1
        if not self._gradients_finite():
            self.bad_steps += 1
            if self.bad_steps > self.config.max_bad_steps:
                self._save()
                raise PortraitError(
                    f"{self.bad_steps} steps had gradients that were not finite; stopped at {self.step}.",
                    "Lower the learning rates; the run folder can be resumed.",
                )
            return {}
        self.optimiser.step()
        self.ema.update(self.recipe.module, self.step)
        return terms

    def _gradients_finite(self) -> bool:
        gradients = [p.grad for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        return bool(torch.isfinite(torch.stack([g.abs().max() for g in gradients])).all())

    def _publish(self) -> None:
        from .pictures import save_picture  # imageio is not needed to train

        for name, picture in self.recipe.samples(self.ema.module):
            save_picture(self.log.folder / "samples" / f"{self.step:07d}_{name}.png", picture, "training.train")
        trained = {"steps": self.step, "minutes": round(self.seconds / 60, 1), "bad_steps": self.bad_steps}
        self.recipe.export(self.ema.module, trained, self.log.folder / "model.safetensors")

    def _save(self) -> None:
        self.log.save_state({
            "module": self.recipe.module.state_dict(), "ema": self.ema.module.state_dict(),
            "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds,
            "bad_steps": self.bad_steps,
        })  # fmt: skip

    def _restore(self, state: dict[str, Any]) -> None:
        self.recipe.module.load_state_dict(state["module"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.bad_steps = state["step"], state["seconds"], state["bad_steps"]

    def _say(self, terms: dict[str, float]) -> None:
        left = (1 - self.progress) / max(self.progress, 1e-6) * self.seconds
        losses = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
        print(
            f"step {self.step}  {self.seconds / 60:.1f} min  {self.progress:.1%}  left {left / 60:.0f} min  {losses}",
            flush=True,
        )


class _StopSignal:
    """Notices SIGINT and SIGTERM, so that the loop can end with a saved state; a second signal ends at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)
