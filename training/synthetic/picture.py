# SPDX-License-Identifier: Apache-2.0
"""What a renderer hands back, the same for Cycles and for our rasteriser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A photograph of a figure, h x w pixels."""

    rgba: NDArray[np.uint8]
    """[h, w, 4] sRGB; alpha says how much of the pixel the person covers, whatever is behind. Without a backdrop the
    colour is the person's own (straight alpha, black where alpha is 0); with one it is the person over the backdrop."""
    depth: NDArray[np.float32]
    """[h, w] distance along the ray to the first surface, model units; 0 where nothing is."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The colours [h, w, 3]."""
        return self.rgba[..., :3]
