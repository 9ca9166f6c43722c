# SPDX-License-Identifier: Apache-2.0
"""Pictures for people to look at while and after training."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from neural_core import media


def save_picture(path: Path, picture: Float[Tensor, "3 h w"], made_by: str) -> None:
    """Write colours in 0..1 as a PNG, with the name of what made it in its provenance."""
    pixels = (picture.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    media.write_png(path, pixels, {"made_by": made_by})
