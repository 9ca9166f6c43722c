# SPDX-License-Identifier: Apache-2.0
"""Judges of seeds: what a face detector that we did not train sees in them, and whether they are many people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from neural_core.errors import InputError, UsageError
from neural_core.records import HEAD_TO_MODEL

from .depth_chamfer import depth_chamfer
from .faces import check_available, landmark_distance
from .landmarks import multiview_landmark_consistency
from .pictures import median_pairwise_l1
from .protocol import Case, Figure, Measured, Setting, joined
from .sources import SeedPerson, TruePictures, people_files
from .subject import chosen
from .views import Views
from .warping import warping_error
from .worst import side_by_side

EG3D_BIN = 1.05 / 48 / HEAD_TO_MODEL
"""Metres (10.9 mm): the distance of the published EG3D's coarse samples, (3.3 - 2.25) / 48 model units. The same
for all models, so that their figures can be compared; PV3D takes each generator's own."""


EYES = "% of the eyes' distance"


class Faces:
    """FaceMesh on the portraits: how many it sees a face in, and how far its landmarks lie from the rig's."""

    def __init__(self, setting: Setting) -> None:
        check_available()
        self.yaws = setting.yaws

    def measure(self, item: SeedPerson) -> Measured:
        """Look at each yaw; a distance is nan where no face was found or the rig is not known."""
        rig = item.rig_landmarks
        distances = [
            landmark_distance(found, rig[number]) if rig is not None and found is not None else np.nan
            for number, found in enumerate(item.landmarks)
        ]
        found = np.array([points is not None for points in item.landmarks])
        badness = np.where(found, np.nan_to_num(distances), np.inf)
        worst = int(badness.argmax())
        case = Case(float(badness[worst]), side_by_side(item.shown.views.picture[worst]))
        return Measured({"found": found[None], "distance": np.array([distances])}, (case,))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Count, and take medians, for each yaw."""
        found, distance = joined(measured, "found"), joined(measured, "distance")
        figures = []
        for number, yaw in enumerate(self.yaws):
            at, seen = f"yaw {yaw:g} degrees", int(found[:, number].sum())
            figures.append(Figure(f"faces_found_{yaw:g}", float(seen), "", "higher", len(found), "portraits", at))
            known = distance[:, number][~np.isnan(distance[:, number])]
            if len(known):
                median = 100 * float(np.median(known))
                figures.append(Figure(f"landmark_distance_{yaw:g}", median, EYES, "lower",
                                      len(known), "faces", f"FaceMesh to the rig, median, {at}"))  # fmt: skip
        return figures


class SideViews:
    """The mean of a comparison of the frontal view with each view from the side."""

    name: ClassVar[str]
    unit: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        if len(setting.yaws) < 2:
            raise UsageError(f"The metric {self.name!r} compares views from two sides.", "Give --yaw 0,30.")
        self.meaning = setting.truncated

    def compare(self, front: Views, side: Views) -> Tensor:
        """Return how far n pairs of views are apart, [n]; nan where that is not defined."""
        raise NotImplementedError

    def measure(self, item: SeedPerson) -> Measured:
        """Compare a seed's views."""
        views, sides = item.shown.views, len(item.yaws) - 1
        apart = self.compare(chosen(views, [0] * sides), chosen(views, range(1, sides + 1))).numpy()
        worst = int(np.nan_to_num(apart, nan=-1).argmax())
        case = Case(
            float(np.nan_to_num(apart[worst], nan=-1)), side_by_side(views.picture[0], views.picture[worst + 1])
        )
        return Measured({self.name: apart}, (case,))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average over all pairs."""
        apart = joined(measured, self.name)
        apart = apart[~np.isnan(apart)]
        if not len(apart):
            return []
        return [Figure(self.name, float(apart.mean()), self.unit, "lower", len(apart), "pairs of views", self.meaning)]


class ChamferDistance(SideViews):
    """CD."""

    name, unit = "cd", "squared bins"

    def compare(self, front: Views, side: Views) -> Tensor:
        """Return the Chamfer distance of the depth maps."""
        return depth_chamfer(front, side, EG3D_BIN)


class WarpingError(SideViews):
    """WE."""

    name, unit = "we", "levels of 255"

    def compare(self, front: Views, side: Views) -> Tensor:
        """Return the warping error."""
        return warping_error(front, side)


class LandmarkConsistency:
    """Whether the landmarks of a portrait's views are points in space."""

    def __init__(self, setting: Setting) -> None:
        check_available()
        if len(setting.yaws) < 2:
            raise UsageError("The metric 'landmark-consistency' compares views.", "Give --yaw 0,30.")

    def measure(self, item: SeedPerson) -> Measured | None:
        """Take one portrait, if two of its views show a face."""
        try:
            apart = multiview_landmark_consistency(item.landmarks, item.shown.views.camera, 1)
        except ValueError:  # the yaws are too near to each other
            return None
        if np.isnan(apart):
            return None
        return Measured({"apart": np.array([apart])}, (Case(apart, side_by_side(*item.shown.views.picture)),))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Take the median."""
        apart = joined(measured, "apart")
        median = 100 * float(np.median(apart))
        return [Figure("landmark_consistency", median, EYES, "lower", len(apart), "portraits", "")]


class Diversity:
    """Whether portraits differ from each other as people do."""

    def __init__(self, setting: Setting) -> None:
        self.people = people_files(setting.folder("train_data", "diversity"))

    def measure(self, item: SeedPerson) -> Measured:
        """Keep the frontal portrait, and the most frontal picture of a training person, if that can be read."""
        values = {"portrait": item.shown.compared[:1].numpy()}
        if item.seed < len(self.people):
            try:
                true = TruePictures(self.people[item.seed])
                values["person"] = true.over_grey(item.subject.pixels, only=true.frontal).numpy()
            except InputError:  # no fault of the portrait
                values["unusable"] = np.array([item.seed])
        return Measured(values)

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Compare the medians of all pairs; nothing without a pair on both sides, no ratio to people who are alike."""
        if min(sum(name in one.values for one in measured) for name in ("portrait", "person")) < 2:
            return []
        portraits, people = (torch.from_numpy(joined(measured, name)) for name in ("portrait", "person"))
        ours, theirs = median_pairwise_l1(portraits), median_pairwise_l1(people)
        unusable = sum("unusable" in one.values for one in measured)
        of_people = "median over pairs" + (f"; {unusable} more could not be used" if unusable else "")
        figures = [
            Figure("pairwise_l1_portraits", ours, "", "", len(portraits), "portraits", "median over pairs"),
            Figure("pairwise_l1_people", theirs, "", "", len(people), "training people", of_people),
        ]
        if theirs > 0:
            ratio = Figure(
                "diversity", ours / theirs, "", "higher", len(portraits), "portraits", "ratio of the two below"
            )
            figures.insert(0, ratio)
        return figures
