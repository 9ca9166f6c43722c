# SPDX-License-Identifier: Apache-2.0
"""What clothes are made of: colour, pattern and creases, painted in numpy."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.synthetic.cloth import CLOTH_SIZE, on_arm
from training.synthetic.figure import Material

_PIXELS = 512


_ROUGHNESS = {"jersey": 0.85, "rib": 0.85, "knit": 0.9, "poplin": 0.7, "fleece": 0.95, "canvas": 0.7, "button": 0.4}


def fabric(name: str, colour: NDArray) -> Material:
    """A fabric by name (jersey, stripes, rib, knit, poplin, checks, fleece, canvas, button) in a colour.

    Textured ones need texture coordinates as ``cloth.Worn`` has them.
    """
    roughness = _ROUGHNESS.get(name, 0.85)
    if name == "button":
        return Material("cloth", colour, roughness=roughness)
    shade, height = _weave(name)
    colours = np.broadcast_to(colour, (*shade.shape, 3)) * shade[..., None]
    second = np.clip(0.72 - 0.9 * colour.mean(), 0.05, 0.62) * np.array([1.0, 0.99, 0.96])
    mix = _pattern(name)
    if mix is not None:
        colours = colours * (1 - mix[..., None]) + second * shade[..., None] * mix[..., None]
    relief = np.stack([height, np.full_like(height, roughness)], -1)
    return Material("cloth", colour, colours.astype(np.float32), roughness, relief.astype(np.float32))


def folds(places: NDArray) -> NDArray[np.float64]:
    """Creases [n], metres over the cloth's rest, at places on the mean person: rays from the armpits, hanging folds."""
    x, y, z = places.T
    side = np.where(x < 0, -1.0, 1.0)
    from_armpit = np.stack([np.abs(x) - 0.150, y + 0.325], 1)
    away = np.linalg.norm(from_armpit, axis=1)
    angle = np.arctan2(from_armpit[:, 1], from_armpit[:, 0])
    behind = np.where(z < -0.04, 1.7, 0.0)
    rays = np.cos(6 * angle + 9 * away + 0.6 * side + behind) * np.exp(-(((away - 0.045) / 0.055) ** 2))
    bent = x + 0.012 * np.sin(17 * y + 2 * side) + 0.010 * np.sin(31 * z + 1)
    hanging = np.cos(105 * bent + 24 * z + 11 * y + behind) + 0.6 * np.cos(62 * bent - 29 * y + 2.1 + 2 * behind)
    below = np.clip((-0.30 - y) / 0.16, 0, 1)
    arm = np.where(on_arm(places), np.cos(85 * y + 30 * z + 20 * np.abs(x) + side), 0.0)
    drawn = np.cos(48 * y + 25 * x * np.sin(9 * y + 1) + 14 * z) * np.clip(1 - np.abs(y + 0.27) / 0.1, 0, 1)
    return 0.0026 * rays + 0.0014 * below * hanging + 0.0016 * arm * below + 0.0006 * drawn


@cache
def _weave(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Brightness around 1 [p, p] and height in millimetres [p, p] of a fabric."""
    rng = np.random.default_rng(23)
    line = (np.arange(_PIXELS) + 0.5) / _PIXELS * CLOTH_SIZE
    across = np.broadcast_to(line, (_PIXELS, _PIXELS))
    grain = rng.standard_normal((_PIXELS, _PIXELS))
    cloudy = gaussian_filter(rng.standard_normal((_PIXELS, _PIXELS)), 9, mode="wrap") * 9
    creases = gaussian_filter(rng.standard_normal((_PIXELS, _PIXELS)), (14, 5), mode="wrap") * 8
    creases = np.abs(creases) ** 0.8 * 0.35
    mottle = {"fleece": 0.05, "knit": 0.05, "canvas": 0.035}.get(name, 0.02)
    shade = 1 + mottle * grain + 0.02 * cloudy
    height = creases * {"poplin": 1.0, "checks": 1.0, "canvas": 1.0, "rib": 0.0, "knit": 0.3}.get(name, 0.6)
    if name in ("rib", "knit"):
        period = 0.0068 if name == "rib" else 0.009
        wave = np.sin(2 * np.pi * across / period)
        shade = shade * (1 + 0.10 * wave)
        height = height + 0.5 * wave
    return shade, height


@cache
def _pattern(name: str) -> NDArray[np.float64] | None:
    """How much of the second colour there is [p, p], or None."""
    line = (np.arange(_PIXELS) + 0.5) / _PIXELS * CLOTH_SIZE
    across, up = np.meshgrid(line, -line)
    if name == "stripes":
        return np.clip((np.abs((up / 0.040) % 1 - 0.5) - 0.30) * 25 + 0.5, 0, 1)
    if name == "checks":
        bands = [np.clip((np.abs((v / 0.034) % 1 - 0.5) - 0.34) * 20 + 0.5, 0, 1) for v in (across, up)]
        return 0.42 * bands[0] + 0.42 * bands[1]
    return None
