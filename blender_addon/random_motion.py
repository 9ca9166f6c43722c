# SPDX-License-Identifier: GPL-3.0-or-later
"""Small motions of somebody who does nothing: blinks, glances, a head that is never quite still, fleeting expressions.

Pure: numbers from a seed, the same for the same arguments. Rates are those of people at rest: about 17 blinks a minute
at intervals that are often short and sometimes long (Bentivoglio et al. 1997), of about 0.3 s, faster down than up;
eyes rest on a place for a fraction of a second up to some seconds and are at the next within a frame or two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .expressions import both_sides

Tracks = dict[str, np.ndarray]
"""Values [n], one a frame, by the name of an action or of one of `scene.curves.HEAD`."""

_SHORTEST_GAP_S, _GAP_SHAPE, _GAP_SCALE_S = 0.6, 2.0, 1.3  # from the end of a blink to the next: 0.6 + gamma
_LID_DOWN_S, _LID_SHUT_S, _LID_UP_S = (0.06, 0.10), (0.02, 0.06), (0.13, 0.22)
_FIXATION_SHAPE, _FIXATION_SCALE_S, _SHORTEST_FIXATION_S = 2.0, 0.7, 0.25
_BACK_TO_THE_MIDDLE = 0.45  # share of the glances
_GLANCE = (0.28, 0.22)  # standard deviation of eyeLook actions, sideways and upwards
_SACCADE_S = 0.04
_HEAD_DEGREES = np.array([1.6, 1.1, 0.8])  # yaw, pitch, roll: standard deviation
_HEAD_HERTZ = (0.05, 0.4)
_HEAD_WAVES = 7
_BETWEEN_MICRO_S = (3.0, 9.0)
_MICRO_S = ((0.12, 0.3), (0.1, 0.6), (0.25, 0.6))  # rise, stay, fall
_MICRO = (
    *({"browInnerUp": 0.22}, {"browInnerUp": 0.12, "browOuterUp": 0.16}, {"browDown": 0.18}),
    *({"mouthSmile": 0.16, "cheekSquint": 0.06}, {"mouthPress": 0.2}, {"mouthDimpleLeft": 0.18}),
    *({"eyeSquint": 0.2}, {"mouthRollLower": 0.15, "mouthRollUpper": 0.08}, {"noseSneer": 0.1}),
    *({"mouthShrugLower": 0.16}, {"mouthLeft": 0.12}, {"mouthRight": 0.12}),
)


@dataclass(frozen=True)
class Amounts:
    """How much of each there is; 1 is natural, 0 none."""

    blinks: float = 1.0
    """Of blinks a minute."""
    gaze: float = 1.0
    """Of the width of glances."""
    head: float = 1.0
    """Of the head's turns."""
    micro: float = 1.0
    """Of the strength of fleeting expressions."""


def motion(seed: int, frames: int, fps: float, amounts: Amounts = Amounts()) -> Tracks:
    """Return what the face does in `frames` frames at `fps` frames a second; each part has random numbers of its own.

    Actions are in 0..1, the head's turns (headYaw, headPitch, headRoll) in radians. What never moves is left out.
    """
    blinks, gaze, head, micro = (np.random.default_rng([seed, part]) for part in range(4))
    tracks: Tracks = {}
    for more in (
        _blinks(blinks, frames, fps, amounts.blinks),
        _gaze(gaze, frames, fps, amounts.gaze),
        _head(head, frames, fps, amounts.head),
        _micro(micro, frames, fps, amounts.micro),
    ):
        tracks |= more
    return {name: values for name, values in tracks.items() if values.any()}


