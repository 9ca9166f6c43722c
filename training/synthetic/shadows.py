# SPDX-License-Identifier: Apache-2.0
"""Light for our rasteriser: directions from which light comes, and how much of each arrives at a place.

Area lamps become a few parallel lights spread over their square, the sky parallel lights from all around; each has a
depth map (Williams 1978), drawn once for a figure and used by all of its pictures. What is behind hair is not dark at
once: light fades with the way that it goes behind the first strand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.ops.rasterize import rasterize
from training.synthetic.figure import Figure
from training.synthetic.lighting import Lamp, Setting
from training.synthetic.sight import CLEAR, Meshes, ribbons

_CENTRE = np.array([0.0, -0.06, 0.0])  # of the cube that casts and receives shadows, head space
_REACH = 0.30  # metres from its centre to its sides
_LAMP_MAP, _SKY_MAP = 192, 96  # pixels
_LAMP_SPREAD = 2  # parallel lights along a side of a lamp
_SKY_LIGHTS = 20
_EVERY = 4  # strands that cast shadows: so much fewer, so much thicker


@dataclass(frozen=True)
class Light:
    """Parallel light, and what it meets first."""

    towards: NDArray[np.float32]
    """[3] unit vector to where it comes from."""
    irradiance: NDArray[np.float32]
    """[3] on a surface that faces it; for the sky, pi times its radiance if there were no other light."""
    spread: float
    """Half the angle from which it seems to come, radians: how far highlights are blurred."""
    axes: NDArray[np.float32]
    """[3, 3] rows: right, down and away, in the map."""
    first: NDArray[np.float32]
    """[k, k] how far away the first thing is, metres from the centre plane; infinite where nothing is."""

    def behind(self, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far places [n, 3] lie behind the first thing that the light meets, metres; negative before it."""
        right, down, away = self.axes @ (places - _CENTRE.astype(np.float32)).T
        size = len(self.first)
        scale = size / (2 * _REACH)
        # The pixels of a map are far larger than a picture's; a dither makes their steps grain, which samples average.
        grain = (np.arange(len(places)) * 0.618034) % 1.0 - 0.5, (np.arange(len(places)) * 0.754878) % 1.0 - 0.5
        column = np.clip(((right + _REACH) * scale + grain[0]).astype(np.int32), 0, size - 1)
        row = np.clip(((down + _REACH) * scale + grain[1]).astype(np.int32), 0, size - 1)
        return away - self.first[row, column]


@dataclass(frozen=True)
class Lights:
    """All the light of a setting on a figure."""

    lamps: tuple[Light, ...]
    sky: tuple[Light, ...]
    sky_colour: NDArray[np.float32]
    """[3] radiance."""


def light(figure: Figure, setting: Setting) -> Lights:
    """Light a figure."""
    casters = [(part.vertices, part.faces) for part in figure.parts if part.material.kind not in CLEAR]
    lamps = [
        _parallel(
            figure, casters, place, irradiance, lamp.width / (2 * _LAMP_SPREAD * np.linalg.norm(lamp.place)), _LAMP_MAP
        )
        for lamp in setting.lamps
        for place, irradiance in _spread(lamp)
    ]
    sky = [
        _parallel(figure, casters, direction, np.pi * setting.sky, 0.0, _SKY_MAP)
        for direction in _all_round(_SKY_LIGHTS)
    ]
    return Lights(tuple(lamps), tuple(sky), setting.sky.astype(np.float32))


def _spread(lamp: Lamp) -> list[tuple[NDArray, NDArray]]:
    """Places over a square lamp that looks at the head, and the irradiance that each of them makes there."""
    away = lamp.place / np.linalg.norm(lamp.place)
    right = np.cross([0.0, 1.0, 0.0], away)
    right /= np.linalg.norm(right)
    up = np.cross(away, right)
    steps = ((np.arange(_LAMP_SPREAD) + 0.5) / _LAMP_SPREAD - 0.5) * lamp.width
    # Blender's area light of P watts has the radiance P / (pi area) and so the irradiance P / (pi distance^2).
    irradiance = lamp.power * lamp.colour / (np.pi * (lamp.place @ lamp.place)) / _LAMP_SPREAD**2
    return [(lamp.place + a * right + b * up, irradiance) for a in steps for b in steps]


def _all_round(count: int) -> NDArray[np.float64]:
    """Directions [n, 3] evenly over the sphere: Fibonacci's spiral."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.sin(turn), height, flat * np.cos(turn)], 1)


def _parallel(
    figure: Figure,
    casters: Sequence[tuple[NDArray, NDArray]],
    place: NDArray,
    irradiance: NDArray,
    spread: float,
    size: int,
) -> Light:
    towards = place / np.linalg.norm(place)
    right = np.cross([0.0, 1.0, 0.0] if abs(towards[1]) < 0.95 else [1.0, 0.0, 0.0], towards)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, towards), -towards])
    strands = [ribbons(fibres, towards, every=_EVERY, parallel=True) for fibres in figure.fibres]
    meshes = Meshes.joined([*casters, *strands])
    in_map = (meshes.vertices - _CENTRE) @ axes.T / np.array([_REACH, _REACH, 1.0])
    seen = rasterize(torch.from_numpy(in_map)[None], torch.from_numpy(meshes.faces), size)
    first = torch.where(seen.covered, seen.depth, torch.inf)[0].numpy()
    return Light(
        towards.astype(np.float32), irradiance.astype(np.float32), float(spread), axes.astype(np.float32), first
    )
