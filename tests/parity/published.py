# SPDX-License-Identifier: Apache-2.0
"""Reading the EG3D fixtures, and saying how far we are from them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neural_core.convert.eg3d import rename_all


def arrays(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a fixture."""
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def facts(path: Path) -> dict:
    """Return the JSON beside a fixture."""
    return json.loads(path.read_text())


def load_state(module: torch.nn.Module, state: dict[str, Tensor], ours: bool = False) -> None:
    """Load published tensors into one of our modules; every tensor of the module has to be there, and no other."""
    tensors = state if ours else rename_all(state, "fixture")
    expected = module.state_dict()
    assert set(tensors) == set(expected)
    # 0-d tensors became [1] in the unit files
    module.load_state_dict({key: value.reshape(expected[key].shape) for key, value in tensors.items()})


def check(name: str, found: Tensor, expected: Tensor, atol: float = 0.0, relative: float = 0.0) -> None:
    """Assert shape and largest difference; print the latter (pytest -s shows it)."""
    assert found.shape == expected.shape, f"{name}: {tuple(found.shape)} is not {tuple(expected.shape)}"
    if not expected.numel():
        return
    found, expected = found.detach().double(), expected.double()
    error = (found - expected).abs().max().item()
    limit = atol + relative * expected.abs().max().item()
    print(f"{name}: {error:.2e} of {limit:.2e}")
    assert error <= limit, f"{name} differs by {error:.3e}, allowed {limit:.3e}"


@dataclass
class Recorded:
    """A sampling policy that plays back recorded numbers, in the order in which they were drawn."""

    jitters: Tensor | None = None
    fine: Tensor | None = None
    normals: list[Tensor] = field(default_factory=list)

    def jitter(self, like: Tensor) -> Tensor:
        """Return the recorded jitter."""
        return self.jitters.reshape(like.shape)

    def quantiles(self, like: Tensor) -> Tensor:
        """Return the recorded quantiles."""
        return self.fine.reshape(like.shape)

    def normal(self, like: Tensor) -> Tensor:
        """Return the next recorded normal numbers."""
        return self.normals.pop(0).reshape(like.shape)
