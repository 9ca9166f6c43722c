# SPDX-License-Identifier: Apache-2.0
"""Hair styles as numbers: how long, which way it is combed, how it waves and holds together.

A style is chosen from ``STYLES`` by name, or follows the look continuously (:func:`natural_style`), so that a network
can learn hair from the code alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from training.synthetic.looks import Look
from training.synthetic.regions import smoothstep


@dataclass(frozen=True)
class Style:
    """Lengths are metres, amounts 0..1 unless said."""

    length: float
    """Of the hair on top."""
    sides: float = 1.0
    """Length at temples and nape as a share of ``length``."""
    parted: float = 0.0
    """How much the hair on top falls to both sides of the parting."""
    parting: float = 0.0
    """x of the parting."""
    back: float = 0.0
    """How much the hair on top is combed back."""
    fringe: float = 0.0
    """How much of the front is combed over the forehead and cut at the brows."""
    volume: float = 0.5
    """How far hair stands off before it falls."""
    wave: float = 0.0
    """Amplitude of waves, metres."""
    wavelength: float = 0.06
    coil: float = 0.0
    """0: waves swing, 1: hair curls round like a corkscrew and stands off all round."""
    clump: float = 0.6
    """How tightly locks hold together at the tip."""
    frizz: float = 0.3
    """Fly-aways and bends of single hairs."""
    layers: float = 0.25
    """How much shorter the shorter locks are."""
    rim: float = 0.0
    """1: hair grows only in a rim over the ears and at the nape."""
    stand: float = 0.0
    """How much hair stands straight off instead of lying down."""
    tie: Literal["", "ponytail", "bun"] = ""
    """Where all of the hair is gathered."""
    masculine: float = 0.5
    """Who wears it: 0 feminine faces only, 1 masculine only, 0.5 everybody."""
    share: float = 1.0
    """How common the style is among those who could wear it."""


STYLES: Mapping[str, Style] = {
    "bald": Style(0.0, masculine=0.95, share=0.8),
    "horseshoe": Style(0.018, rim=1.0, volume=0.2, clump=0.3, masculine=1.0, share=0.8),
    "buzz": Style(0.007, stand=0.25, clump=0.0, frizz=0.4, layers=0.1, masculine=0.85, share=0.6),
    "crop": Style(0.040, sides=0.45, volume=0.55, clump=0.7, layers=0.3, masculine=0.8),
    "side_part": Style(0.075, sides=0.35, parted=0.9, back=0.5, parting=0.030, volume=0.3, masculine=0.8),
    "slicked_back": Style(0.095, sides=0.5, back=1.0, volume=0.12, clump=0.9, frizz=0.1, masculine=0.75, share=0.7),
    "quiff": Style(0.065, sides=0.3, back=0.9, volume=0.9, clump=0.7, masculine=0.9, share=0.8),
    "curtains": Style(0.14, sides=0.7, parted=1.0, volume=0.6, wave=0.003, masculine=0.65, share=0.7),
    "shag": Style(0.12, fringe=0.6, volume=0.7, wave=0.004, layers=0.5, frizz=0.6, clump=0.8, share=0.8),
    "bob": Style(0.20, parted=1.0, parting=0.02, volume=0.55, layers=0.06, frizz=0.15, masculine=0.08),
    "bob_fringe": Style(0.20, fringe=1.0, volume=0.5, layers=0.06, frizz=0.15, masculine=0.08, share=0.7),
    "long_straight": Style(0.40, parted=0.9, parting=0.03, volume=0.45, frizz=0.2, masculine=0.15),
    "long_middle": Style(0.42, parted=1.0, volume=0.3, frizz=0.2, masculine=0.15),
    "long_wavy": Style(
        0.38, parted=0.9, parting=-0.02, volume=0.7, wave=0.011, wavelength=0.085, clump=0.9, masculine=0.15
    ),
    "long_fringe": Style(0.38, fringe=1.0, volume=0.5, wave=0.002, masculine=0.05, share=0.7),
    "curly": Style(
        0.17, parted=0.5, volume=0.9, wave=0.009, wavelength=0.036, coil=0.8, clump=1.0, frizz=0.5, stand=0.1
    ),
    "short_curls": Style(
        0.07, sides=0.5, volume=0.9, wave=0.006, wavelength=0.024, coil=0.8, clump=0.9, stand=0.45, masculine=0.7
    ),
    "afro": Style(0.062, volume=1.0, wave=0.003, wavelength=0.011, coil=1.0, clump=0.25, frizz=1.0, stand=1.0),
    "ponytail": Style(0.36, back=1.0, volume=0.15, frizz=0.3, tie="ponytail", masculine=0.12),
    "bun": Style(0.30, back=1.0, volume=0.15, frizz=0.35, tie="bun", masculine=0.12, share=0.8),
}
"""Styles by name. ``bald`` has no hair at all."""


def likely_styles(look: Look) -> dict[str, float]:
    """How probable each style of ``STYLES`` is for somebody with this look; sums to 1."""
    weights = {name: style.share * _suits(style, look) for name, style in STYLES.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _suits(style: Style, look: Look) -> float:
    """0..1 by sex, length and wave."""
    lean = style.masculine - 0.5
    who = float(expit(9.0 * lean * (2 * look.masculinity - 1)))
    wanted, length = np.log(max(look.hair_length, 0.004)), np.log(max(style.length * 0.75, 0.004))
    how_long = np.exp(-0.5 * ((wanted - length) / 0.8) ** 2)
    curls = style.coil if style.coil else 0.5 * style.wave / 0.009
    how_wavy = np.exp(-0.5 * ((look.wave - curls) / 0.33) ** 2)
    if style.length < 0.02:
        how_wavy = 0.6
    if style.rim:
        how_long, how_wavy = look.recession**2, 1.0
    elif style.length == 0.0:
        how_long, how_wavy = 0.1 * how_long + 0.9 * look.recession**1.5, 1.0
    return who * float(how_long * how_wavy) + 1e-4 * who


def worn(name: str, look: Look) -> Style:
    """The style of this name as somebody with this look wears it."""
    style = STYLES[name]
    side = float(np.tanh(look.parting / 0.01))
    return replace(
        style,
        parting=style.parting * side,
        volume=float(np.clip(style.volume + 0.3 * (look.hair_volume - 0.5), 0.05, 1.0)),
        wave=style.wave * (0.7 + 0.6 * look.wave) + 0.0015 * look.wave * (style.length > 0.05),
    )


def natural_style(look: Look) -> Style:
    """The style that follows the look alone: a smooth function of it."""
    length = look.hair_length
    short = 1 - float(smoothstep(0.05, 0.12, np.array(length)))
    swept = 1 - look.fringe
    return Style(
        length=length,
        sides=1 - 0.55 * short,
        parted=swept * (0.35 + 0.65 * (1 - short)),
        parting=look.parting,
        back=swept * (0.3 + 0.7 * short),
        fringe=float(smoothstep(0.15, 0.6, np.array(look.fringe))),
        volume=look.hair_volume,
        wave=0.0008 + 0.0075 * look.wave**1.5,
        wavelength=0.075 - 0.048 * look.wave,
        coil=look.wave**2,
        clump=0.55 + 0.3 * look.wave,
        frizz=0.25 + 0.4 * look.wave,
        layers=0.25,
        stand=0.5 * float(smoothstep(0.03, 0.005, np.array(length))) + 0.5 * look.wave**3,
    )


def scalp_shade(style: str | None, look: Look) -> float:
    """How dark the scalp is painted where hair grows, 0 (skin) .. 1 (the colour of hair).

    Between long hair the scalp shows at the parting; under a buzz cut the stubble is most of the colour; a shaven head
    keeps a shadow.
    """
    if style == "bald":
        return 0.05 + 0.10 * look.masculinity * (1 - look.recession)
    if style is not None and STYLES[style].rim:
        return 0.15
    length = look.hair_length if style is None else STYLES[style].length
    return float(0.80 - 0.40 * smoothstep(0.010, 0.060, np.array(length)))


def colours(look: Look, chance: NDArray, grey: NDArray) -> tuple[NDArray, NDArray]:
    """Root and tip colours [n, 3] of single hairs.

    Args:
        look: The person's look.
        chance: [n] standard normals, lightness of each hair.
        grey: [n] uniform 0..1, which hairs turn grey first.
    """
    light = np.exp(0.22 * chance)[:, None]
    share = 0.35 * float(smoothstep(0.02, 0.5, np.array(look.recession)))
    white = 0.5 * smoothstep(share + 0.02, share - 0.02, grey)[:, None]
    hair = look.hair * light
    hair = hair + (0.42 - hair) * white
    root = hair * 0.72
    tip = hair * np.array([1.25, 1.17, 1.08])
    return np.clip(root, 0, 1), np.clip(tip, 0, 1)
