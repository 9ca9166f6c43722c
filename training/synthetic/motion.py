# SPDX-License-Identifier: Apache-2.0
"""What people do over time: clips of poses at 25 frames a second.

Each thing has its own rhythm. Eyes rest on one place for a fraction of a second up to two and jump to the next (people
take 20-60 ms for that, one or two frames); lids close for about 0.2 s every few seconds, faster down than up; heads
drift and nod slowly; expressions come, stay and go; talking opens the jaw four or five times a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from training.synthetic.expressions import SPEECH, gaze_actions, possible, sample_face, sample_gaze, sides
from training.synthetic.figure import Pose
from training.synthetic.plan import FPS

_INDEX = {name: number for number, name in enumerate(ACTIONS)}

_FIXATION = (0.25, 2.0)  # seconds that eyes rest on a place
_BETWEEN_BLINKS = (1.5, 6.0)  # seconds
_LIDS = np.array([0.45, 1.0, 0.9, 0.5, 0.15])  # how far shut in the frames of a blink
_HEAD_SPREAD = np.radians([4.0, 9.0, 3.0])  # nod, turn, tilt
_HEAD_SLOWNESS = 0.45  # seconds of the Gaussian that makes the head's way smooth
_SYLLABLE = (0.16, 0.32)  # seconds


def sample_motion(rng: np.random.Generator, seconds: float) -> list[Pose]:
    """A clip of somebody who looks around, blinks, moves the head, talks and has expressions, ``FPS`` frames a second.

    Args:
        rng: Random numbers; the clip is a function of their state.
        seconds: Length.

    Returns:
        round(seconds * FPS) poses, at least one.
    """
    frames = max(1, round(seconds * FPS))
    count = frames + 2  # the last two are drawn and left out: with fewer, all clips of all seeds would be others
    actions = _moods(rng, count) + _talk(rng, count)
    lids = _blinks(rng, count)
    for side in ("Left", "Right"):
        column = actions[:, _INDEX[f"eyeBlink{side}"]]
        np.maximum(column, lids, out=column)
    for frame, (yaw, pitch) in enumerate(_gaze(rng, count)):
        for name, value in gaze_actions(yaw, pitch).items():
            actions[frame, _INDEX[name]] = value
    joints = _joints(rng, count)
    return [Pose(possible(face), joint) for face, joint in zip(actions[:frames], joints[:frames], strict=True)]


def _gaze(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Yaw and pitch [count, 2], radians: fixations with jumps between, half of them back to the middle."""
    places = np.zeros((count, 2))
    middle, frame = np.array(sample_gaze(rng)) * 0.5, 0
    while frame < count:
        length = max(2, round(rng.uniform(*_FIXATION) * FPS))
        place = middle if rng.random() < 0.5 else np.array(sample_gaze(rng))
        places[frame : frame + length] = place
        if frame and np.linalg.norm(place - places[frame - 1]) > 0.15:  # a long way takes a second frame
            places[frame] = 0.4 * places[frame - 1] + 0.6 * place
        frame += length
    return places


def _blinks(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """How far the lids are shut [count]."""
    shut, frame = np.zeros(count + len(_LIDS)), round(rng.uniform(0, _BETWEEN_BLINKS[1]) * FPS)
    while frame < count:
        shut[frame : frame + len(_LIDS)] = _LIDS * rng.uniform(0.9, 1.0)
        frame += len(_LIDS) + round(rng.uniform(*_BETWEEN_BLINKS) * FPS)
    return shut[:count]


def _moods(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Expressions that come and go [count, 52]."""
    actions, frame = np.zeros((count, len(ACTIONS))), round(rng.uniform(-2, 1) * FPS)
    while frame < count:
        rise, stay, fall = (max(4, round(rng.uniform(*span) * FPS)) for span in ((0.3, 0.8), (0.3, 2.5), (0.4, 1.2)))
        envelope = np.concatenate([_ramp(rise), np.ones(stay), _ramp(fall)[::-1]])
        face = sample_face(rng)
        inside = np.arange(frame, frame + len(envelope))
        kept = (inside >= 0) & (inside < count)
        actions[inside[kept]] += envelope[kept, None] * face
        frame += len(envelope) + round(rng.uniform(-0.2, 2.5) * FPS)
    return actions


def _talk(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Mouths of speech in phrases [count, 52]; smooth from one syllable to the next."""
    actions, frame = np.zeros((count, len(ACTIONS))), round(rng.uniform(-1, 3) * FPS)
    names = list(SPEECH)
    while frame < count:
        end = frame + round(rng.uniform(0.8, 3.5) * FPS)
        while frame < min(end, count):
            length = max(3, round(rng.uniform(*_SYLLABLE) * FPS))
            loudness = rng.uniform(0.5, 1.0)
            for name, (low, high) in SPEECH[names[rng.integers(len(names))]].items():
                value = loudness * rng.uniform(low, high)
                for action in sides(name):
                    actions[max(0, frame) : max(0, frame + length), _INDEX[action]] = value
            frame += length
        frame = max(frame, end) + round(rng.uniform(0.5, 4.0) * FPS)
    return gaussian_filter1d(actions, 0.045 * FPS, axis=0, mode="nearest")


def _joints(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Rotations [count, 10, 3]: the head wanders and nods, the shoulders breathe and now and then shrug."""
    joints = np.zeros((count, len(JOINTS), 3))
    turn = _wander(rng, count, _HEAD_SLOWNESS, 3) * _HEAD_SPREAD + rng.normal(0, 0.5, 3) * _HEAD_SPREAD
    joints[:, JOINTS.index("neck")] = joints[:, JOINTS.index("head")] = 0.5 * turn
    shrug = 0.25 * _now_and_then(rng, count, 0.15, lambda: rng.uniform(0.3, 1.0))
    breath = 0.012 * np.sin(2 * np.pi * (np.arange(count) / FPS * rng.uniform(0.2, 0.3) + rng.random()))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        sway = 0.02 * _wander(rng, count, 1.0, 2)
        joints[:, JOINTS.index(f"{side}_collar"), 1] = -sign * sway[:, 0]
        joints[:, JOINTS.index(f"{side}_collar"), 2] = sign * (shrug + breath + sway[:, 1])
        # The arms go on hanging down: what lifts the collar bones is taken back at the shoulders.
        collar = joints[:, JOINTS.index(f"{side}_collar")]
        joints[:, JOINTS.index(f"{side}_shoulder")] = 0.03 * _wander(rng, count, 1.0, 3) - collar
    return joints


def _wander(rng: np.random.Generator, count: int, slowness: float, channels: int) -> NDArray[np.float64]:
    """Smooth noise [count, channels] of unit variance; ``slowness`` is its scale in seconds."""
    sigma = slowness * FPS
    room = int(4 * sigma)
    noise = gaussian_filter1d(rng.standard_normal((count + 2 * room, channels)), sigma, axis=0)[room : room + count]
    return noise * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def _now_and_then(
    rng: np.random.Generator, count: int, rate: float, height: Callable[[], float]
) -> NDArray[np.float64]:
    """Bumps of a second [count], ``rate`` a second on average."""
    bump = np.concatenate([_ramp(FPS // 2), _ramp(FPS // 2)[::-1]])
    values = np.zeros(count + len(bump))
    for start in np.flatnonzero(rng.random(count) < rate / FPS):
        values[start : start + len(bump)] = np.maximum(values[start : start + len(bump)], height() * bump)
    return values[:count]


def _ramp(frames: int) -> NDArray[np.float64]:
    """From 0 to 1 with no jump in speed [frames]."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
