# SPDX-License-Identifier: Apache-2.0
"""What makes strands look like hair: they hold together in locks of several sizes, wave, and stray.

Strands are drawn towards guide strands, more so towards the tip, in a hierarchy of clumps (after Choe & Ko 2005, "A
statistical wisp model"). Who belongs to which lock and all chance are the same for all people.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neural_core.human.surfaces import unit
from training.synthetic.hair_styles import Style
from training.synthetic.regions import smoothstep

_SIZES = (90, 420, 2000)  # locks on a whole head, from the largest to the smallest
_HOLD = (0.30, 0.60, 0.75)  # how tightly each kind holds together
_REACH = (0.10, 0.055, 0.03)  # metres from the root at which it mostly does
_FLY_AWAYS = 0.05  # share of strands


class Locks:
    """Locks over strands that grow at ``places`` [n, 3].

    Attributes:
        layer: [n] 0..1, whether the strand's lock lies deep or on top.
        shorter: [n] 0..1, how much shorter the strand is within the style's ``layers``.
        bend: [n, 3] which way the locks bend away from the combed direction, about 1.
        light: [n] about normal, lightness of each strand.
        chance: [n] uniform 0..1.
    """

    def __init__(self, places: NDArray, rng: np.random.Generator) -> None:
        count = len(places)
        self._guides: list[NDArray] = []
        for size in _SIZES:
            chosen = rng.choice(count, min(size, count), replace=False)
            wobbly = places + 0.003 * np.sin(places @ rng.normal(0, 300.0, (3, 3)))
            self._guides.append(chosen[KDTree(wobbly[chosen]).query(wobbly)[1]])
        large, middle, small = self._guides
        uniform, normal = rng.random((4, count)), rng.standard_normal((5, count, 3))
        self.chance = rng.random(count)
        self.layer = np.clip(0.25 * uniform[0][large] + 0.35 * uniform[0][middle] + 0.4 * uniform[0], 0, 1)
        self.shorter = 0.55 * uniform[1][middle] + 0.25 * uniform[1][small] + 0.2 * uniform[1]
        bend = 0.7 * normal[0][large] + 0.6 * normal[0][middle] + 0.35 * normal[0][small] + 0.2 * normal[1]
        self.bend = 1.5 * np.tanh(bend / 1.5)
        self.light = 0.45 * normal[2][middle, 0] + 0.5 * normal[2][small, 0] + 0.75 * normal[2][:, 0]
        self._phase = 2 * np.pi * (0.6 * uniform[2][large] + 0.4 * uniform[2][middle] + 0.08 * uniform[2][small])
        self._turns = 1 + 0.18 * (uniform[3][middle] - 0.5) + 0.04 * (uniform[3] - 0.5)
        self._stray = normal[3:5]
        self._stray_phase = 2 * np.pi * rng.random((2, count))
        self._flies = smoothstep(1 - 2 * _FLY_AWAYS, 1.0, rng.random(count))

    def gather(self, strands: NDArray, lengths: NDArray, style: Style) -> NDArray:
        """Strands [n, p, 3] of ``lengths`` [n] drawn together."""
        arc = np.linspace(0, 1, strands.shape[1])[None, :] * lengths[:, None]
        early = max(1, strands.shape[1] // 3)
        heading = unit(strands[:, early] - strands[:, 0])
        loose = 1 - 0.85 * self._flies
        for guide, hold, reach in zip(self._guides, _HOLD, _REACH, strict=True):
            alike = smoothstep(0.2, 0.85, (heading * heading[guide]).sum(1))
            alike = alike * np.exp(-(((lengths[guide] - lengths) / (0.35 * lengths + 1e-3)) ** 2)) * loose
            reach = np.minimum(reach, 0.6 * lengths + 1e-3)[:, None]
            hold = hold + (0.9 - hold) * style.coil * (1 - style.stand)  # ringlets hold together
            pull = (alike * hold * style.clump)[:, None] * (1 - np.exp(-((arc / reach) ** 1.5)))
            offset = strands[:, :1] - strands[guide, :1]
            strands = strands + (strands[guide] + 0.12 * offset - strands) * pull[..., None]
        return strands

    def wave(self, strands: NDArray, lengths: NDArray, style: Style) -> NDArray:
        """Strands swung or coiled around their paths, and bent by frizz."""
        arc = np.linspace(0, 1, strands.shape[1])[None, :] * lengths[:, None]
        along = unit(np.gradient(strands, axis=1))
        middle = np.array([0.0, 0.0, -0.02]) + np.array([0.0, 1.0, 0.0]) * np.clip(strands[..., 1:2], -0.4, 0.05)
        out = unit(strands - middle)
        across = unit(np.cross(along, out))
        out = np.cross(across, along)
        # The turns tighten a little towards the tip; the phase belongs to the lock.
        tightening = arc * (1 + 0.6 * arc)
        turns = 2 * np.pi * tightening / style.wavelength * self._turns[:, None] + self._phase[:, None]
        size = style.wave * np.tanh(arc / (0.9 * style.wavelength))
        swing = np.sin(turns) - np.sin(self._phase[:, None]) * np.exp(-arc / 0.02)
        lean = np.cos(turns) - np.cos(self._phase[:, None]) * np.exp(-arc / 0.02)
        strands = strands + size[..., None] * (
            across * swing[..., None] + (0.35 + 0.65 * style.coil) * out * lean[..., None]
        )
        return strands + self._frizz(arc, style)

    def _frizz(self, arc: NDArray, style: Style) -> NDArray:
        """Smooth bends of every single hair [n, p, 3], larger towards the tip."""
        amount = (0.0032 * style.frizz * (0.35 + 4.0 * self._flies))[:, None] * np.tanh(arc / 0.12)
        amount = amount + 0.0012 * style.frizz * style.coil * np.tanh(arc / 0.01)
        periods = (0.050 - 0.036 * style.coil * style.frizz, 0.019 - 0.011 * style.coil * style.frizz)
        bends = np.zeros((*arc.shape, 3))
        for direction, phase, period, share in zip(self._stray, self._stray_phase, periods, (1.0, 0.4), strict=True):
            wiggle = np.sin(2 * np.pi * arc / period + phase[:, None]) - np.sin(phase)[:, None]
            bends = bends + share * wiggle[..., None] * direction[:, None]
        return amount[..., None] * bends
