# SPDX-License-Identifier: Apache-2.0
"""Light for our rasteriser: directions from which light comes, and how much of each arrives at a place.

Area lamps become a few parallel lights spread over their square, the sky parallel lights from all around; each has a
depth map (Williams 1978), drawn once for a figure and used by all of its pictures. What is behind hair is not dark at
once: light fades with the way that it goes behind the first strand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.ops.rasterize import rasterize
from neural_core.records import SKIN
from training.synthetic.figure import Fibres, Figure
from training.synthetic.lighting import Lamp, Setting
from training.synthetic.sight import CLEAR, Meshes, ribbon_faces, ribbon_vertices, simplified, strand_directions

_CENTRE = np.array([0.0, -0.10, 0.0])  # of the cube that casts and receives shadows, head space
_REACH = 0.36  # metres from its centre to its sides
_LAMP_MAP, _SKY_MAP = 224, 144  # pixels
_LAMP_SPREAD = 2  # parallel lights along a side of a lamp
_SKY_LIGHTS = 14
_STRANDS = 1000  # of a head of hair that cast shadows, so much thicker
_TOLERANCE = 0.006  # metres that they may be simplified by
_SHADOWLESS = (*CLEAR, "eye", "lid", "mouth", "tongue", "gum", "tooth")  # what skin always surrounds casts none


@dataclass(frozen=True)
class ParallelLights:
    """n parallel lights, and what each of them meets first."""

    towards: NDArray[np.float32]
    """[n, 3] unit vectors to where they come from."""
    irradiance: NDArray[np.float32]
    """[n, 3] on a surface that faces the light."""
    spread: NDArray[np.float32]
    """[n] half the angle from which it seems to come, radians: how far highlights are blurred."""
    axes: NDArray[np.float32]
    """[n, 3, 3] rows: right, down and away, in the maps."""
    first: NDArray[np.float32]
    """[n, k, k] how far away the first thing is, metres from the centre; infinite where nothing is."""

    def behind(self, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far places [m, 3] lie behind the first thing that each light meets [n, m], metres; negative before it."""
        count, size, _ = self.first.shape
        scale = np.float32(size / (2 * _REACH))
        local = self.axes.reshape(-1, 3) @ (places - _CENTRE.astype(np.float32)).T
        right, down, away = local.reshape(count, 3, len(places)).transpose(1, 0, 2)
        # The pixels of a map are far larger than a picture's; a dither makes their steps grain, which samples average.
        grain = np.arange(len(places))[None] * np.array([[0.6180340], [0.7548777]]) % 1.0 + (size / 2 - 0.5)
        column, row = (right * scale + grain[0].astype(np.float32), down * scale + grain[1].astype(np.float32))
        pixel = np.clip(row, 0, size - 1).astype(np.int32) * size + np.clip(column, 0, size - 1).astype(np.int32)
        return away - np.take_along_axis(self.first.reshape(count, size * size), pixel, 1)


@dataclass(frozen=True)
class Lights:
    """All the light of a setting on a figure."""

    lamps: ParallelLights
    sky: ParallelLights
    """Of irradiance 1 each."""
    sky_colour: NDArray[np.float32]
    """[3] radiance."""


def light(figure: Figure, setting: Setting) -> Lights:
    """Light a figure."""
    casters = _Casters.of(figure)
    spread = [(lamp, place) for lamp in setting.lamps for place in _spread(lamp)]
    irradiance = [
        # Blender's area light of P watts has the radiance P / (pi area), and so the irradiance P / (pi distance^2).
        lamp.power * lamp.colour / (np.pi * (lamp.place @ lamp.place)) / _LAMP_SPREAD**2
        for lamp, _ in spread
    ]
    widths = [float(lamp.width / (2 * _LAMP_SPREAD * np.sqrt(lamp.place @ lamp.place))) for lamp, _ in spread]
    lamps = _parallel(casters, [place for _, place in spread], irradiance, widths, _LAMP_MAP)
    everywhere = list(_all_round(_SKY_LIGHTS))
    sky = _parallel(casters, everywhere, [np.ones(3)] * _SKY_LIGHTS, [0.0] * _SKY_LIGHTS, _SKY_MAP)
    return Lights(lamps, sky, setting.sky.astype(np.float32))


