# SPDX-License-Identifier: Apache-2.0
"""Which items of the data set a step sees, on which process, and how they are read: the same after every resume."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from neural_core.errors import PortraitError, UsageError

from .config import RunConfig
from .distributed import World
from .draws import keyed_generator


class Cut(NamedTuple):
    """How a step's batch is cut."""

    size: int
    """Samples of a micro-batch."""
    number: int
    """Micro-batches of all processes together; the m-th belongs to process m modulo processes."""


def cut(config: RunConfig, world: World) -> Cut:
    """Return how the batch is cut.

    Raises:
        UsageError: it cannot be cut evenly among the processes.
    """
    size = config.micro_batch or config.batch // world.size
    if size < 1 or config.batch % size or (config.batch // size) % world.size:
        raise UsageError(
            f"A batch of {config.batch} cannot be cut into micro-batches of {max(size, 1)} for {world.size} "
            f"process{'es' * (world.size > 1)}.",
            "run.batch has to be a multiple of run.micro_batch times the number of processes.",
        )
    return Cut(size, config.batch // size)


def smaller(config: RunConfig, world: World, together: int) -> int | None:
    """Return the next `run.micro_batch` that needs at most half the memory, or None if there is none.

    It is a multiple of `together`, the samples that a recipe compares with each other.
    """
    sizes = range(together, cut(config, world).size // 2 + 1, together)
    return max((size for size in sizes if config.batch % (size * world.size) == 0), default=None)


class Order:
    """The item that each sample of a run is: a new permutation of the data set every epoch."""

    def __init__(self, items: int, seed: int) -> None:
        """Remember the size of the data set and the run's seed."""
        self._items, self._seed = items, seed
        self._epoch, self._permutation = -1, torch.empty(0)

    def item(self, sample: int) -> int:
        """Return the item of a sample by its global index (`step * batch + place in the batch`)."""
        epoch, place = divmod(sample, self._items)
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = torch.randperm(self._items, generator=keyed_generator(self._seed, "order", epoch))
        return int(self._permutation[place])


class MicroBatch(NamedTuple):
    """Samples that are computed together."""

    samples: range
    """Their global indices."""
    data: Any
    """Their items, collated."""


class MicroBatches:
    """An endless iterator over this process's micro-batches, from any step on."""

    def __init__(self, data: Dataset[Any], config: RunConfig, world: World, device: torch.device, step: int) -> None:
        """Start reading at a step; with `config.workers` other processes read ahead."""
        self._cut, self._config, self._world, self._device = cut(config, world), config, world, device
        items = len(data)  # type: ignore[arg-type]  # a map-style data set has a length
        self._samples = self._own_samples(step)
        self._loader = DataLoader(
            _Spoken(data),
            batch_sampler=_Items(self._own_samples(step), Order(items, config.seed)),
            collate_fn=_collate,
            num_workers=config.workers,
            # Not fork: by now the process has threads (torch's, gloo's) and perhaps a GPU.
            multiprocessing_context="spawn" if config.workers else None,
            pin_memory=device.type == "cuda",
            worker_init_fn=_leave_signals,
            generator=keyed_generator(config.seed, "workers"),
        )
        self._read = iter(self._loader)

    def step(self) -> list[MicroBatch]:
        """Return this process's micro-batches of the next step, on the device.

        Raises:
            PortraitError: an item could not be read.
        """
        micro_batches = []
        for _ in range(self._cut.number // self._world.size):
            data = self._next()
            if isinstance(data, PortraitError):
                raise data
            micro_batches.append(MicroBatch(next(self._samples), to_device(data, self._device)))
        return micro_batches

    def close(self) -> None:
        """End the processes that read ahead."""
        self._read = iter(())  # the last reference to the loader's iterator, which tells them when it goes

    def _next(self) -> Any:
        try:
            return next(self._read)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise PortraitError(
                "A process that reads data ahead ended without a word; most often memory was short.",
                f"Set run.workers below {self._config.workers}, and go on with --resume.",
            ) from error

    def _own_samples(self, step: int) -> Iterator[range]:
        batch, size = self._config.batch, self._cut.size
        while True:
            for place in range(self._world.rank, self._cut.number, self._world.size):
                first = step * batch + place * size
                yield range(first, first + size)
            step += 1


_FAREWELL = 20.0
"""Seconds that a process that reads ahead goes on after SIGTERM."""


def _leave_signals(worker: int) -> None:
    """Let a process that reads ahead outlive what ends a run: the training process needs its data to finish the step.

    It ends when the training process tells it so, and some time after SIGTERM in any case: Python sends that to what is
    left when a program ends, and waits.
    """

    def end_later(number: int, frame: Any) -> None:
        timer = threading.Timer(_FAREWELL, os._exit, [0])
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_later)


def to_device(data: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on a device; dicts, lists and tuples are gone through."""
    if isinstance(data, torch.Tensor):
        return data.to(device, non_blocking=True)
    if isinstance(data, dict):
        return {key: to_device(value, device) for key, value in data.items()}
    if isinstance(data, list | tuple):
        moved = [to_device(value, device) for value in data]
        return type(data)(*moved) if hasattr(data, "_fields") else type(data)(moved)
    return data


class _Items(Sampler[list[int]]):
    """The items of each micro-batch."""

    def __init__(self, samples: Iterator[range], order: Order) -> None:
        self._samples, self._order = samples, order

    def __iter__(self) -> Iterator[list[int]]:
        return ([self._order.item(sample) for sample in samples] for samples in self._samples)


class _Spoken(Dataset[Any]):
    """A data set whose errors arrive as they are: a worker process would wrap them in its traceback."""

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Any:
        try:
            return self._data[index]
        except PortraitError as error:
            return error


def _collate(items: list[Any]) -> Any:
    return next((item for item in items if isinstance(item, PortraitError)), None) or default_collate(items)