def _blinks(rng: np.random.Generator, frames: int, fps: float, amount: float) -> Tracks:
    times, shut, end = np.arange(frames) / fps, np.zeros(frames), frames / fps
    if amount <= 0.0:
        return {}
    time = _gap(rng) / amount * rng.random()
    while time < end:
        down, stay, up = (rng.uniform(*span) for span in (_LID_DOWN_S, _LID_SHUT_S, _LID_UP_S))
        peak = rng.uniform(0.93, 1.0)
        # The lids meet on a frame: else a blink between two frames would be half a blink.
        closed = np.ceil((time + down) * fps) / fps
        corners = [closed - down, closed, closed + stay, closed + stay + up]
        np.maximum(shut, np.interp(times, corners, [0.0, peak, peak, 0.0]), out=shut)
        time = corners[-1] + _gap(rng) / amount
    return dict.fromkeys(both_sides("eyeBlink"), shut)


def _gap(rng: np.random.Generator) -> float:
    return _SHORTEST_GAP_S + rng.gamma(_GAP_SHAPE, _GAP_SCALE_S)


def _gaze(rng: np.random.Generator, frames: int, fps: float, amount: float) -> Tracks:
    times, end = np.arange(frames) / fps, frames / fps
    corners, places, time = [0.0], [np.zeros(2)], 0.0
    while time < end:
        time += _SHORTEST_FIXATION_S + rng.gamma(_FIXATION_SHAPE, _FIXATION_SCALE_S)
        middle = rng.random() < _BACK_TO_THE_MIDDLE
        there = rng.normal(0.0, _GLANCE)
        corners += [time, time + _SACCADE_S]
        places += [places[-1], np.zeros(2) if middle else there]
        time += _SACCADE_S
    way = np.clip(amount * np.array(places), -1.0, 1.0)
    side, up = (np.interp(times, corners, column) for column in way.T)
    left, right = np.maximum(side, 0.0), np.maximum(-side, 0.0)  # the subject's
    upwards, downwards = np.maximum(up, 0.0), np.maximum(-up, 0.0)
    return {
        **{"eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookInLeft": right, "eyeLookOutRight": right},
        **{"eyeLookUpLeft": upwards, "eyeLookUpRight": upwards},
        **{"eyeLookDownLeft": downwards, "eyeLookDownRight": downwards},
    }


def _head(rng: np.random.Generator, frames: int, fps: float, amount: float) -> Tracks:
    """Sums of slow waves, the slower the larger; they begin and end anywhere, so that shots can be cut."""
    times = np.arange(frames) / fps
    tracks = {}
    for name, degrees in zip(("headYaw", "headPitch", "headRoll"), _HEAD_DEGREES, strict=True):
        hertz = np.geomspace(*_HEAD_HERTZ, _HEAD_WAVES) * rng.uniform(0.85, 1.15, _HEAD_WAVES)
        heights = rng.uniform(0.5, 1.0, _HEAD_WAVES) / hertz**0.75
        waves = np.sin(2 * np.pi * (hertz * times[:, None] + rng.random(_HEAD_WAVES)))
        tracks[name] = amount * np.radians(degrees) * (waves @ heights) / np.sqrt((heights**2).sum() / 2)
    return tracks


def _micro(rng: np.random.Generator, frames: int, fps: float, amount: float) -> Tracks:
    times, end = np.arange(frames) / fps, frames / fps
    tracks: Tracks = {}
    time = rng.uniform(0.0, _BETWEEN_MICRO_S[1])
    while time < end:
        rise, stay, fall = (rng.uniform(*span) for span in _MICRO_S)
        corners = [time, time + rise, time + rise + stay, time + rise + stay + fall]
        envelope = np.interp(times, corners, [0.0, 1.0, 1.0, 0.0])
        envelope = amount * rng.uniform(0.6, 1.0) * (3.0 - 2.0 * envelope) * envelope**2
        for stem, strength in _MICRO[rng.integers(len(_MICRO))].items():
            for name in both_sides(stem):
                tracks[name] = np.maximum(tracks.get(name, np.zeros(frames)), np.minimum(strength * envelope, 1.0))
        time = corners[-1] + rng.uniform(*_BETWEEN_MICRO_S)
    return tracks
