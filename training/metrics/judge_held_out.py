# SPDX-License-Identifier: Apache-2.0
"""Judges of held-out people: pictures against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from neural_core.human.anny import load_anny_head

from .pictures import median_depth_error, psnr
from .protocol import Better, Case, Figure, Measured, Setting, joined
from .sources import HeldOutPerson
from .worst import side_by_side


class PictureScore:
    """The mean over all pictures of a score of picture and truth."""

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    better: ClassVar[Better] = "higher"

    def __init__(self, setting: Setting) -> None:
        pass

    def score(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Return the score of pictures [n, 3, h, w] in 0..1, [n]."""
        raise NotImplementedError

    def measure(self, item: HeldOutPerson) -> Measured:
        """Score a person's pictures."""
        scores = self.score(item.shown.compared, item.truth)
        return Measured({self.name: scores.numpy()}, (worst_picture(item, scores, self.better),))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average."""
        scores = joined(measured, self.name)
        return [Figure(self.name, float(scores.mean()), self.unit, self.better, len(scores), "pictures", "")]


class Psnr(PictureScore):
    """PSNR, and how much of it the mean person has already."""

    name, unit = "psnr", "dB"

    def score(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Return the PSNR."""
        return psnr(picture, truth)

    def measure(self, item: HeldOutPerson) -> Measured:
        """Score the person's and the mean person's pictures."""
        own = super().measure(item)
        mean = self.score(item.mean_shown.compared, item.truth)
        return Measured({**own.values, "mean": mean.numpy()}, own.cases)

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average both, and subtract."""
        (own,) = super().figures(measured)
        mean = float(joined(measured, "mean").mean())
        return [
            own,
            Figure("psnr_mean_person", mean, "dB", "", own.count, own.of, "of the picture of the mean person (code 0)"),
            Figure("psnr_gain", own.value - mean, "dB", "higher", own.count, own.of, "gain over the mean person"),
        ]


class Depth:
    """The error of the depth, as a share of the head's depth."""

    def __init__(self, setting: Setting) -> None:
        self.head_depth = float(np.ptp(load_anny_head().v_template[:, 2]))

    def measure(self, item: HeldOutPerson) -> Measured:
        """Take the median of each picture."""
        views = item.shown.views
        valid = views.solid & (item.true_depth > 0)
        errors = median_depth_error(views.depth, item.true_depth, valid, self.head_depth)
        return Measured({"depth": errors.numpy()}, (worst_picture(item, errors, "lower"),))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Take the median of all."""
        errors = joined(measured, "depth")
        return [Figure("depth_error", 100 * float(np.nanmedian(errors)), "% of the head's depth", "lower",
                       len(errors), "pictures", "")]  # fmt: skip


def worst_picture(item: HeldOutPerson, scores: Tensor, better: Better) -> Case:
    """Return a person's worst picture, beside the truth."""
    badness = (-scores if better == "higher" else scores).nan_to_num(torch.inf)
    number = int(badness.argmax())
    return Case(float(badness[number]), side_by_side(item.truth[number], item.shown.compared[number]))
