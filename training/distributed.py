# SPDX-License-Identifier: Apache-2.0
"""The processes of one run, as `torchrun` starts them, and what they tell each other.

Everything that the trainer needs of other processes is here: sums of gradients, a decision that all share, bytes that
only the first process can read. There is no DDP wrapper: a step has several phases and several micro-batches a process,
gradients are only wanted after the last of them, and R1 differentiates twice; one sum over all gradients says the same
in a line and gives bit by bit what one process computes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from neural_core.errors import PortraitError, UsageError

T = TypeVar("T")


class LostProcess(PortraitError):
    """Another process of the run died or cannot be reached."""


@dataclass(frozen=True)
class World:
    """This process among the `size` processes of a run; one process alone needs no network."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> Tensor:
        """Replace tensors by their sums over all processes, and return all of them in one vector."""
        vector = torch.cat([tensor.flatten() for tensor in tensors])
        if self.size > 1:
            with self._answered():
                if vector.is_cuda:  # a dead process is noticed here at once; NCCL would wait for its time-out
                    dist.all_reduce(torch.zeros(1))  # a CPU tensor goes through gloo
                dist.all_reduce(vector)
            for tensor, part in zip(tensors, vector.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))
        return vector

    def largest(self, *values: float) -> list[float]:
        """Return the largest of each value over all processes; all get the same answer."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        with self._answered():
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return numbers.tolist()

    def take_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.size > 1:
            with self._answered():
                for tensor in tensors:
                    dist.broadcast(tensor.detach(), 0)

    def on_first(self, make: Callable[[], T]) -> T | None:
        """Return what `make` returns on the first process, and None on the others, where it is not called.

        Raises:
            PortraitError: on all of them, if `make` raised one.
        """
        made, error = None, None
        if self.first:
            try:
                made = make()
            except PortraitError as caught:
                error = caught
        failure = None if error is None else json.dumps([_is_usage(error), error.message, error.hint]).encode()
        failure = self.bytes_of_first(failure)
        if error is not None:
            raise error
        if failure is not None:
            usage, message, hint = json.loads(failure)
            raise (UsageError if usage else PortraitError)(message, hint)
        return made

    def bytes_of_first(self, data: bytes | None) -> bytes | None:
        """Return to every process the bytes (or None) that the first one gives."""
        if self.size == 1:
            return data
        length = torch.tensor(-1 if data is None else len(data))
        with self._answered():
            dist.broadcast(length, 0)
            if length < 0:
                return None
            content = torch.frombuffer(bytearray(data or b""), dtype=torch.uint8) if data else torch.empty(0)
            if not self.first:
                content = torch.empty(int(length), dtype=torch.uint8)
            if length:
                dist.broadcast(content, 0)
        return content.numpy().tobytes()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn what gloo, NCCL and the store raise into a sentence."""
        try:
            yield
        except RuntimeError as error:
            who = f"Process {1 - self.rank}" if self.size == 2 else f"One of the {self.size - 1} other processes"
            address = re.search(r"\[([0-9a-fA-F.:]+)\]:\d+", str(error))
            where = f" at {address[1]}" if address else ""
            raise LostProcess(
                f"{who}{where} stopped answering, so this one (process {self.rank}) stops too.",
                "Look at the other's messages for the reason, and go on from the last saved state: start the same "
                "torchrun command with --resume.",
            ) from error


@contextmanager
def joined(patience: float) -> Iterator[World]:
    """Meet the other processes that `torchrun` started; alone where it did not.

    Args:
        patience: minutes to wait for a process that does not answer, before the run is given up.

    Raises:
        LostProcess: the processes did not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    # Errors of NCCL become exceptions in this thread instead of the end of the process.
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(kind, timeout=timedelta(minutes=patience))
    except RuntimeError as error:
        meeting = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise LostProcess(
            f"The {size} processes of this run did not find each other at {meeting} within {patience:g} minutes.",
            "Start the same torchrun command on every node, and let that port through their firewalls.",
        ) from error
    world = World(dist.get_rank(), size)
    yield world
    world.largest(0.0)  # all leave together, also while the first one still writes pictures
    dist.destroy_process_group()  # not after an error: it would wait for the one that is lost


def local_device(asked: str) -> str:
    """Return the device of this process by name: under `torchrun` each process of a machine takes a GPU of its own."""
    place = os.environ.get("LOCAL_RANK")
    if place is None or asked not in ("auto", "cuda") or not torch.cuda.is_available():
        return asked
    return f"cuda:{place}"


def _is_usage(error: PortraitError) -> bool:
    return isinstance(error, UsageError)
