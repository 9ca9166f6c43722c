# SPDX-License-Identifier: Apache-2.0
"""Where things are on a head, as smooth functions of the place on the *mean* head (head space, metres).

A place on anybody's skin is known by the place of the same vertex on the mean head, so one definition of hairline, brow
or beard fits every person. All masks are 0..1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from training.synthetic.looks import Look

EYE = np.array([0.0312, 0.0, 0.0574])  # centre of the left eyeball; the right one is its mirror image
EYE_RADIUS = 0.0165
_AXIS_Z = -0.012  # the vertical axis around which the hairline is described

# Height of the hairline by the angle from the front (degrees): forehead, temple, sideburn, over the ear, nape.
_HAIRLINE = PchipInterpolator(
    [0, 18, 32, 45, 57, 68, 77, 86, 97, 108, 118, 130, 150, 180],
    [0.072, 0.073, 0.068, 0.050, 0.036, 0.022, 0.000, 0.006, 0.032, 0.024, -0.012, -0.048, -0.068, -0.074],
)
# Upper edge of the beard by the distance from the middle of the face (metres).
_CHEEK_LINE = PchipInterpolator(
    [0.0, 0.02, 0.031, 0.042, 0.056, 0.068, 0.078, 0.1],
    [-0.052, -0.053, -0.062, -0.066, -0.055, -0.036, -0.008, 0.01],
)


def smoothstep(low: float | NDArray, high: float | NDArray, x: NDArray) -> NDArray:
    """0 below ``low``, 1 above ``high``, smooth between; the edges may be given in falling order."""
    t = np.clip((x - low) / (np.asarray(high) - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def front_angle(places: NDArray) -> NDArray:
    """Degrees from the front (0) to the back (180) around the vertical axis, the same on both sides."""
    return np.degrees(np.arctan2(np.abs(places[..., 0]), places[..., 2] - _AXIS_Z))


def above_hairline(places: NDArray, look: Look | None = None) -> NDArray:
    """Signed height over the hairline in metres; with no look, over the lowest one that anybody has."""
    angle = front_angle(places)
    height = _HAIRLINE(angle)
    front = 1 - smoothstep(50.0, 75.0, angle)
    if look is None:
        height = height - 0.009 * front
    else:
        temple = np.exp(-(((angle - 34.0) / 16.0) ** 2))
        height = height + front * look.hairline + 0.022 * look.recession * temple + 0.006 * look.recession * front
    return places[..., 1] - height


def scalp(places: NDArray, look: Look | None = None, soft: float = 0.008) -> NDArray:
    """Where hair grows, without the ears (see ``off_ear``)."""
    return smoothstep(-0.3 * soft, soft, above_hairline(places, look)) * off_ear(places)


def off_ear(places: NDArray) -> NDArray:
    """0 on the ears, 1 elsewhere."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    ear = smoothstep(0.0735, 0.0765, x) * (1 - smoothstep(0.030, 0.034, y)) * smoothstep(-0.045, -0.040, y)
    return 1 - ear * smoothstep(-0.05, -0.04, z) * (1 - smoothstep(0.005, 0.012, z))


def beard(places: NDArray) -> NDArray:
    """Where a beard grows: upper lip, chin, jaw, a little of the throat. The lips themselves are left to the caller."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    below = smoothstep(0.003, -0.006, y - _CHEEK_LINE(np.minimum(x, 0.1)))
    throat = smoothstep(-0.128, -0.118, y + 0.35 * (0.06 - np.minimum(z, 0.06)))
    front = smoothstep(-0.002, 0.008, z)
    nostrils = 1 - smoothstep(-0.0535, -0.0495, y) * smoothstep(0.022, 0.018, x)
    return below * throat * front * nostrils * off_ear(places)


def brow(places: NDArray, look: Look) -> NDArray:
    """The eyebrows: a tapering arc over each eye."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    along = np.clip((x - 0.0115) / 0.042, 0.0, 1.0)
    arch = look.brow_arch
    middle = 0.0168 + 0.0006 * arch + (0.0052 + 0.0030 * arch) * np.sin(np.pi * np.clip(along, 0, 1) ** 1.25)
    middle = middle - 0.0035 * along**2
    half = look.brow_thickness * 0.0040 * (1 - 0.62 * along**1.6)
    across = 1 - smoothstep(0.45, 1.25, np.abs(y - middle) / half)
    ends = smoothstep(0.0080, 0.0190, x) * (1 - smoothstep(0.0500, 0.0560, x))
    return across * ends * smoothstep(0.03, 0.04, z)


def bump(places: NDArray, centre: tuple[float, float, float], radius: float | tuple[float, float, float]) -> NDArray:
    """A Gaussian around ``centre`` and around its mirror image on the other side of the face."""
    side = np.stack([np.abs(places[..., 0]), places[..., 1], places[..., 2]], -1)
    return np.exp(-((((side - np.asarray(centre)) / np.asarray(radius)) ** 2).sum(-1)))
