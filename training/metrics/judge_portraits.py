# SPDX-License-Identifier: Apache-2.0
"""Judges of seeds: what a face detector that we did not train sees in them, and whether they are many people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .faces import check_available, landmark_distance
from .pictures import median_pairwise_l1
from .protocol import Case, Figure, Measured, Setting, joined
from .sources import SeedPerson, TruePictures, people_files
from .worst import side_by_side


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
                figures.append(Figure(f"landmark_distance_{yaw:g}", median, "% of the eyes' distance", "lower",
                                      len(known), "faces", f"FaceMesh to the rig, median, {at}"))  # fmt: skip
        return figures


class Diversity:
    """Whether portraits differ from each other as people do."""

    def __init__(self, setting: Setting) -> None:
        self.people = people_files(setting.folder("train_data", "diversity"))

    def measure(self, item: SeedPerson) -> Measured:
        """Keep the frontal portrait, and the most frontal picture of a training person."""
        values = {"portrait": item.shown.compared[:1].numpy()}
        if item.seed < len(self.people):
            true = TruePictures(self.people[item.seed])
            values["person"] = true.over_grey(item.subject.pixels, only=true.frontal).numpy()
        return Measured(values)

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Compare the medians of all pairs."""
        portraits, people = (torch.from_numpy(joined(measured, name)) for name in ("portrait", "person"))
        ours, theirs = median_pairwise_l1(portraits), median_pairwise_l1(people)
        return [
            Figure("diversity", ours / theirs, "", "higher", len(portraits), "portraits", "ratio of the two below"),
            Figure("pairwise_l1_portraits", ours, "", "", len(portraits), "portraits", "median over pairs"),
            Figure("pairwise_l1_people", theirs, "", "", len(people), "training people", "median over pairs"),
        ]
