# SPDX-License-Identifier: GPL-3.0-or-later
"""The 52 facial actions (ARKit's names) in the groups that the panel shows. Pure."""

from __future__ import annotations

import re

_SIDES = ("Left", "Right")


def _both(*stems: str) -> tuple[str, ...]:
    return tuple(stem + side for stem in stems for side in _SIDES)


GROUPS: dict[str, tuple[str, ...]] = {
    "Brows": ("browInnerUp", *_both("browDown", "browOuterUp")),
    "Eyes": _both("eyeBlink", "eyeWide", "eyeSquint", "eyeLookUp", "eyeLookDown", "eyeLookIn", "eyeLookOut"),
    "Jaw": ("jawOpen", "jawForward", "jawLeft", "jawRight"),
    "Mouth": (
        *("mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
        *_both("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress"),
        *_both("mouthLowerDown", "mouthUpperUp"),
        *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    ),
    "Cheeks and nose": ("cheekPuff", *_both("cheekSquint", "noseSneer")),
    "Tongue": ("tongueOut",),
}

NAMES: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)


def both_sides(stem: str) -> tuple[str, ...]:
    """Return the actions that a name without Left or Right stands for; an action's own name stands for itself."""
    return (stem,) if stem in NAMES else _both(stem)


def label(name: str) -> str:
    """Return an action's name as the panel writes it: "mouthSmileLeft" -> "Mouth Smile Left"."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", name)
    return words[:1].upper() + words[1:]


def matching(search: str) -> dict[str, tuple[str, ...]]:
    """Return the groups with only the actions whose label holds every word of `search`; empty groups are left out."""
    words = search.lower().split()
    found = {
        group: tuple(name for name in names if all(word in label(name).lower() for word in words))
        for group, names in GROUPS.items()
    }
    return {group: names for group, names in found.items() if names}
