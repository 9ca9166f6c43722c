# SPDX-License-Identifier: Apache-2.0
"""What is behind a person: rooms, streets, gardens and paper, out of focus, painted from nothing but random numbers.

Everything is drawn in coordinates that do not know the size of the picture: a backdrop is the same scene at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from training.synthetic.looks import linear_to_srgb, srgb_to_linear

_WORK = 96  # scenes are painted at this size; they are blurred far beyond it
_BRIGHTNESS = (0.02, 0.62)  # bounds of the mean, linear


@dataclass(frozen=True)
class _Canvas:
    """A linear picture [96, 96, 3] to paint on; x and y run from 0 to 1, y downwards."""

    light: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def box(self, colour: NDArray, left: float, top: float, right: float, bottom: float) -> None:
        """Paint a rectangle."""
        inside = (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)
        self.light[inside] = colour

    def disc(self, colour: NDArray, x: float, y: float, radius: float, amount: float) -> None:
        """Add a disc of light, as a point far out of focus gives."""
        edge = np.clip((radius - np.hypot(self.x - x, self.y - y)) * _WORK + 0.5, 0.0, 1.0)
        self.light[...] += amount * edge[..., None] * colour


def sample_backdrop(rng: np.random.Generator, size: int, warmth: float = 0.0) -> NDArray[np.uint8]:
    """A backdrop [size, size, 3], sRGB.

    Args:
        rng: Where the scene comes from; the size does not matter to it.
        size: Width and height in pixels.
        warmth: -1 cool .. 1 warm, the tint of the light.
    """
    y, x = (np.indices((_WORK, _WORK)) + 0.5) / _WORK
    canvas = _Canvas(np.zeros((_WORK, _WORK, 3)), x, y)
    kind = rng.choice(len(_SCENES), p=[share for _, share in _SCENES])
    blur = _SCENES[kind][0](canvas, rng)
    light = gaussian_filter(canvas.light, (blur * _WORK, blur * _WORK, 0), mode="nearest")
    light *= np.array([1 + 0.12 * warmth, 1.0, 1 - 0.16 * warmth])
    light *= np.clip(light.mean(), *_BRIGHTNESS) / light.mean()
    fine = np.asarray(zoom(light, (size / _WORK, size / _WORK, 1), order=1, mode="nearest", grid_mode=True))
    srgb = 255 * linear_to_srgb(np.clip(fine, 0.0, 1.0))
    # A grain below what an eye sees: without it smooth gradients show steps.
    grain = np.random.default_rng(int(rng.integers(2**31))).uniform(-0.5, 0.5, srgb.shape)
    return np.clip(np.rint(srgb + grain), 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, saturation: float, low: float, high: float) -> NDArray[np.float64]:
    """A linear colour whose sRGB value lies around ``low`` to ``high``: wood, sand, stone, less often blue or green."""
    hue = np.radians(rng.choice([28.0, 40.0, 210.0, 120.0, 350.0], p=[0.38, 0.26, 0.2, 0.1, 0.06]) + rng.normal(0, 14))
    wheel = np.cos(hue - np.radians([0.0, 120.0, 240.0]))
    return srgb_to_linear(np.clip(rng.uniform(low, high) * (1 + saturation * rng.random() * wheel), 0, 1))


def _clouds(rng: np.random.Generator, cells: int) -> NDArray[np.float64]:
    """A smooth random field [96, 96] around 0 with about ``cells`` patches across."""
    coarse = rng.standard_normal((cells + 3, cells + 3))
    fine = zoom(coarse, _WORK / (cells + 3), order=3, mode="nearest", grid_mode=True)
    return np.asarray(fine)[:_WORK, :_WORK]


def _paper(canvas: _Canvas, rng: np.random.Generator) -> float:
    """A photographer's paper or a plain wall, lit from one side."""
    colour = _colour(rng, 0.25, 0.25, 0.9)
    turn = rng.uniform(0, 2 * np.pi)
    slope = np.cos(turn) * (canvas.x - 0.5) + np.sin(turn) * (canvas.y - 0.5)
    spot = np.exp(-((canvas.x - rng.uniform(0.3, 0.7)) ** 2 + (canvas.y - rng.uniform(0.3, 0.7)) ** 2) / 0.25)
    shade = 1 + rng.uniform(0.1, 0.7) * slope + rng.uniform(0.0, 0.5) * (spot - 0.5)
    canvas.light[...] = colour * np.clip(shade + 0.03 * _clouds(rng, 4), 0.15, 2.0)[..., None]
    return 0.05


