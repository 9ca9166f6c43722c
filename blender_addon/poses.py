# SPDX-License-Identifier: GPL-3.0-or-later
"""The library of poses: expressions with names, and the mouths of speech, as strengths of the facial actions. Pure.

A name without Left or Right stands for both sides. Values were chosen by eye on the rig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .expressions import GROUPS, NAMES, both_sides

MOUTH = frozenset((*GROUPS["Jaw"], *GROUPS["Mouth"], *GROUPS["Tongue"], "cheekPuff"))
"""What a mouth of speech sets; brows and eyes are left as they are."""


@dataclass(frozen=True)
class Pose:
    """A named combination of actions."""

    name: str
    actions: Mapping[str, float]
    """Strengths by action; what is not named is 0."""
    region: frozenset[str] = frozenset(NAMES)
    """The actions that the pose sets."""

    def applied(self, shown: Mapping[str, float], strength: float = 1.0, add: bool = False) -> dict[str, float]:
        """Return the sliders that the pose changes, with their new values.

        Args:
            shown: the present values, by name.
            strength: 0 changes nothing, 1 is the pose.
            add: put the pose on top of what the face shows, instead of in its place.
        """
        result = {}
        for name, now in shown.items():
            goal = self.actions.get(name, 0.0)
            new = min(now + strength * goal, max(now, 1.0)) if add else now + strength * (goal - now)
            if name in self.region and new != now:
                result[name] = new
        return result


EXPRESSIONS: dict[str, dict[str, float]] = {
    "Neutral": {},
    "Smile": {"mouthSmile": 0.7, "cheekSquint": 0.35, "eyeSquint": 0.2, "mouthDimple": 0.15},
    "Laugh": {
        **{"mouthSmile": 0.9, "jawOpen": 0.4, "mouthUpperUp": 0.35, "mouthLowerDown": 0.3, "cheekSquint": 0.6},
        **{"eyeSquint": 0.5, "eyeBlink": 0.25, "browInnerUp": 0.15, "browOuterUp": 0.1},
    },
    "Surprise": {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.45, "mouthFunnel": 0.15},
    "Anger": {
        **{"browDown": 0.9, "eyeSquint": 0.45, "noseSneer": 0.45, "mouthPress": 0.5, "mouthFrown": 0.35},
        **{"jawForward": 0.15},
    },
    "Sadness": {
        **{"browInnerUp": 0.75, "mouthFrown": 0.6, "mouthShrugLower": 0.35, "mouthRollLower": 0.1},
        **{"eyeBlink": 0.15, "eyeLookDown": 0.25},
    },
    "Disgust": {
        **{"noseSneer": 0.8, "mouthUpperUp": 0.45, "browDown": 0.5, "eyeSquint": 0.4, "mouthFrown": 0.3},
        **{"cheekSquint": 0.3},
    },
    "Fear": {
        **{"browInnerUp": 0.85, "browOuterUp": 0.4, "browDown": 0.2, "eyeWide": 0.8, "mouthStretch": 0.55},
        **{"jawOpen": 0.2},
    },
    "Contempt": {
        **{"mouthSmileRight": 0.35, "mouthDimpleRight": 0.5, "mouthPressRight": 0.3, "eyeSquintRight": 0.15},
        **{"eyeBlink": 0.1},
    },
    "Wink left": {
        **{"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.5, "eyeSquintLeft": 0.4, "mouthSmileLeft": 0.4},
        **{"browDownLeft": 0.15},
    },
    "Wink right": {
        **{"eyeBlinkRight": 1.0, "cheekSquintRight": 0.5, "eyeSquintRight": 0.4, "mouthSmileRight": 0.4},
        **{"browDownRight": 0.15},
    },
    "Kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.15, "cheekSquint": 0.1, "eyeBlink": 0.3},
    "Blink": {"eyeBlink": 1.0},
    "Sleepy": {"eyeBlink": 0.55, "eyeLookDown": 0.15, "browInnerUp": 0.15, "jawOpen": 0.08, "mouthFrown": 0.1},
    "Thinking": {
        **{"eyeLookUp": 0.5, "eyeLookOutLeft": 0.35, "eyeLookInRight": 0.35, "browDownRight": 0.4},
        **{"browOuterUpLeft": 0.4, "mouthLeft": 0.25, "mouthPress": 0.25, "mouthPucker": 0.15},
    },
}
MOUTHS: dict[str, dict[str, float]] = {
    "Rest": {},
    "A (father)": {"jawOpen": 0.45, "mouthLowerDown": 0.15, "mouthUpperUp": 0.08},
    "E (bed)": {"jawOpen": 0.26, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1, "mouthStretch": 0.2},
    "I (see)": {
        **{"jawOpen": 0.12, "mouthLowerDown": 0.26, "mouthUpperUp": 0.14, "mouthStretch": 0.28},
        **{"mouthSmile": 0.2},
    },
    "O (more)": {"jawOpen": 0.3, "mouthFunnel": 0.3, "mouthPucker": 0.4},
    "U (you)": {"jawOpen": 0.1, "mouthFunnel": 0.16, "mouthPucker": 0.85},
    "M B P": {
        **{"jawOpen": 0.08, "mouthClose": 0.08, "mouthPress": 0.35, "mouthRollLower": 0.2},
        **{"mouthRollUpper": 0.15},
    },
    "F V": {"jawOpen": 0.1, "mouthRollLower": 0.5, "mouthUpperUp": 0.25, "mouthShrugLower": 0.15},
    "Th": {"jawOpen": 0.13, "tongueOut": 0.28, "mouthLowerDown": 0.15, "mouthUpperUp": 0.1},
    "T D N L": {"jawOpen": 0.12, "mouthLowerDown": 0.15, "mouthUpperUp": 0.08},
    "S Z": {"jawOpen": 0.06, "mouthLowerDown": 0.3, "mouthUpperUp": 0.15, "mouthStretch": 0.22},
    "Sh Ch": {"jawOpen": 0.07, "mouthFunnel": 0.4, "mouthPucker": 0.4, "mouthUpperUp": 0.08},
    "K G": {"jawOpen": 0.18, "mouthLowerDown": 0.1},
    "R": {"jawOpen": 0.13, "mouthFunnel": 0.2, "mouthPucker": 0.35},
    "W": {"jawOpen": 0.07, "mouthFunnel": 0.1, "mouthPucker": 0.95},
}


def _sides(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for stem, value in values.items() for name in both_sides(stem)}


LIBRARY: dict[str, Pose] = {
    **{name.upper().replace(" ", "_"): Pose(name, _sides(values)) for name, values in EXPRESSIONS.items()},
    **{
        f"MOUTH_{name.split(' (')[0].upper().replace(' ', '')}": Pose(f"Mouth {name}", _sides(values), MOUTH)
        for name, values in MOUTHS.items()
    },
}
"""All poses, by the identifier that scripts use: "WINK_LEFT", "MOUTH_MBP"."""

ITEMS = [(identifier, pose.name, "") for identifier, pose in LIBRARY.items()]
"""The same as Blender's menus want it."""

NUMBERS = {identifier: number for number, identifier in enumerate(LIBRARY)}
"""Their numbers in a menu that has others, too."""
