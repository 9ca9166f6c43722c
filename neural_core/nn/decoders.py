# SPDX-License-Identifier: Apache-2.0
"""From plane features to density and colour (EG3D, Chan et al. 2022, section 3.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import FullyConnected


class TriplaneDecoder(nn.Module):
    """A small network of one hidden layer; it sees no view direction."""

    def __init__(self, channels: int, hidden: int = 64, features: int = 32, lr_multiplier: float = 1.0) -> None:
        """Draw the weights.

        Args:
            channels: plane features.
            hidden: hidden units.
            features: colour features, the first three of which are RGB.
            lr_multiplier: pace of the layers.
        """
        super().__init__()
        self.hidden = FullyConnected(channels, hidden, lr_multiplier=lr_multiplier)
        self.output = FullyConnected(hidden, 1 + features, lr_multiplier=lr_multiplier)

    def forward(self, x: Float[Tensor, "b n c"]) -> tuple[Float[Tensor, "b n 1"], Float[Tensor, "b n f"]]:
        """Return raw density (before its softplus) and colour features, about 0..1."""
        raw = self.output(F.softplus(self.hidden(x)))
        return raw[..., :1], squash_colour(raw[..., 1:])


def squash_colour(raw: Float[Tensor, "*n f"]) -> Float[Tensor, "*n f"]:
    """Return sigmoid(raw), widened by 0.001 on both sides so that 0 and 1 are reached (mip-NeRF)."""
    return torch.sigmoid(raw) * 1.002 - 0.001