def _room(canvas: _Canvas, rng: np.random.Generator) -> float:
    """A wall with furniture, pictures or shelves, perhaps a window or a lamp."""
    canvas.light[...] = _colour(rng, 0.2, 0.35, 0.8) * (1 + 0.3 * rng.uniform(-1, 1) * (canvas.x - 0.5))[..., None]
    corner = rng.uniform(-0.2, 1.2)
    canvas.light[canvas.x > corner] *= rng.uniform(0.55, 0.9)
    for _ in range(rng.integers(1, 5)):  # furniture and pictures
        left, top = rng.uniform(-0.2, 0.9), rng.uniform(0.0, 0.9)
        canvas.box(_colour(rng, 0.45, 0.1, 0.7), left, top, left + rng.uniform(0.1, 0.5), top + rng.uniform(0.08, 0.5))
    if rng.random() < 0.4:  # a shelf of books
        left, top, height = rng.uniform(-0.1, 0.6), rng.uniform(0.0, 0.5), rng.uniform(0.12, 0.2)
        for row in range(rng.integers(1, 4)):
            edge = left
            while edge < left + 0.5:
                width = rng.uniform(0.015, 0.05)
                canvas.box(
                    _colour(rng, 0.6, 0.1, 0.7), edge, top + row * height, edge + width, top + (row + 0.85) * height
                )
                edge += width
    if rng.random() < 0.45:  # a window
        left, top = rng.uniform(-0.1, 0.8), rng.uniform(-0.1, 0.2)
        right, bottom = left + rng.uniform(0.15, 0.4), top + rng.uniform(0.3, 0.7)
        canvas.box(np.array([0.85, 0.95, 1.05]) * rng.uniform(0.7, 1.5), left, top, right, bottom)
        middle = (left + right) / 2
        canvas.box(_colour(rng, 0.1, 0.4, 0.8), middle - 0.012, top, middle + 0.012, bottom)
    if rng.random() < 0.4:  # a lamp
        x, y = rng.uniform(0, 1), rng.uniform(0, 0.6)
        for radius, amount in ((0.06, 1.2), (0.09, 0.5)):
            canvas.disc(np.array([1.0, 0.75, 0.42]), x, y, radius, amount)
    return float(rng.uniform(0.012, 0.045))


def _garden(canvas: _Canvas, rng: np.random.Generator) -> float:
    """Leaves with the sky between them, over grass or ground."""
    leaf = srgb_to_linear(np.array([rng.uniform(0.26, 0.46), rng.uniform(0.34, 0.46), rng.uniform(0.16, 0.28)]))
    sky = np.array([0.72, 0.83, 1.0]) * rng.uniform(0.6, 1.0)
    mottled = np.exp(0.55 * _clouds(rng, 14) + 0.35 * _clouds(rng, 5))
    canvas.light[...] = leaf * mottled[..., None]
    gaps = 1 / (1 + np.exp(-6 * (_clouds(rng, 9) + 0.6 * _clouds(rng, 3) - 4 * (canvas.y - rng.uniform(0.0, 0.5)))))
    canvas.light[...] += gaps[..., None] * (sky - canvas.light)
    ground = rng.uniform(0.55, 1.1)
    below = 1 / (1 + np.exp(-60 * (canvas.y - ground + 0.03 * _clouds(rng, 3))))
    earth = _colour(rng, 0.15, 0.3, 0.55) * np.array([1.05, 1.0, 0.75]) * np.exp(0.2 * _clouds(rng, 8))[..., None]
    canvas.light[...] += below[..., None] * (earth - canvas.light)
    return float(rng.uniform(0.012, 0.035))


def _street(canvas: _Canvas, rng: np.random.Generator) -> float:
    """Sky and houses with rows of windows."""
    canvas.light[...] = np.array([0.62, 0.72, 0.85]) * rng.uniform(0.6, 1.1) * (1.1 - 0.4 * canvas.y)[..., None]
    edge = -0.1
    while edge < 1.0:
        width, top = rng.uniform(0.15, 0.45), rng.uniform(-0.2, 0.45)
        wall = _colour(rng, 0.25, 0.25, 0.7)
        canvas.box(wall, edge, top, edge + width, 1.0)
        pane, step = wall * rng.uniform(0.25, 0.6), rng.uniform(0.07, 0.12)
        for y in np.arange(top + 0.04, 0.85, step):
            for x in np.arange(edge + 0.02, edge + width - 0.03, step * 0.8):
                canvas.box(pane, x, y, x + 0.4 * step, y + 0.6 * step)
        edge += width
    canvas.box(_colour(rng, 0.1, 0.3, 0.5), 0, rng.uniform(0.75, 1.05), 1, 1)
    return float(rng.uniform(0.02, 0.045))


def _evening(canvas: _Canvas, rng: np.random.Generator) -> float:
    """Lights in the dusk as large soft discs."""
    canvas.light[...] = _colour(rng, 0.5, 0.12, 0.32) * (1 + 0.4 * _clouds(rng, 3))[..., None].clip(0.4, 2)
    for _ in range(rng.integers(10, 34)):
        warm = np.array([1.0, rng.uniform(0.45, 0.95), rng.uniform(0.1, 0.9)])
        canvas.disc(warm, rng.random(), rng.random() ** 0.8, rng.uniform(0.018, 0.07), rng.uniform(0.05, 0.5))
    return 0.008


_SCENES: tuple[tuple[Callable[[_Canvas, np.random.Generator], float], float], ...] = (
    (_paper, 0.26),
    (_room, 0.34),
    (_garden, 0.20),
    (_street, 0.12),
    (_evening, 0.08),
)
