# SPDX-License-Identifier: Apache-2.0
"""Judges of who it is, by the user's ArcFace network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_core import others

from .faces import check_available
from .identity import arcface, cosine_similarity, embeddings, five_points, multi_view_identity
from .protocol import Case, Figure, Measured, Setting, joined
from .sources import HeldOutPerson, Landmarks, SeedPerson
from .worst import side_by_side


class _Identity:
    """Holds the network."""

    name: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        check_available()
        path = others.find("arcface", f"The metric {self.name!r}")
        self.network = arcface(path, setting.subject.system.device)

    def embed(self, pictures: Float[Tensor, "n 3 h w"], landmarks: Sequence[Landmarks]) -> Float[Tensor, "n c"]:
        """Return unit vectors of pictures whose faces have their landmarks, in pixels, there."""
        points = five_points(torch.from_numpy(np.stack(landmarks)).float())
        return embeddings(self.network, [(pictures, points)])


class Csim(_Identity):
    """CSIM of held-out people with the truth."""

    name = "csim"

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Compare the views in which a face is found on both sides."""
        both = zip(item.landmarks, item.true_landmarks, strict=True)
        seen = [number for number, (ours, true) in enumerate(both) if ours is not None and true is not None]
        if not seen:
            return None
        shown, true = item.shown.views.picture[seen], item.true.over_grey()[seen]
        pairs = ((shown, item.landmarks), (true, item.true_landmarks))
        ours, theirs = (
            self.embed(pictures, [_scaled(found[number], pictures.shape[-1] / item.subject.pixels) for number in seen])
            for pictures, found in pairs
        )
        alike = cosine_similarity(ours, theirs)
        worst = int(alike.argmin())
        case = Case(-float(alike[worst]), side_by_side(item.truth[seen][worst], item.shown.compared[seen][worst]))
        return Measured({"csim": alike.numpy()}, (case,))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average."""
        alike = joined(measured, "csim")
        return [Figure("csim", float(alike.mean()), "", "higher", len(alike), "pictures", "")]


class MultiViewId(_Identity):
    """ID of portraits from several sides."""

    name = "multi-view-id"

    def measure(self, item: SeedPerson) -> Measured | None:
        """Compare all views, if a face is found in each."""
        found = [points for points in item.landmarks if points is not None]
        if len(found) < max(len(item.yaws), 2):
            return None
        alike = multi_view_identity(self.embed(item.shown.views.picture, found)[None])
        case = Case(-float(alike), side_by_side(*item.shown.views.picture))
        return Measured({"id": alike.numpy()}, (case,))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average."""
        alike = joined(measured, "id")
        return [Figure("multi_view_id", float(alike.mean()), "", "higher", len(alike), "portraits", "")]


def _scaled(points: Landmarks | None, factor: float) -> Landmarks:
    assert points is not None
    return points * factor
