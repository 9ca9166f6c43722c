# SPDX-License-Identifier: Apache-2.0
"""Who is photographed, doing what, in which light and from where: a pure function of (seed, index).

Every question has a stream of random numbers of its own, so that nothing depends on the number of people, instants or
workers: person 7 of seed 3 has the same face in every data set of seed 3, and instant 2 of it the same expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neural_core.human.appearance import CODE_SIZE
from training.synthetic.expressions import can_look, sample_expression, sample_lively
from training.synthetic.figure import Attire, Pose
from training.synthetic.lighting import STUDIO, Setting, sample_setting, turned
from training.synthetic.motion import sample_motion
from training.synthetic.plan import FPS, Plan
from training.synthetic.views import View, follow, sample_views, seen_from_head
from training.synthetic.wardrobe import sample_attire

_LOOKS_AT_CAMERA = 0.6  # how often a person in a still looks at the first camera, if the eyes reach it

# Numbers of the random streams; the first two are what the first default weights were trained with.
_CODE, _VIEWS, _ATTIRE, _POSE, _SETTING = range(5)


@dataclass(frozen=True)
class Take:
    """A moment, seen by one or more cameras at once."""

    clip: int
    """Number of the instant or clip that it belongs to."""
    time: float
    """Seconds since the clip began; 0 for stills."""
    pose: Pose
    setting: Setting
    views: tuple[View, ...]


@dataclass(frozen=True)
class Person:
    """A code, what the person wears, and the takes."""

    index: int
    code: NDArray[np.float32]
    attire: Attire
    takes: tuple[Take, ...]


def sample_person(seed: int, index: int, plan: Plan) -> Person:
    """The person ``index`` of the data set ``seed``: the same face whatever the plan."""

    def stream(question: int, instant: int = 0) -> np.random.Generator:
        return np.random.default_rng([seed, index, question, instant])

    code = stream(_CODE).standard_normal(CODE_SIZE).astype(np.float32)
    attire = sample_attire(stream(_ATTIRE), code) if plan.variety == "wide" else Attire()
    takes = []
    for instant in range(plan.instants):
        views = sample_views(stream(_VIEWS, instant), plan)
        setting = sample_setting(stream(_SETTING, instant), plan.size) if plan.variety == "wide" else STUDIO
        poses = _poses(stream(_POSE, instant), plan, views[0])
        for number, pose in enumerate(poses):
            seen_from, lit = views, setting
            if plan.seconds:  # cameras stand still in the room while the head turns; so do lamps, but for the studio's
                seen_from = tuple(follow(view, pose) for view in views)
                lit = turned(setting, seen_from_head(pose)) if plan.variety == "wide" else setting
            takes.append(Take(instant, number / FPS, pose, lit, seen_from))
    return Person(index, code, attire, tuple(takes))


def _poses(rng: np.random.Generator, plan: Plan, first: View) -> list[Pose]:
    natural = plan.expressions == "natural"
    if plan.seconds:
        return sample_motion(rng, plan.seconds) if natural else [Pose()] * plan.instant_frames
    if plan.expressions == "lively":
        return [sample_lively(rng)]
    if not natural:
        return [Pose()]
    place = first.cam2world[:3, 3]
    towards = np.arctan2(place[0], place[2]), np.arctan2(place[1], np.hypot(place[0], place[2]))
    looks = rng.random() < _LOOKS_AT_CAMERA and can_look(*towards)
    return [sample_expression(rng, towards if looks else None)]
