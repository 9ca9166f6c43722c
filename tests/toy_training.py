# SPDX-License-Identifier: Apache-2.0
"""The smallest adversarial recipe: 8 numbers for a picture, with all that a real one asks of the trainer.

It has lazy regularisers, a running mean in a buffer, noise from torch's own generator, a statistic within the
micro-batch, an adapting number, figures, samples. `python tests/toy_training.py toy ...` is `python -m training.train`
with this recipe, so that it also runs under torchrun.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from neural_core.errors import InputError
from training import recipes
from training.config import RunConfig
from training.recipe import Optimiser, ParameterGroup, Phase, Sample, Step


@dataclasses.dataclass(frozen=True)
class Config:
    run: RunConfig = dataclasses.field(default_factory=lambda: RunConfig(steps=20, threads=1))
    width: int = 16
    pause: float = 0.0
    """Seconds that a step takes besides."""
    broken_item: int = -1
    """An item with which a loss is no number."""
    bad_item: int = -1
    """An item that cannot be read."""
    signal_at: int = -1
    """Step in which the last process gets SIGTERM."""
    die_at: int = -1
    """Step in which process 1 gets SIGKILL."""
    together: int = 1
    """Samples that are compared with each other."""
    startled_by: int = -1
    """An item whose reading process gets the signals of a terminal and of `torchrun`."""
    hungry_at: int = -1
    """Step that asks for more memory than there is."""


class Generator(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.noise = 0.01
        self.hidden, self.output = nn.Linear(4, width), nn.Linear(width, 8)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, z: Tensor) -> Tensor:
        hidden = F.softplus(self.hidden(z))
        self.mean.lerp_(hidden.detach().float().mean(0), 0.1)
        return self.output(hidden) + self.noise * torch.randn(len(z), 8)


class Numbers(Dataset):
    damaged = 2

    def __init__(self, bad_item: int, startled_by: int = -1) -> None:
        self.bad_item, self.startled_by = bad_item, startled_by

    def __len__(self) -> int:
        return 13

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.startled_by:
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
        if index == self.bad_item:
            raise InputError(f"item {index} is damaged.", "Leave it out.")
        return {"picture": torch.arange(8.0).mul(0.7 + index).sin(), "index": index}


class Toy:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.G, self.D = Generator(config.width), nn.Sequential(nn.Linear(9, 16), nn.Softplus(), nn.Linear(16, 1))
        self.probability, self.signs = 0.0, []

    def networks(self):
        return {"G": self.G, "D": self.D}

    def averaged(self):
        return ("G",)

    def optimisers(self):
        return {
            name: Optimiser([ParameterGroup(name, list(net.parameters()), 2e-3)], betas=(0.0, 0.99))
            for name, net in self.networks().items()
        }

    def phases(self):
        return [Phase("G", "G"), Phase("G_reg", "G", 4), Phase("D", "D"), Phase("R1", "D", 3)]

    def data(self):
        return Numbers(self.config.bad_item, self.config.startled_by)

    def together(self) -> int:
        return self.config.together

    def losses(self, phase: str, batch: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        self._misbehave(phase, step)
        fake = self.G(step.draws.normal(4)) if phase != "R1" else None
        if phase == "G":
            return {"G_loss": F.softplus(-self._judge(fake)).mean() * self._factor(batch)}
        if phase == "G_reg":
            return {"G_size": 0.1 * fake.square().mean()}
        real = batch["picture"] + self.probability * step.draws.uniform(1)
        if phase == "D":
            judged = self._judge(real)
            self.signs.append(float(judged.detach().sign().mean()))
            return {"D_fake": F.softplus(self._judge(fake.detach())).mean(), "D_real": F.softplus(-judged).mean()}
        real.requires_grad_(True)
        (gradient,) = torch.autograd.grad(self._judge(real).sum(), real, create_graph=True)
        return {"R1": gradient.square().sum(1).mean()}

    def _judge(self, pictures: Tensor) -> Tensor:
        spread = pictures.var(0, correction=0).mean().expand(len(pictures), 1)  # like minibatch deviation
        return self.D(torch.cat([pictures, spread], dim=1))

    def _factor(self, batch: dict[str, Tensor]) -> float:
        return float("nan") if self.config.broken_item in batch["index"] else 1.0

    def _misbehave(self, phase: str, step: Step) -> None:
        if phase != "D":
            return
        time.sleep(self.config.pause)
        rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
        if step.index == self.config.signal_at and rank == size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if step.index == self.config.die_at and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if step.index == self.config.hungry_at:
            torch.empty(1 << 60)

    def after_step(self, step: Step, logged: Mapping[str, float]) -> dict[str, float]:
        self.probability = max(self.probability + 0.01 * logged["signs"] + 0.001 * step.draws.normal().item(), 0.0)
        return {"probability": self.probability}

    def figures(self) -> dict[str, float]:
        signs, self.signs = self.signs, []
        return {"signs": signs[0]} if signs else {}

    def state(self):
        return {"probability": self.probability}

    def load_state(self, state) -> None:
        self.probability = state["probability"]

    def samples(self, averaged, step: Step) -> Iterator[Sample]:
        frames = averaged["G"](step.draws.normal(4)).detach()[:, None, None].expand(5, 3, 8, 8)
        yield Sample("grid", frames[:1])
        yield Sample("turn", frames)

    def export(self, averaged, trained: dict[str, Any], path: Path) -> None:
        save_file(averaged["G"].state_dict(), path, {"trained": json.dumps(trained)})


def build(config: Config, device: torch.device) -> Toy:
    return Toy(config)


def register() -> None:
    """Let `training.train` find this recipe."""
    recipes.RECIPES["toy"] = (__name__, "eight numbers")


if __name__ == "__main__":
    from training.leaving import leave
    from training.train import main

    register()
    leave(main())
