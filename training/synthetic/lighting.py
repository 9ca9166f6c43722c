# SPDX-License-Identifier: Apache-2.0
"""Light and background of a picture, the same for Cycles and for our rasteriser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lamp:
    """A square area light that looks at the head."""

    place: NDArray[np.float64]
    """[3] head space, metres."""
    width: float
    """Metres; larger is softer."""
    power: float
    """Watts, as Blender counts them."""
    colour: NDArray[np.float64]
    """[3] linear RGB."""


@dataclass(frozen=True)
class Setting:
    """Lamps, the light from all around, exposure, and what is behind the person."""

    lamps: tuple[Lamp, ...]
    sky: NDArray[np.float64]
    """[3] linear RGB of the light that comes from everywhere."""
    exposure: float = 0.0
    """Stops."""
    backdrop: NDArray[np.uint8] | None = None
    """[h, w, 3] sRGB picture behind the person, of the size of the picture; None: nothing, alpha tells."""


STUDIO = Setting(
    lamps=tuple(
        Lamp(np.array(place), width, power, np.array(colour))
        for place, width, power, colour in (
            ((0.9, 0.9, 1.3), 0.9, 22.0, (1.0, 0.96, 0.90)),
            ((-1.2, 0.2, 1.0), 1.2, 6.5, (0.92, 0.96, 1.0)),
            ((-0.5, 1.1, -1.3), 1.0, 16.0, (1.0, 1.0, 1.0)),
            ((1.2, 0.3, -0.9), 1.0, 9.0, (0.95, 0.97, 1.0)),
        )
    ),
    sky=np.array([0.27, 0.285, 0.31]),
)
"""The same light for everybody: what a network learns whose code says nothing about light."""
