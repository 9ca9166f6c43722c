# SPDX-License-Identifier: Apache-2.0
"""What faces do: natural combinations of the 52 actions, gaze, neck and shoulders.

An expression is one of ``EXPRESSIONS`` (now and then the brows of one with the mouth of another), at some strength,
never quite symmetric. ``possible`` then takes out what no face can do at once. The eyeLook actions of the face model
move the lids with the eyes, so that gaze needs nothing else.

``sample_expression`` draws what photos show, where mouths are mostly shut and eyes open; ``sample_lively`` draws what a
network that animates faces has to see, where nothing is rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from training.synthetic.figure import Pose

Range = tuple[float, float]

EXPRESSIONS: dict[str, dict[str, Range]] = {
    "smile": {"mouthSmile": (0.5, 1), "cheekSquint": (0.2, 0.7), "eyeSquint": (0.1, 0.5), "mouthDimple": (0, 0.4)},
    "laugh": {
        **{"mouthSmile": (0.6, 1), "cheekSquint": (0.4, 0.9), "eyeSquint": (0.2, 0.7), "jawOpen": (0.15, 0.5)},
        **{"mouthUpperUp": (0.1, 0.5), "mouthLowerDown": (0.1, 0.5), "browInnerUp": (0, 0.3)},
    },
    "interest": {"browInnerUp": (0.2, 0.8), "browOuterUp": (0.3, 1), "eyeWide": (0, 0.4), "mouthSmile": (0, 0.4)},
    "surprise": {
        **{"browInnerUp": (0.6, 1), "browOuterUp": (0.5, 1), "eyeWide": (0.5, 1), "jawOpen": (0.2, 0.7)},
        "mouthFunnel": (0, 0.3),
    },
    "sad": {
        **{"browInnerUp": (0.4, 1), "mouthFrown": (0.4, 1), "mouthShrugLower": (0.1, 0.6), "eyeBlink": (0, 0.3)},
        "browDown": (0, 0.3),
    },
    "angry": {
        **{"browDown": (0.6, 1), "eyeSquint": (0.2, 0.7), "noseSneer": (0.1, 0.5), "mouthPress": (0.2, 0.8)},
        **{"jawForward": (0, 0.4), "mouthFrown": (0, 0.4)},
    },
    "disgust": {
        **{"noseSneer": (0.6, 1), "mouthUpperUp": (0.4, 1), "browDown": (0.3, 0.8), "eyeSquint": (0.3, 0.8)},
        **{"mouthFrown": (0, 0.4), "cheekSquint": (0.2, 0.6)},
    },
    "fear": {
        **{"browInnerUp": (0.6, 1), "browDown": (0, 0.4), "eyeWide": (0.5, 1), "mouthStretch": (0.4, 1)},
        **{"jawOpen": (0.05, 0.4), "mouthLowerDown": (0, 0.4)},
    },
    "sceptical": {"browDown": (0, 0.4), "mouthPress": (0, 0.5), "mouthFrown": (0.1, 0.5), "mouthShrugUpper": (0, 0.5)},
    "kiss": {"mouthPucker": (0.6, 1), "mouthFunnel": (0, 0.3), "eyeSquint": (0, 0.3)},
    "tight": {
        **{"mouthRollLower": (0.2, 0.8), "mouthRollUpper": (0.2, 0.8), "mouthPress": (0.2, 0.8)},
        "mouthDimple": (0, 0.4),
    },
    "puffed": {"cheekPuff": (0.5, 1), "mouthPress": (0.1, 0.4), "mouthPucker": (0, 0.3)},
    "yawn": {"jawOpen": (0.7, 1), "eyeBlink": (0.4, 0.9), "eyeSquint": (0, 0.4), "browInnerUp": (0, 0.5)},
    "tongue": {"tongueOut": (0.5, 1), "jawOpen": (0.3, 0.6), "mouthLowerDown": (0, 0.3), "mouthSmile": (0, 0.3)},
    "chew": {"jawOpen": (0.3, 0.7), "mouthClose": (0.3, 0.7), "mouthPress": (0, 0.2)},
    "focus": {"browDown": (0.2, 0.7), "eyeSquint": (0.1, 0.6), "mouthPress": (0, 0.3)},
}
"""Ranges of the actions at full strength; names without Left or Right stand for both sides."""

_OFTEN = {"smile": 4, "laugh": 2, "interest": 2}  # the others 1

SPEECH: dict[str, dict[str, Range]] = {
    "ah": {"jawOpen": (0.3, 0.7), "mouthLowerDown": (0.1, 0.4), "mouthUpperUp": (0, 0.3)},
    "ee": {"jawOpen": (0.08, 0.25), "mouthStretch": (0.2, 0.6), "mouthSmile": (0.05, 0.3), "mouthLowerDown": (0, 0.4)},
    "oh": {"jawOpen": (0.2, 0.5), "mouthFunnel": (0.4, 0.9)},
    "oo": {"jawOpen": (0.05, 0.25), "mouthPucker": (0.5, 0.95), "mouthFunnel": (0, 0.3)},
    "m": {"jawOpen": (0.02, 0.1), "mouthClose": (0.02, 0.1), "mouthPress": (0.2, 0.6), "mouthRollLower": (0, 0.3)},
    "f": {"jawOpen": (0.03, 0.12), "mouthRollLower": (0.3, 0.7), "mouthUpperUp": (0.1, 0.35)},
    "s": {"jawOpen": (0.02, 0.1), "mouthStretch": (0.1, 0.4), "mouthLowerDown": (0.1, 0.4), "mouthUpperUp": (0, 0.2)},
    "l": {"jawOpen": (0.15, 0.35), "tongueOut": (0.0, 0.15), "mouthLowerDown": (0, 0.3)},
}
"""Mouths of people who talk."""

_NEUTRAL_SHARE, _SPEECH_SHARE, _MIXED_SHARE = 0.15, 0.25, 0.2
_CLOSED_SHARE, _WINK_SHARE, _SHRUG_SHARE = 0.05, 0.03, 0.06
# Of lively faces: how often one begins at rest, an added action has one side, the jaw falls, the lids are anywhere, and
# one lid alone is.
_LIVELY_REST, _LIVELY_ONE_SIDED, _LIVELY_JAW, _LIVELY_LIDS, _LIVELY_WINK = 0.3, 0.2, 0.55, 0.4, 0.12
_LIVELY_TURN = 0.5  # of a natural turn of the neck: the face is what they are for

# How far the eyeLook actions turn the eyes of the face model at their value 1, radians.
EYE_SIDEWAYS, EYE_UP, EYE_DOWN = np.radians([13.5, 9.0, 10.2])
_VERGENCE = np.arctan2(0.031, 1.3)  # each eye turns inwards to meet the other at a camera's distance

_INDEX = {name: number for number, name in enumerate(ACTIONS)}
_BROWS = ("brow", "eyeWide", "eyeSquint")

# Opposites: only the difference of the two moves the face.
_OPPOSITE = (
    *(("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")),
    *((f"eyeLookIn{side}", f"eyeLookOut{side}") for side in ("Left", "Right")),
    *((f"eyeLookUp{side}", f"eyeLookDown{side}") for side in ("Left", "Right")),
)
# Pairs that share muscles or room: both together at most this much. A name without a side stands for both sides.
_RIVALS = (
    *(("mouthPucker", "mouthSmile", 0.9), ("mouthFunnel", "mouthSmile", 0.9), ("mouthPucker", "mouthStretch", 0.9)),
    *(("mouthFunnel", "mouthStretch", 1.0), ("mouthPucker", "mouthFrown", 1.2), ("mouthSmile", "mouthFrown", 0.8)),
    *(("mouthPucker", "mouthFunnel", 1.2), ("mouthPucker", "mouthDimple", 0.9), ("mouthPucker", "jawOpen", 1.2)),
    *(("mouthFunnel", "mouthPress", 0.8), ("mouthPress", "jawOpen", 0.8), ("cheekPuff", "jawOpen", 0.9)),
    *(("mouthRollUpper", "mouthUpperUp", 0.8), ("mouthRollLower", "mouthLowerDown", 0.8)),
    *(("mouthPress", "mouthUpperUp", 1.0), ("mouthPress", "mouthLowerDown", 1.0)),
    *(("eyeBlink", "eyeWide", 1.0), ("eyeBlink", "eyeSquint", 1.0), ("browDown", "browOuterUp", 1.0)),
)


def side_of(action: str) -> str:
    """Left, Right, or nothing."""
    return next((side for side in ("Left", "Right") if action.endswith(side)), "")


_APART = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")  # directions of one part, not sides of the face
_FREE = tuple(
    dict.fromkeys(
        name if name in _APART else name.removesuffix(side_of(name))
        for name in ACTIONS
        if not name.startswith(("eyeLook", "eyeBlink"))
    )
)
"""What ``sample_lively`` adds, besides lids and gaze: names without a side."""


def sides(name: str) -> tuple[str, ...]:
    """The actions that a name without a side stands for."""
    return (name,) if name in _INDEX else (f"{name}Left", f"{name}Right")


def possible(actions: NDArray) -> NDArray[np.float64]:
    """The nearest actions [52] that a face can do at once; what is possible comes back as it is.

    Values lie in 0..1, opposites do not both pull, rivals together stay in their limit, the lips close no further than
    the jaw is open, the tongue needs an open mouth, and lids that have gone down with the eyes close less.
    """
    values = dict(zip(ACTIONS, np.clip(np.asarray(actions, np.float64), 0.0, 1.0).tolist(), strict=True))
    for first, second in _OPPOSITE:
        common = min(values[first], values[second])
        values[first] -= common
        values[second] -= common
    values["jawOpen"] = max(values["jawOpen"], 0.4 * values["tongueOut"])
    for first, second, limit in _RIVALS:
        for one, other in product(sides(first), sides(second)):
            if {side_of(one), side_of(other)} != {"Left", "Right"}:
                values[one], values[other] = _settled(values[one], values[other], limit)
    for side in ("Left", "Right"):
        values[f"eyeBlink{side}"] = min(values[f"eyeBlink{side}"], 1 - 0.25 * values[f"eyeLookDown{side}"])
    values["tongueOut"] = min(values["tongueOut"], values["jawOpen"] / 0.4)
    values["mouthClose"] = min(values["mouthClose"], values["jawOpen"])
    return np.array([values[name] for name in ACTIONS])


def _settled(one: float, other: float, limit: float) -> tuple[float, float]:
    """Both no more than the limit together, unless one is 0: the weaker gives way further, and nothing jumps."""
    total = one + other
    excess = total - limit
    if excess <= 0:
        return one, other
    return max(0.0, one - excess * other / total), max(0.0, other - excess * one / total)


def gaze_actions(yaw: float, pitch: float) -> dict[str, float]:
    """The eyeLook actions that turn both eyes; radians, positive towards the subject's left and up.

    Further than the eyes can turn they turn as far as they can. They meet at a camera's distance.
    """
    found = {}
    for side, outwards in (("Left", yaw - _VERGENCE), ("Right", -(yaw + _VERGENCE))):
        found[f"eyeLookOut{side}"] = float(np.clip(outwards / EYE_SIDEWAYS, 0, 1))
        found[f"eyeLookIn{side}"] = float(np.clip(-outwards / EYE_SIDEWAYS, 0, 1))
        found[f"eyeLookUp{side}"] = float(np.clip(pitch / EYE_UP, 0, 1))
        found[f"eyeLookDown{side}"] = float(np.clip(-pitch / EYE_DOWN, 0, 1))
    return found


def can_look(yaw: float, pitch: float) -> bool:
    """Whether both eyes can turn that far (radians, as ``gaze_actions``), the way inwards to meet there included."""
    return abs(yaw) + _VERGENCE <= EYE_SIDEWAYS and -EYE_DOWN <= pitch <= EYE_UP


def sample_gaze(rng: np.random.Generator) -> tuple[float, float]:
    """Somewhere to look: yaw and pitch in radians, mostly near the middle, where both eyes reach (``can_look``)."""
    sideways = EYE_SIDEWAYS - _VERGENCE
    return (
        _thrown_back(rng.normal(0, 0.14), -sideways, sideways),
        _thrown_back(rng.normal(-0.03, 0.08), -EYE_DOWN, EYE_UP),
    )


def _thrown_back(value: float, low: float, high: float) -> float:
    """The value; beyond an end, as far inside of it: clipped, every sixth person would have the eyes at their stop."""
    value = high - abs(high - value)
    return float(np.clip(low + abs(value - low), low, high))


def sample_face(rng: np.random.Generator) -> NDArray[np.float64]:
    """Actions [52] of an expression, without gaze and blinking; not yet made ``possible``."""
    values = _asymmetric(rng, dict.fromkeys(("browDown", "browInnerUp", "mouthSmile", "mouthPress"), (0.0, 0.06)), 1)
    draw = rng.random()
    if draw < _NEUTRAL_SHARE:
        return values
    strength = rng.uniform(0.45, 1.1)
    mood = _mood(rng)
    if draw < _NEUTRAL_SHARE + _SPEECH_SHARE:
        upper = {name: span for name, span in mood.items() if name.startswith(_BROWS)}
        return (
            values
            + _asymmetric(rng, SPEECH[str(rng.choice(list(SPEECH)))], rng.uniform(0.6, 1.0))
            + _asymmetric(rng, upper, 0.5 * strength)
        )
    if draw < _NEUTRAL_SHARE + _SPEECH_SHARE + _MIXED_SHARE:
        other = _mood(rng)
        mood = {name: span for name, span in mood.items() if name.startswith(_BROWS)} | {
            name: span for name, span in other.items() if not name.startswith(_BROWS)
        }
    values = values + _asymmetric(rng, mood, strength)
    # Jaws and lips are seldom exactly in the middle.
    for name in ("jaw", "mouth"):
        aside = rng.normal(0, 0.06) * (3 if rng.random() < 0.1 else 1)
        values[_INDEX[f"{name}{'Left' if aside > 0 else 'Right'}"]] += abs(aside)
    return values


def sample_lids(rng: np.random.Generator) -> dict[str, float]:
    """How far each eye is shut: mostly open, sometimes closed or in a blink, seldom a wink."""
    draw = rng.random()
    if draw < _CLOSED_SHARE:
        both = rng.uniform(0.85, 1.0)
        return {"eyeBlinkLeft": both, "eyeBlinkRight": both}
    if draw < _CLOSED_SHARE + _WINK_SHARE:
        shut, other = ("Left", "Right") if rng.random() < 0.5 else ("Right", "Left")
        return {f"eyeBlink{shut}": rng.uniform(0.8, 1.0), f"eyeBlink{other}": rng.uniform(0.0, 0.2),
                f"cheekSquint{shut}": rng.uniform(0.3, 0.8)}  # fmt: skip
    both = rng.beta(1, 6) * 0.7
    return {"eyeBlinkLeft": both, "eyeBlinkRight": both}


def sample_joints(rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotations [10, 3] of a still: the head turned and tilted on the shoulders, the shoulders moved."""
    joints = np.zeros((len(JOINTS), 3))
    # Axes: x nods, y turns, z tilts. Neck and head share the way.
    turn = np.clip(rng.normal(0, [0.10, 0.20, 0.07]), [-0.3, -0.6, -0.25], [0.3, 0.6, 0.25])
    joints[JOINTS.index("neck")] = 0.5 * turn
    joints[JOINTS.index("head")] = 0.5 * turn
    shrug = rng.uniform(0.12, 0.3) if rng.random() < _SHRUG_SHARE else 0.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        lift, forward = shrug + rng.normal(0, 0.03), rng.normal(0, 0.04)
        collar = np.array([0.0, -sign * forward, sign * lift])
        joints[JOINTS.index(f"{side}_collar")] = collar
        # The arm goes on hanging down: what lifts the collar bone is taken back at the shoulder.
        joints[JOINTS.index(f"{side}_shoulder")] = rng.normal(0, [0.05, 0.03, 0.05]) - collar
    return joints


