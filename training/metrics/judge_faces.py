# SPDX-License-Identifier: Apache-2.0
"""Judges of held-out people's faces: landmarks, expression and pose, compared with those in the true pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from neural_core import others
from neural_core.cameras import Camera

from .faces import check_available
from .fit_distances import Deca, Fit, deca, expression_distance, fit, pose_distance
from .judge_held_out import worst_picture
from .judge_portraits import EYES
from .landmarks import average_keypoint_distance, multiview_landmark_consistency
from .protocol import Figure, Measured, Setting, joined
from .sources import HeldOutPerson


class Akd:
    """AKD."""

    def __init__(self, setting: Setting) -> None:
        check_available()

    def measure(self, item: HeldOutPerson) -> Measured:
        """Compare a person's pictures; nan where a face is not found."""
        apart = average_keypoint_distance(item.landmarks, item.true_landmarks, 1)
        seen = ~np.isnan(apart)
        numbers = np.flatnonzero(seen).tolist()
        cases = (worst_picture(item, torch.from_numpy(apart[seen]), "lower", numbers),) if numbers else ()
        return Measured({"akd": apart}, cases)

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average over the pictures with both faces."""
        apart = joined(measured, "akd")
        seen = apart[~np.isnan(apart)]
        if not len(seen):
            return []
        meaning = f"of {len(apart)}: in the others FaceMesh does not find both faces"
        return [Figure("akd", float(seen.mean()), "pixels of 256", "lower", len(seen), "pictures", meaning)]


class HeldOutConsistency:
    """The consistency of landmarks over a person's pictures, for the model and for the truth, from the same sides."""

    def __init__(self, setting: Setting) -> None:
        check_available()

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Take the pictures with both faces, if they are two at least."""
        numbers = item.face_pairs.numbers
        if len(numbers) < 2:
            return None
        camera = Camera(item.camera.cam2world[numbers], item.camera.intrinsics[numbers])
        pair = {"ours": item.landmarks, "true": item.true_landmarks}
        try:
            return Measured({
                name: np.array([multiview_landmark_consistency([found[number] for number in numbers], camera, 1)])
                for name, found in pair.items()
            })  # fmt: skip
        except ValueError:  # all of them from the same side
            return None

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Take the medians."""
        ours, true = (100 * float(np.median(joined(measured, name))) for name in ("ours", "true"))
        name, meaning = "landmark_consistency", "of the true pictures: what can be reached"
        return [
            Figure(f"{name}_held_out", ours, EYES, "lower", len(measured), "people", ""),
            Figure(f"{name}_truth", true, EYES, "", len(measured), "people", meaning),
        ]


class _FitDistance:
    """The mean distance of what DECA reads off the model's pictures and off the true ones."""

    name: ClassVar[str]
    unit: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        check_available()
        self.network = _deca(others.find("deca", f"The metric {self.name!r}"), setting.subject.system.device)

    def distance(self, ours: Fit, true: Fit) -> Tensor:
        """Return the distances of k pictures, [k]."""
        raise NotImplementedError

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Compare the pictures with both faces; they are fitted once for all judges."""
        pairs = item.face_pairs
        if not pairs.numbers:
            return None
        if "deca" not in item.notes:
            batches = ((pairs.shown, pairs.points), (pairs.true, pairs.true_points))
            item.notes["deca"] = [fit(self.network, [batch]) for batch in batches]
        apart = self.distance(*item.notes["deca"])
        return Measured({self.name: apart.numpy()}, (worst_picture(item, apart, "lower", pairs.numbers),))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average."""
        apart = joined(measured, self.name)
        return [Figure(self.name, float(apart.mean()), self.unit, "lower", len(apart), "pictures", "")]


class Aed(_FitDistance):
    """AED."""

    name, unit = "aed", "standard deviations"

    def distance(self, ours: Fit, true: Fit) -> Tensor:
        """Return the mean difference of the expression coefficients."""
        return expression_distance(ours.expression, true.expression)


class Apd(_FitDistance):
    """APD."""

    name, unit = "apd", "radians"

    def distance(self, ours: Fit, true: Fit) -> Tensor:
        """Return the mean difference of the head's rotation vectors."""
        return pose_distance(ours.rotation, true.rotation)


@cache
def _deca(path: Path, device: torch.device) -> Deca:
    """Return the network, once for both judges."""
    return deca(path, device)
