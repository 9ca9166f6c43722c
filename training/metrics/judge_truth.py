# SPDX-License-Identifier: Apache-2.0
"""The judge that lets our own capture read held-out people's pictures, and compares that with the exact truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neural_core.capture.detect import FaceFinder
from neural_core.human.anny import load_anny_head

from .faces import check_available
from .protocol import Figure, Measured, Setting, joined
from .sources import HeldOutPerson
from .truth import Truth, TruthDistances, distances_to_truth, recognised

PEOPLE = 20
"""Reading a person's pictures takes seconds: the first ones of the data are read."""


class TruthDistance:
    """Identity, expression and pose that capture reads off the model's pictures and off the true ones."""

    def __init__(self, setting: Setting) -> None:
        check_available()
        self.face = load_anny_head()

    @cached_property
    def finder(self) -> FaceFinder:
        """Return MediaPipe's networks, which live as long as the judge."""
        return FaceFinder()

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Read a person twice."""
        if item.index >= PEOPLE:
            return None
        record = item.true.record
        truth = Truth(record.shape, record.actions, record.cameras)
        values: dict[str, NDArray] = {"truth": record.shape[None]}
        for name, pictures in (("ours", item.shown.views.picture), ("true", item.true_pictures)):
            found = distances_to_truth(self.finder, self.face, _pixels(pictures), truth)
            values |= {f"{name}_{of}": value for of, value in _kept(found).items()}
        return Measured(values)

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Take medians over people and pictures, for the model and beside it for the truth."""
        figures = []
        for name, of in (("ours", ""), ("true", "of the true pictures: capture's own error")):
            suffix, better = ("", "lower") if name == "ours" else ("_of_truth", "")
            for figure, unit, counted in (
                ("identity", "mm", "people"), ("expression", "0..1", "pictures"), ("pose", "degrees", "pictures"),
            ):  # fmt: skip
                values = joined(measured, f"{name}_{figure}")
                seen = values[~np.isnan(values)]
                if len(seen):
                    value = float(np.median(seen))
                    figures.append(Figure(f"{figure}_distance{suffix}", value, unit, better, len(seen), counted, of))
            read = ~np.isnan(joined(measured, f"{name}_identity"))
            if read.any():
                known = recognised(self.face, joined(measured, f"{name}_shape"), joined(measured, "truth"))[read]
                meaning = "nearer to themselves than to all others"
                meaning += f"; {(~read).sum()} more could not be read" if not read.all() else ""
                figures.append(Figure(f"recognised{suffix}", 100 * float(known.mean()), "%",
                                      "higher" if name == "ours" else "", len(known), "people", meaning))  # fmt: skip
        mean = float(np.median(joined(measured, "ours_of_mean")))
        meaning = "of who sees nothing: the mean person"
        return [*figures, Figure("identity_distance_of_mean", mean, "mm", "", len(measured), "people", meaning)]


def _kept(found: TruthDistances) -> dict[str, NDArray]:
    return {
        "shape": found.shape[None],
        "identity": np.array([found.identity]),
        "of_mean": np.array([found.identity_of_mean]),
        "expression": found.expression,
        "pose": found.pose,
    }


def _pixels(pictures: Float[Tensor, "n 3 h w"]) -> NDArray[np.uint8]:
    return (pictures.movedim(1, -1) * 255).round().byte().numpy()