def _spread(lamp: Lamp) -> list[NDArray]:
    """Places over a square lamp that looks at the head."""
    away = lamp.place / np.linalg.norm(lamp.place)
    right = np.cross([0.0, 1.0, 0.0] if abs(away[1]) < 0.95 else [1.0, 0.0, 0.0], away)
    right /= np.linalg.norm(right)
    up = np.cross(away, right)
    steps = ((np.arange(_LAMP_SPREAD) + 0.5) / _LAMP_SPREAD - 0.5) * lamp.width
    return [lamp.place + a * right + b * up for a in steps for b in steps]


def _all_round(count: int) -> NDArray[np.float64]:
    """Directions [n, 3] evenly over the sphere: Fibonacci's spiral."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.sin(turn), height, flat * np.cos(turn)], 1)


@dataclass(frozen=True)
class _Casters:
    """What casts shadows: parts as they are, and some strands, of which each light sees other sides."""

    solid: NDArray[np.float32]
    """[v, 3]."""
    fibres: tuple[Fibres, ...]
    directions: tuple[NDArray[np.float32], ...]
    faces: NDArray[np.int32]
    """[m, 3] of the solids' vertices, then of the strands' sides."""

    @classmethod
    def of(cls, figure: Figure) -> _Casters:
        solids = Meshes.joined([(p.vertices, p.faces) for p in figure.parts if p.material.kind not in _SHADOWLESS])
        # Brows and lashes (fibres of the region SKIN) lie on what they would shade.
        hair = [fibres for fibres in figure.fibres if fibres.region != SKIN and len(fibres.points)]
        fibres = tuple(simplified(f, _TOLERANCE, -(-len(f.points) // _STRANDS)) for f in hair)
        bands = [(np.zeros((2 * f.radii.size, 3)), ribbon_faces(*f.radii.shape)) for f in fibres]
        joined = Meshes.joined([(solids.vertices, solids.faces), *bands])
        directions = tuple(strand_directions(f.points).astype(np.float32) for f in fibres)
        return cls(solids.vertices.astype(np.float32), fibres, directions, joined.faces)

    def seen_from(self, towards: NDArray) -> NDArray[np.float32]:
        """Vertices [n, 3] of everything, the strands turned to a direction."""
        towards = towards.astype(np.float32)
        bands = [
            ribbon_vertices(f.points.astype(np.float32), f.radii.astype(np.float32), along, towards)
            for f, along in zip(self.fibres, self.directions, strict=True)
        ]
        return np.concatenate([self.solid, *bands])


def _parallel(
    casters: _Casters, places: list[NDArray], irradiance: list[NDArray], spread: list[float], size: int
) -> ParallelLights:
    axes, first = [], []
    faces = torch.from_numpy(casters.faces)
    for place in places:
        towards = place / np.linalg.norm(place)
        right = np.cross([0.0, 1.0, 0.0] if abs(towards[1]) < 0.95 else [1.0, 0.0, 0.0], towards)
        right /= np.linalg.norm(right)
        axes.append(np.stack([right, np.cross(right, towards), -towards]))
        to_map = (axes[-1] / [[_REACH], [_REACH], [1.0]]).astype(np.float32)
        in_map = (casters.seen_from(towards) - _CENTRE.astype(np.float32)) @ to_map.T
        seen = rasterize(torch.from_numpy(in_map)[None], faces, size)
        first.append(torch.where(seen.covered, seen.depth, torch.inf)[0].numpy())
    axes = np.array(axes, np.float32).reshape(-1, 3, 3)
    return ParallelLights(
        towards=-axes[:, 2],
        irradiance=np.array(irradiance, np.float32).reshape(-1, 3),
        spread=np.array(spread, np.float32),
        axes=axes,
        first=np.array(first, np.float32).reshape(-1, size, size),
    )
