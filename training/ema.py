# SPDX-License-Identifier: Apache-2.0
"""Exponential moving average of a module's weights: what a user gets is the average, not the last step."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """Averaged copy of a module; buffers are copied, not averaged (as StyleGAN2 does)."""

    def __init__(self, module: nn.Module) -> None:
        """Start from the module's present weights."""
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, decay: float) -> None:
        """Move the average towards `module`: it keeps the share `decay`, 0..1, of what it was."""
        for average, value in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
        for average, value in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(value)
