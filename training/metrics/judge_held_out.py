# SPDX-License-Identifier: Apache-2.0
"""Judges of held-out people: pictures against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neural_core import others
from neural_core.errors import UsageError
from neural_core.human.anny import load_anny_head
from neural_core.perceptual import SMALLEST, lpips, perceptual_distance

from .pictures import SSIM_WINDOW, l1, median_depth_error, psnr, ssim
from .protocol import Better, Case, Figure, Measured, Setting, joined
from .sliced_wasserstein import COARSEST, sliced_wasserstein
from .sources import HeldOutPerson
from .view_variance import view_matrix
from .worst import side_by_side

BEST_PSNR = 100.0
"""dB, a mean squared error of 1e-10: equal pictures count as this, since infinity has no mean."""

SWD_PEOPLE = 1024
"""As many people's pictures are kept in memory for the sliced Wasserstein distance, the first ones."""


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
        return psnr(picture, truth).clamp(max=BEST_PSNR)

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


class Ssim(PictureScore):
    """SSIM."""

    name = "ssim"

    def __init__(self, setting: Setting) -> None:
        if setting.subject.pixels < SSIM_WINDOW:
            raise UsageError(f"SSIM needs pictures of at least {SSIM_WINDOW} pixels.", "Give a larger --compare-size.")

    def score(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Return the structural similarity."""
        return ssim(picture, truth)


class L1(PictureScore):
    """L1."""

    name, better = "l1", "lower"

    def score(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Return the mean absolute difference."""
        return l1(picture, truth)


class Lpips(PictureScore):
    """LPIPS."""

    name, better = "lpips", "lower"

    def __init__(self, setting: Setting) -> None:
        if setting.subject.pixels < SMALLEST:
            raise UsageError(f"LPIPS needs pictures of at least {SMALLEST} pixels.", "Give a larger --compare-size.")
        path = others.find("alexnet", "The metric 'lpips'")
        self.device = setting.subject.system.device
        self.network = lpips(path, self.device)

    def score(self, picture: Tensor, truth: Tensor) -> Tensor:
        """Return the distance in AlexNet's features."""
        with torch.inference_mode():
            return perceptual_distance(self.network, picture.to(self.device), truth.to(self.device)).cpu()


class SlicedWasserstein:
    """The sliced Wasserstein distance between the model's pictures and the true ones."""

    def __init__(self, setting: Setting) -> None:
        size = setting.subject.pixels
        if size < COARSEST or size & (size - 1):
            raise UsageError(
                f"The metric 'swd' cannot compare pictures of {size} pixels.", "Give --compare-size 32, 64, 128 or 256."
            )

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Keep a person's pictures in 8 bits, while there are few enough of them."""
        if item.index >= SWD_PEOPLE:
            return None
        return Measured({"ours": _in_8_bits(item.shown.compared), "true": _in_8_bits(item.truth)})

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Compare the two sets at each scale, and average over the scales."""
        sets = (torch.from_numpy(joined(measured, name)).float() / 127.5 - 1 for name in ("ours", "true"))
        ours, true = sets
        distances = sliced_wasserstein(ours, true)
        mean = sum(distances.values()) / len(distances)
        count, of = len(ours), "pictures"
        levels = [
            Figure(f"swd_{size}", value, "x 1000", "lower", count, of, f"details of {size} x {size} pictures")
            for size, value in distances.items()
        ]
        return [
            Figure("swd", mean, "x 1000", "lower", count, of, "mean over the scales, of patches at the same places"),
            *levels,
        ]


class ViewVariance:
    """How much the PSNR of a person depends on the view, after Coherent3D.

    The model makes people from codes, so every row of the N x N matrix is the same, whichever view "was the input": the
    variation over inputs (IVV) is 0 by construction and no figure of the table. metrics.json has the matrix.
    """

    def __init__(self, setting: Setting) -> None:
        pass

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Take one person's variation; it needs two views at least."""
        scores = psnr(item.shown.compared, item.truth).clamp(max=BEST_PSNR).double().numpy()
        if len(scores) < 2:
            return None
        found = view_matrix(np.tile(scores, (1, len(scores), 1)))
        numbers = {name: np.array([getattr(found, name)]) for name in ("nvv", "synthesis", "nvs")}
        return Measured({**numbers, "matrix": found.matrix})

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average over people; the matrix only if all have equally many views."""
        found = joined(measured, "nvv")
        more = {name: float(joined(measured, name).mean()) for name in ("synthesis", "nvs")}
        more |= {"ivv": 0.0, "ivv_meaning": "0 by construction: people are made from codes, not from views"}
        matrices = [one.values["matrix"] for one in measured]
        if len({matrix.shape for matrix in matrices}) == 1:
            more["matrix"] = np.mean(matrices, axis=0).tolist()
        meaning = "novel view variation"
        return [Figure("nvv_psnr", float(found.mean()), "dB", "lower", len(found), "people", meaning, more)]


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
        """Take the median of all in which both have a depth somewhere."""
        errors = joined(measured, "depth")
        errors = errors[~np.isnan(errors)]
        if not len(errors):
            return []
        return [Figure("depth_error", 100 * float(np.median(errors)), "% of the head's depth", "lower",
                       len(errors), "pictures", "")]  # fmt: skip


def worst_picture(item: HeldOutPerson, scores: Tensor, better: Better, numbers: Sequence[int] | None = None) -> Case:
    """Return a person's worst picture, beside the truth; `numbers` says which pictures the scores are of."""
    badness = (-scores if better == "higher" else scores).nan_to_num(torch.inf)
    worst = int(badness.argmax())
    number = worst if numbers is None else numbers[worst]
    return Case(float(badness[worst]), side_by_side(item.truth[number], item.shown.compared[number]))


def _in_8_bits(pictures: Tensor) -> NDArray[np.uint8]:
    return (pictures * 255).round().byte().numpy()
