# SPDX-License-Identifier: Apache-2.0
"""Which device computes, and what is known of it."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from .errors import UsageError


def choose(name: str) -> torch.device:
    """Return the device named auto, cpu, cuda or cuda:N; auto is the first GPU, else the CPU.

    Raises:
        UsageError: if the name is another, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise UsageError(f'There is no device "{name}".', "Use auto, cpu, cuda or cuda:1.")
    number = int(name.partition(":")[2] or 0)
    if not torch.cuda.is_available() or number >= torch.cuda.device_count():
        raise UsageError(f'There is no device "{name}" here.', "Use auto or cpu, or install a PyTorch with CUDA.")
    return torch.device("cuda", number)


def describe(device: torch.device) -> dict[str, str | int]:
    """Return device, device_name, memory_mb (in use by this process) and threads."""
    cuda = device.type == "cuda"
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else "CPU",
        "memory_mb": memory_mb(device),
        "threads": torch.get_num_threads(),
    }


def memory_mb(device: torch.device) -> int:
    """Return the memory in use, in MB: the GPU's for tensors, or the process's resident memory (0 if unknown)."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) // 1_000_000
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 // 1_000_000
    except OSError:
        return 0
