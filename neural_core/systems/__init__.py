# SPDX-License-Identifier: Apache-2.0
"""The registry: from a system's name to its module, imported on demand.

A checkpoint names one of these; it cannot make anything else be imported.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from .. import checkpoints
from ..errors import ModelError

if TYPE_CHECKING:  # a list of names must not cost the import of torch
    import torch

    from .common import System

SYSTEMS = {"eg3d": ".eg3d.system", "next3d": ".next3d.system"}
"""A system's module has `CONFIG`, the class of its configs, and `build(checkpoint, config, device)`."""


class _Module(Protocol):
    CONFIG: type

    def build(self, checkpoint: checkpoints.Checkpoint, config: Any, device: torch.device) -> System: ...


def load(path: Path, device: torch.device | str = "cpu") -> System:
    """Return the system of a checkpoint file, ready on a device.

    Raises:
        ModelError: if the file is damaged, names no system that we know, or does not fit its network.
    """
    return build(checkpoints.load(path), device)


def build(checkpoint: checkpoints.Checkpoint, device: torch.device | str = "cpu") -> System:
    """Return the system of a checkpoint. Raises ModelError if it names none or does not fit its network."""
    import torch

    module = _module(checkpoint.system, checkpoint.name)
    config = read_config(checkpoint.system, checkpoint.config, checkpoint.name)
    return module.build(checkpoint, config, torch.device(device))


def read_config(system: str, config: dict[str, Any], name: str = "config") -> Any:
    """Return a system's frozen config from plain values; strict.

    Args:
        system: a registered name.
        config: as in the checkpoint's header.
        name: what to call it in messages.

    Raises:
        ModelError: naming the first unknown key, wrong type or impossible combination.
    """
    return checkpoints.as_config(_module(system, name).CONFIG, config, system, name)


def _module(system: str, name: str) -> _Module:
    if system not in SYSTEMS:
        raise ModelError(
            f'"{name}" is for the system "{system}", which this version does not have.',
            f"Known systems: {', '.join(SYSTEMS)}.",
        )
    return cast("_Module", importlib.import_module(SYSTEMS[system], __package__))