def sample_expression(rng: np.random.Generator, towards: tuple[float, float] | None = None) -> Pose:
    """A person at a moment that one might photograph.

    Args:
        rng: Random numbers; the pose is a function of their state.
        towards: Yaw and pitch, radians in head space, of what the person looks at; by default somewhere.
    """
    face, lids, gaze, joints = sample_face(rng), sample_lids(rng), sample_gaze(rng), sample_joints(rng)
    for name, value in (lids | gaze_actions(*(towards or gaze))).items():
        face[_INDEX[name]] = max(face[_INDEX[name]], value)
    return Pose(possible(face), joints)


def sample_lively(rng: np.random.Generator) -> Pose:
    """A person at a moment that teaches: any part of the face may be anywhere, and hardly two go together.

    Natural faces open their mouths in one picture of seven and shut their eyes in one of fifteen; and smiles bring
    squints along, so that a network could not tell which of the two does what.
    """
    face = np.zeros(len(ACTIONS)) if rng.random() < _LIVELY_REST else sample_face(rng)
    for name in rng.choice(_FREE, size=rng.integers(1, 5), replace=False).tolist():
        added = _asymmetric(rng, {name: (0.2, 1.0)}, 1.0)
        if len(sides(name)) == 2 and rng.random() < _LIVELY_ONE_SIDED:
            added[_INDEX[str(rng.choice(sides(name)))]] = 0.0
        face = np.maximum(face, added)
    if rng.random() < _LIVELY_JAW:
        face[_INDEX["jawOpen"]] = max(face[_INDEX["jawOpen"]], rng.uniform(0.1, 1.0))
    lids = sample_lids(rng)
    draw = rng.random()
    if draw < _LIVELY_LIDS:
        lids = dict.fromkeys(sides("eyeBlink"), rng.uniform(0.1, 1.0))
    elif draw < _LIVELY_LIDS + _LIVELY_WINK:
        lids = {str(rng.choice(sides("eyeBlink"))): rng.uniform(0.3, 1.0)}
    sideways = EYE_SIDEWAYS - _VERGENCE
    gaze = gaze_actions(rng.uniform(-sideways, sideways), rng.uniform(-EYE_DOWN, EYE_UP))
    for name, value in (lids | gaze).items():
        face[_INDEX[name]] = max(face[_INDEX[name]], value)
    return Pose(possible(face), _LIVELY_TURN * sample_joints(rng))


def _mood(rng: np.random.Generator) -> Mapping[str, Range]:
    often = np.array([_OFTEN.get(name, 1) for name in EXPRESSIONS], float)
    return EXPRESSIONS[str(rng.choice(list(EXPRESSIONS), p=often / often.sum()))]


def _asymmetric(rng: np.random.Generator, ranges: Mapping[str, Range], strength: float) -> NDArray[np.float64]:
    """Actions [52] drawn from ranges; the sides differ a little, one time in eight much."""
    values = np.zeros(len(ACTIONS))
    lean = rng.normal(0, 0.35 if rng.random() < 0.125 else 0.07)
    for name, (low, high) in ranges.items():
        value = strength * rng.uniform(low, high)
        for one in sides(name):
            sign = {"Left": 1, "Right": -1, "": 0}[side_of(one)]
            values[_INDEX[one]] = value * np.clip(1 + sign * lean, 0.0, 1.6)
    return values
