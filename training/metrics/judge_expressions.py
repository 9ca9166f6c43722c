# SPDX-License-Identifier: Apache-2.0
"""Judges of animatable models: does a face do what the rig says, and does it stay the same person meanwhile?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from neural_core.errors import InputError, UsageError
from neural_core.records import Record

from .expressions import (
    EXPRESSIONS,
    PATCHES,
    READ,
    STILL,
    Line,
    colour_distance,
    face_shape,
    line_within,
    named_actions,
    read_expression,
    rig_values,
    shape_distance,
    skin_and_hair,
)
from .faces import check_available
from .protocol import Case, Figure, Measured, Setting, joined
from .sources import RecordPictures, SeedPerson, faces_in, people_files
from .worst import side_by_side

A_SEED = 5
"""Expressions of a seed."""

FRONTAL = 30.0
"""Degrees by which a true picture may look from the side: beyond, lips and lids hide each other."""


@dataclass(frozen=True)
class Shot:
    """A true picture that shows an expression from the front."""

    person: int
    number: int
    """Of the picture in the person's record."""
    label: NDArray[np.float32]
    actions: NDArray[np.float32]
    joints: NDArray[np.float32]


Distance = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


class ExpressionAccuracy:
    """Lips, lids and corners of the mouth on the model's pictures, against the rig and against true pictures.

    Every seed is asked for the expressions of some of the data's pictures, and seen by their cameras. So model and
    truth differ in nothing but who draws, and what FaceMesh misses on one side it misses on the other.
    """

    def __init__(self, setting: Setting) -> None:
        check_available()
        _check_animatable(setting, "expression-accuracy")
        self.files = people_files(setting.folder("data", "expression-accuracy"))
        shots, self.damaged = _shots(self.files)
        if not any(shot.actions.any() for shot in shots):
            raise InputError(
                f'Nobody in "{setting.data}" shows an expression from the front.',
                "Make such people: python -m training.synthesize portraits --expressions lively --out DIR.",
            )
        self.shots = [shots[place] for place in np.random.default_rng(0).permutation(len(shots))]

    def measure(self, item: SeedPerson) -> Measured:
        """Read a seed's expressions, and those of the pictures that they are taken from."""
        places = [(item.seed * A_SEED + number) % len(self.shots) for number in range(A_SEED)]
        shots = [self.shots[place] for place in places]
        actions = np.stack([shot.actions for shot in shots])
        joints = torch.from_numpy(np.stack([shot.joints for shot in shots]))
        camera = item.subject.in_head_space(torch.from_numpy(np.stack([shot.label for shot in shots])))
        shown = item.acting(camera, torch.from_numpy(actions), joints)
        true = torch.cat([self._picture(shot) for shot in shots])
        seen, expected = _read(faces_in(shown)), _read(faces_in(true))
        badness = np.where(np.isnan(seen), np.inf, np.nan_to_num(np.abs(seen - expected))).max(1)
        worst = int(badness.argmax())
        beside = F.interpolate(shown[worst][None], true.shape[-2:], mode="bilinear", antialias=True)[0]
        return Measured(
            {
                "rig": rig_values(actions), "seen": seen, "true": expected, "place": np.array(places),
                "true_person": np.array([shot.person for shot in shots]), "seed": np.full(A_SEED, item.seed),
            },
            (Case(float(badness[worst]), side_by_side(true[worst], beside)),),
        )  # fmt: skip

    def _picture(self, shot: Shot) -> torch.Tensor:
        return RecordPictures(self.files[shot.person], ("alpha",)).over_grey(only=shot.number)

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Draw the regression lines of the model and of the truth."""
        rig, seen, true = (joined(measured, name) for name in ("rig", "seen", "true"))
        seed, place, true_person = (joined(measured, name) for name in ("seed", "place", "true_person"))
        found = ~np.isnan(seen[:, 0])
        first = np.zeros(len(place), bool)
        first[np.unique(place, return_index=True)[1]] = True  # a true picture counts once, whoever follows it
        first &= ~np.isnan(true[:, 0])
        figures = []
        for number, name in enumerate(READ):
            ours = line_within(rig[found, number], seen[found, number], seed[found])
            theirs = line_within(rig[first, number], true[first, number], true_person[first])
            figures += _lines(name, ours, theirs, int(found.sum()), int(first.sum()))
        missed = int((~found).sum())
        seen_in = "in which FaceMesh finds a face" + self.damaged
        return [
            *figures,
            Figure("expression_faces", 100 * (1 - missed / len(found)), "%", "higher", len(found), "pictures", seen_in),
        ]


def _lines(name: str, ours: Line | None, theirs: Line | None, count: int, true_count: int) -> list[Figure]:
    figures = []
    if ours is not None:
        meaning = "with what FaceMesh sees, each person's own mean taken off"
        figures.append(Figure(f"{name}_correlation", ours.correlation, "", "higher", count, "pictures", meaning))
    if theirs is not None:
        figures.append(Figure(f"{name}_correlation_of_truth", theirs.correlation, "", "", true_count, "pictures",
                              "of the true pictures: nobody is expected to do better"))  # fmt: skip
    if ours is not None and theirs is not None:
        slopes = {"slope": ours.slope, "slope_of_truth": theirs.slope}
        ratio = ours.slope / theirs.slope
        figures.append(Figure(f"{name}_slope", ratio, "times the truth's", "", count, "pictures",
                              "1 is right: it moves as far as on true pictures", slopes))  # fmt: skip
    return figures


class ExpressionIdentity:
    """Shape and colours of one person with several expressions, against those of several people with one."""

    def __init__(self, setting: Setting) -> None:
        check_available()
        _check_animatable(setting, "expression-identity")
        self.actions = torch.from_numpy(np.stack([named_actions(names) for names in EXPRESSIONS.values()]))

    def measure(self, item: SeedPerson) -> Measured:
        """Keep a seed's shapes and colours from the front; nan where FaceMesh sees no face."""
        camera = item.subject.around([0.0] * len(self.actions))
        pictures = item.acting(camera, self.actions)
        shapes = np.full((len(pictures), len(STILL), 2), np.nan)
        colours = np.full((len(pictures), len(PATCHES) + 1, 3), np.nan)
        for number, points in enumerate(faces_in(pictures)):
            if points is not None:
                shapes[number] = face_shape(points)
                colours[number] = skin_and_hair(pictures[number].double().numpy(), points)
        badness = float(_across(shapes[None], shape_distance).max(initial=0.0))
        case = Case(badness, side_by_side(*pictures))
        return Measured({"shape": shapes[None], "colour": colours[None]}, (case,))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Compare the medians of all pairs."""
        figures = []
        for name, distance, unit, factor in (
            ("shape", shape_distance, "% of the face", 100), ("colour", colour_distance, "levels of 255", 255),
        ):  # fmt: skip
            values = joined(measured, name)
            across, between = _across(values, distance), _between(values, distance)
            if not len(across) or not len(between):
                return []
            same, others = factor * float(np.median(across)), factor * float(np.median(between))
            figures += [
                Figure(
                    f"identity_{name}", same / others, "", "lower", len(values), "portraits", "ratio of the two below"
                ),
                Figure(f"{name}_across_expressions", same, unit, "lower", len(across), "pairs", "one person; median"),
                Figure(f"{name}_between_people", others, unit, "", len(between), "pairs", "one expression; median"),
            ]
        return figures


def _check_animatable(setting: Setting, metric: str) -> None:
    if not setting.subject.animatable:
        name = setting.subject.system.info.name
        raise UsageError(
            f'The metric "{metric}" asks for expressions, and "{name}" shows a still face.',
            "Ask it of an animatable model, such as next3d.",
        )


def _shots(files: Sequence[Path]) -> tuple[list[Shot], str]:
    """Return all pictures from the front whose actions are known, and words about records that are damaged."""
    shots: list[Shot] = []
    damaged = 0
    for person, file in enumerate(files):
        try:
            record = Record.load(file, ("cameras", "actions", "joints", "close_up"))
        except InputError:
            damaged += 1
            continue
        if not len(record) == len(record.actions) == len(record.joints) == len(record.cameras):
            continue  # it does not say what the face does
        forward = record.cameras[:, :16].reshape(-1, 4, 4)[:, 2, 2]  # the view axis' z; -1 looks at the face
        usable = forward <= -np.cos(np.radians(FRONTAL))
        if len(record.close_up):
            usable &= ~record.close_up
        shots += [
            Shot(person, int(number), record.cameras[number], record.actions[number], record.joints[number])
            for number in np.flatnonzero(usable)
        ]
    return shots, f"; {damaged} damaged records were left out" if damaged else ""


def _read(found: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    """Return what landmarks say [n, 3]; nan where there is no face."""
    return np.stack([np.full(len(READ), np.nan) if points is None else read_expression(points) for points in found])


def _across(values: NDArray[np.float64], distance: Distance) -> NDArray[np.float64]:
    """Return the distances of all pairs of one person's expressions, for values [people, expressions, ...]."""
    pairs = [distance(values[:, i], values[:, j]) for i, j in combinations(range(values.shape[1]), 2)]
    return _known(pairs)


def _between(values: NDArray[np.float64], distance: Distance) -> NDArray[np.float64]:
    """Return the distances of all pairs of people with the same expression."""
    return _known([distance(values[i, None], values[i + 1 :]) for i in range(len(values) - 1)])


def _known(distances: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return distances in one row, without those to pictures in which there is no face."""
    row = np.concatenate([np.zeros(0), *(some.ravel() for some in distances)])
    return row[~np.isnan(row)]
