# SPDX-License-Identifier: Apache-2.0
"""The training loop. A recipe describes; the trainer owns time: phases, averages, states, logs, signals, processes.

Files to read next: `recipe.py` (what a system says), `updates.py` (from micro-batches to an optimiser step),
`batches.py` (which data), `distributed.py` (other processes), `run_log.py` (the run folder).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from neural_core.errors import InputError, PortraitError

from .batches import MicroBatch, MicroBatches, cut, smaller
from .config import RunConfig
from .distributed import World
from .draws import Draws, seed_torch
from .ema import EMA
from .guards import StopSignal, enough_memory, stop_signal
from .meters import Line, Means
from .recipe import Phase, Recipe, Step
from .run_log import RunLog, read_state
from .schedules import early_decay, half_life_decay
from .updates import Accumulation, Learner

_STATE_VERSION = 1


class Trainer:
    """Runs a recipe until its schedule ends, a signal comes, or gradients break too often."""

    def __init__(
        self, recipe: Recipe, config: RunConfig, log: RunLog | None, device: torch.device, world: World | None = None
    ) -> None:
        """Build the optimisers and, where the run folder holds a state, go on from it.

        Args:
            recipe: what to train.
            config: how.
            log: the run folder, on the first process; None on the others.
            device: of the networks.
            world: the processes of the run; None for this one alone.

        Raises:
            UsageError: the batch cannot be cut evenly.
            InputError: the saved state is damaged or of other networks.
        """
        self.recipe, self.config, self.log, self.device = recipe, config, log, device
        self.world = world or World()
        self.networks, self.phases = recipe.networks(), recipe.phases()
        self.micro_batches = cut(config, self.world)
        self.learners = {
            name: Learner(
                optimiser,
                [phase for phase in self.phases if phase.network == name],
                config.precision == "float16",
                device,
            )
            for name, optimiser in recipe.optimisers().items()
        }
        self.averages = {name: EMA(self.networks[name]) for name in recipe.averaged()}
        self.step, self.seconds, self.bad_steps = 0, 0.0, 0
        self._pending = Means()
        data = self.world.bytes_of_first(self.world.on_first(lambda: log.last_state() if log else None))
        if data is not None:
            self._restore(read_state(data))
        for network in self.networks.values():  # the same on all machines, whatever their libraries draw
            self.world.take_from_first([*network.parameters(), *network.buffers()])

    def run(self) -> None:
        """Train to the end of the schedule and export.

        Raises:
            PortraitError: gradients were not finite too often (a state is saved), memory is short, or another
                process is lost.
        """
        with stop_signal() as stop, enough_memory(*self._memory_advice()), ExitStack() as ends:
            log = self.log
            self.world.on_first(lambda: log.begin(self.step) if log else None)
            data = self.recipe.data()
            batches = MicroBatches(data, self.config, self.world, self.device, self.step)
            ends.callback(batches.close)
            begin, line, bad_before = time.monotonic() - self.seconds, Line(self.device), self.bad_steps
            while not (stopped := self._shared(stop, begin)) and self.progress < 1:
                with line.timed():
                    self._train_step(batches.step())
                if self.step % self.config.log_every == 0:
                    self._write_line(line, data)
                    line = Line(self.device)
                self._check_bad_steps(bad_before)
                if self.step % self.config.save_every == 0:
                    self._save()
                if self.step % self.config.sample_every == 0:
                    self._publish(samples=True)
            self._save()
            self._publish(samples=not stopped)
        if self.log:
            self.log.close()

    @property
    def images(self) -> int:
        """Samples seen."""
        return self.step * self.config.batch

    @property
    def progress(self) -> float:
        """Share of the schedule done, 0..1, by the clock, by samples or by steps as the configuration says."""
        if self.config.minutes:
            return min(self.seconds / (60 * self.config.minutes), 1.0)
        if self.config.kimg:
            return min(self.images / (1000 * self.config.kimg), 1.0)
        return min(self.step / self.config.steps, 1.0)

    def _shared(self, stop: StopSignal, begin: float) -> bool:
        """Take the first process's clock; return whether a signal came to any process."""
        seconds = time.monotonic() - begin if self.world.first else 0.0
        self.seconds, asked = self.world.largest(seconds, float(stop.asked))
        return bool(asked)

    def _train_step(self, micro_batches: list[MicroBatch]) -> None:
        logged: dict[str, float] = {}
        for phase in self.phases:
            if self.step % phase.every == 0:
                figures = self._run_phase(phase, micro_batches)
                if twice := logged.keys() & figures.keys():
                    raise ValueError(f"two phases call something {twice}")
                logged |= figures
        where = self._where(Draws(self.config.seed, "after_step", [self.images]))
        for name, average in self.averages.items():
            average.update(self.networks[name], self._decay())
        logged |= self.recipe.after_step(where, logged)
        self._pending.add(logged)
        self.step += 1

    def _run_phase(self, phase: Phase, micro_batches: list[MicroBatch]) -> dict[str, float]:
        """Compute the gradients of a phase and take its optimiser step; return its mean terms and figures."""
        learner = self.learners[phase.network]
        rate = learner.set_rates(self.progress, self.config.warmup, first=self.step == 0)
        self._pending.last[f"lr_{phase.network}"] = rate
        for other in self.learners.values():
            other.listen(False)
        learner.begin()
        sums = Accumulation(self.networks.values(), self.micro_batches.number)
        for samples, batch in micro_batches:
            where = self._where(Draws(self.config.seed, phase.name, samples))
            seed_torch(self.config.seed, phase.name, samples.start)
            with self._autocast():
                terms = self.recipe.losses(phase.name, batch, where)
            loss = torch.stack([term.float() for term in terms.values()]).sum()
            learner.scaler.scale(loss * (learner.gain(phase) / self.micro_batches.number)).backward()
            sums.add(terms, self.recipe.figures())
        finite, figures = sums.finish(self.world, learner.parameters)
        if finite:
            learner.step()
        elif learner.skip():
            self.bad_steps += 1
        return figures

    def _check_bad_steps(self, before: int) -> None:
        """Save and raise if gradients broke too often since the run was begun or resumed."""
        count = self.bad_steps - before
        if count > self.config.max_bad_steps:
            self._save()
            raise PortraitError(
                f"{count} optimiser steps had gradients that were not finite; stopped after step {self.step}.",
                "Lower the learning rates, and go on with --resume.",
            )

    def _where(self, draws: Draws) -> Step:
        return Step(self.step, self.images, self.progress, draws)

    def _autocast(self) -> torch.autocast:
        precision = self.config.precision
        dtype = torch.float16 if precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=precision != "float32")

    def _decay(self) -> float:
        config = self.config
        if config.ema_kimg:
            return half_life_decay(config.batch, self.images, config.ema_kimg, config.ema_rampup)
        return early_decay(config.ema, self.step + 1)

    def _write_line(self, line: Line, data: Any) -> None:
        values = self._pending.take()
        (damaged,) = self.world.largest(float(getattr(data, "damaged", 0)))  # of data sets that skip what is damaged
        if not self.log:
            return
        kimg = self.images / 1000
        self.log.stats(self.step, {
            "kimg": kimg, "progress": self.progress, "bad_steps": self.bad_steps, "damaged": damaged,
            **({"loss_scale": self._loss_scale()} if self.config.precision == "float16" else {}),
            **values, "minutes": self.seconds / 60, **line.figures(self.config.batch),
        })  # fmt: skip
        left = (1 - self.progress) / max(self.progress, 1e-6) * self.seconds
        speed = line.figures(self.config.batch)
        terms = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if not name.startswith("lr_"))
        print(
            f"step {self.step}  kimg {kimg:.2f}  {self.progress:.1%}  {speed['images_per_second']:.3g} images/s  "
            f"{speed['memory_mb']:.0f} MB  {self.seconds / 60:.1f} min, {left / 60:.0f} left  {terms}",
            flush=True,
        )

    def _memory_advice(self) -> tuple[str, str]:
        """Return for what memory may be short, and what to do about it."""
        size, together = self.micro_batches.size, self.recipe.together()
        half = smaller(self.config, self.world, together)
        least = (
            "A single sample is" if together == 1 else f"{together} samples, which are compared with each other, are"
        )
        hint = f"{least} too large: choose a smaller model, or fewer points on a ray."
        if half:
            hint = (
                f"Set run.micro_batch to {half} and go on with --resume: run.batch stays as it is, its gradients are "
                "added up over more and smaller pieces."
            )
        return f"{size} sample{'s' * (size > 1)} at a time", hint

    def _loss_scale(self) -> float:
        return min(learner.scaler.get_scale() for learner in self.learners.values())

    def _publish(self, *, samples: bool) -> None:
        """Write samples and the exported model, on the first process."""
        if not self.log:
            return
        from .pictures import save_picture, save_turntable

        averaged = {name: average.module for name, average in self.averages.items()}
        trained = {
            "steps": self.step, "images": self.images, "minutes": round(self.seconds / 60, 1),
            "bad_steps": self.bad_steps,
        }  # fmt: skip
        self.recipe.export(averaged, trained, self.log.folder / "model.safetensors")
        if not samples:
            return
        for sample in self.recipe.samples(averaged, self._where(Draws(self.config.seed, "samples", [0]))):
            stem = self.log.folder / "samples" / f"{self.step:07d}_{sample.name}"
            if len(sample.frames) == 1:
                save_picture(stem.with_name(stem.name + ".png"), sample.frames[0], "training.train")
            else:
                save_turntable(stem, sample.frames, "training.train")

    def _save(self) -> None:
        """Save the state, after making sure that all processes have the same."""
        if self.world.size > 1:
            self._compare_processes()
        if self.log:
            self.log.save_state(self.step, self._state(), self.config.keep_states)

    def _compare_processes(self) -> None:
        """Raise PortraitError if processes have different weights: then they trained different networks."""
        sums = [p.detach().double().sum().item() for network in self.networks.values() for p in network.parameters()]
        if self.world.largest(*sums) != [-value for value in self.world.largest(*(-value for value in sums))]:
            raise PortraitError(
                f"The processes of this run have different weights at step {self.step}.",
                "This is a bug of the recipe or a broken machine; resume from the last state.",
            )

    def _state(self) -> dict[str, Any]:
        return {
            "version": _STATE_VERSION, "step": self.step, "seconds": self.seconds, "bad_steps": self.bad_steps,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "averages": {name: average.module.state_dict() for name, average in self.averages.items()},
            "learners": {name: learner.state() for name, learner in self.learners.items()},
            "pending": self._pending.state(), "recipe": self.recipe.state(),
        }  # fmt: skip

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `_state` returned. Raises InputError if it is of other networks."""
        try:
            if state["version"] != _STATE_VERSION:
                raise KeyError("version")
            for name, network in self.networks.items():
                network.load_state_dict(state["networks"][name])
            for name, average in self.averages.items():
                average.module.load_state_dict(state["averages"][name])
            for name, learner in self.learners.items():
                learner.load_state(state["learners"][name])
            self._pending.load_state(state["pending"])
            self.recipe.load_state(state["recipe"])
            self.step, self.seconds, self.bad_steps = state["step"], state["seconds"], state["bad_steps"]
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise InputError(
                f"The saved state does not fit the networks of this configuration: {reason}",
                "Resume with the configuration that the run began with (options.json).",
            ) from error
