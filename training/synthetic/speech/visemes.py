# SPDX-License-Identifier: Apache-2.0
"""What the mouth of each sound looks like: classes of phonemes, and their goals in the 52 actions.

The classes are the usual ones of lip readers (Fisher 1968), with vowels by height and rounding. The numbers are ours,
found by looking at the face model: jawOpen 1 parts its lips by 34 mm, an open vowel by 12 to 15 mm.

An action without Left or Right at its end stands for both sides. Actions belong to an articulator; ``strength`` says
how much each articulator matters to the sound (alpha of Cohen and Massaro 1993): a /k/ leaves the lips to its
neighbours, so that they are round in "cool" and spread in "keen".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .phonemes import PAUSE

ARTICULATORS: dict[str, tuple[str, ...]] = {
    "jaw": ("jawOpen",),
    "rounding": ("mouthPucker", "mouthFunnel"),
    "corners": ("mouthStretch", "mouthSmile"),
    "lips": ("mouthUpperUp", "mouthLowerDown"),
    "tongue": ("tongueOut",),
}


@dataclass(frozen=True)
class Viseme:
    """The goals of one class of sounds."""

    name: str
    symbols: str
    """IPA letters."""
    goals: Mapping[str, float]
    """Value of each action in a stressed syllable of ordinary loudness; actions that are not named have the goal 0."""
    strength: Mapping[str, float] = field(default_factory=dict)
    """How much each articulator matters, 1 unless named."""
    lips_closed: float = 0.0
    """1: the lips must meet (p b m); between: they come near (Spanish soft b)."""
    lip_to_teeth: float = 0.0
    """1: the lower lip must meet the upper teeth (f v)."""


BILABIALS = "pbm"
"""Sounds at which the lips must meet."""
SHARE = 0.2
"""Of the vowels' opening, below which lips count as closed."""

_PASSIVE = {"rounding": 0.08, "corners": 0.25, "lips": 0.4}

VISEMES: tuple[Viseme, ...] = (
    Viseme("open", "aɑɐʌɶ", {"jawOpen": 0.38, "mouthLowerDown": 0.15, "mouthUpperUp": 0.06}),
    Viseme("open front", "æ", {"jawOpen": 0.33, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1, "mouthStretch": 0.25}),
    Viseme("open-mid front", "ɛ", {"jawOpen": 0.26, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1, "mouthStretch": 0.2}),
    Viseme(
        "close-mid front",
        "e",
        {"jawOpen": 0.2, "mouthLowerDown": 0.22, "mouthUpperUp": 0.1, "mouthStretch": 0.25, "mouthSmile": 0.12},
    ),
    Viseme(
        "close front",
        "iɪ",
        {"jawOpen": 0.13, "mouthLowerDown": 0.28, "mouthUpperUp": 0.14, "mouthStretch": 0.28, "mouthSmile": 0.2},
    ),
    Viseme(
        "central",
        "əɜɚɨɯᵻɘɤɞ",
        {"jawOpen": 0.2, "mouthLowerDown": 0.15, "mouthUpperUp": 0.05},
        {"jaw": 0.8, "rounding": 0.3, "corners": 0.4, "lips": 0.6},
    ),
    Viseme("open back rounded", "ɒɔ", {"jawOpen": 0.3, "mouthFunnel": 0.18, "mouthPucker": 0.35}),
    Viseme("mid back rounded", "oɵ", {"jawOpen": 0.2, "mouthFunnel": 0.2, "mouthPucker": 0.6}),
    Viseme("close back rounded", "uʊʉ", {"jawOpen": 0.1, "mouthFunnel": 0.16, "mouthPucker": 0.85}),
    Viseme("close front rounded", "yʏɥ", {"jawOpen": 0.1, "mouthFunnel": 0.16, "mouthPucker": 0.8}),
    Viseme("mid front rounded", "øœ", {"jawOpen": 0.2, "mouthFunnel": 0.22, "mouthPucker": 0.5}),
    Viseme("w", "wʍ", {"jawOpen": 0.07, "mouthFunnel": 0.08, "mouthPucker": 0.95}, {"rounding": 1.5}),
    Viseme("bilabial", "pbm", {"jawOpen": 0.1}, {"jaw": 0.4, **_PASSIVE}, lips_closed=1.0),
    Viseme("soft bilabial", "βɸ", {"jawOpen": 0.1}, {"jaw": 0.4, **_PASSIVE}, lips_closed=0.75),
    Viseme("labiodental", "fvʋ", {"jawOpen": 0.1}, {"jaw": 0.7, **_PASSIVE}, lip_to_teeth=1.0),
    Viseme(
        "dental",
        "θð",
        {"jawOpen": 0.13, "tongueOut": 0.28, "mouthLowerDown": 0.15, "mouthUpperUp": 0.1},
        {"rounding": 0.15, "corners": 0.3, "tongue": 3.0},
    ),
    Viseme(
        "sibilant",
        "sz",
        {"jawOpen": 0.06, "mouthLowerDown": 0.3, "mouthUpperUp": 0.15, "mouthStretch": 0.22},
        {"jaw": 1.8, "rounding": 0.15, "corners": 0.5},
    ),
    Viseme(
        "post-alveolar",
        "ʃʒɕʑʂʐ",
        {"jawOpen": 0.07, "mouthFunnel": 0.4, "mouthPucker": 0.4, "mouthUpperUp": 0.08},
        {"jaw": 1.8, "rounding": 0.8},
    ),
    Viseme("alveolar", "tdnlɾrɫɬʈɖɳɭɽ", {"jawOpen": 0.12, "mouthLowerDown": 0.15, "mouthUpperUp": 0.08}, _PASSIVE),
    Viseme(
        "palatal",
        "jɲʎɟʝçc",
        {"jawOpen": 0.11, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1, "mouthSmile": 0.15},
        {"rounding": 0.2, "corners": 0.5},
    ),
    Viseme("approximant r", "ɹ", {"jawOpen": 0.13, "mouthFunnel": 0.18, "mouthPucker": 0.35}, {"rounding": 0.6}),
    Viseme("back", "kɡgŋxɣʁʀχqɢɴɰ", {"jawOpen": 0.16, "mouthLowerDown": 0.1}, {"jaw": 0.5, **_PASSIVE}),
    Viseme("breath", "hɦħʕʔ", {"jawOpen": 0.2}, {"jaw": 0.15, **_PASSIVE}),
    Viseme("pause", PAUSE, {}, {"jaw": 0.8, "rounding": 0.5, "corners": 0.5, "lips": 0.8}),
)

BY_SYMBOL: dict[str, Viseme] = {symbol: viseme for viseme in VISEMES for symbol in viseme.symbols}
"""Every letter that eSpeak's voices of our languages use, and some that others do."""


def viseme_of(symbol: str) -> Viseme:
    """The class of an IPA letter; one that is not known moves nothing, as a breath."""
    return BY_SYMBOL.get(symbol, BY_SYMBOL["h"])


CLOSING: Mapping[str, float] = {
    "mouthPress": 0.2,
    "mouthShrugLower": 0.4,
    "mouthPucker": 0.3,
    "mouthRollUpper": 0.2,
}
"""What closed lips do beyond meeting: they press on each other, so that their middle line is a line.

Chosen among twenty such sets on 32 people, none of those of ``measure.py``: with it FaceMesh finds the lips of 30 of
them shut, while of lips that only meet, or roll in on both sides, it takes many for a little open.
"""

LIP_TO_TEETH: Mapping[str, float] = {"mouthRollLower": 0.4, "mouthUpperUp": 0.25}
"""What the lips do in f and v: the lower one goes in and covers the edge of the upper teeth, the upper one shows them.

As seen from the front: the lips of the face model stand 13 mm before its teeth, and no action takes them there."""
