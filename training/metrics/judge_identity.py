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
from neural_core.errors import UsageError

from .faces import check_available
from .identity import arcface, cosine_similarity, embeddings, five_points, multi_view_identity
from .judge_held_out import worst_picture
from .protocol import Case, Figure, Measured, Setting, joined
from .sources import HeldOutPerson, SeedPerson
from .worst import side_by_side


class _Identity:
    """Holds the network."""

    name: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        check_available()
        path = others.find("arcface", f"The metric {self.name!r}")
        self.network = arcface(path, setting.subject.system.device)

    def embed(self, pictures: Float[Tensor, "n 3 h w"], points: Float[Tensor, "n 478 2"]) -> Float[Tensor, "n c"]:
        """Return unit vectors of pictures whose faces have FaceMesh's landmarks, in pixels, there."""
        return embeddings(self.network, [(pictures, five_points(points))])


class Csim(_Identity):
    """CSIM of held-out people with the truth."""

    name = "csim"

    def measure(self, item: HeldOutPerson) -> Measured | None:
        """Compare the pictures in which a face is found on both sides."""
        pairs = item.face_pairs
        if not pairs.numbers:
            return None
        alike = cosine_similarity(self.embed(pairs.shown, pairs.points), self.embed(pairs.true, pairs.true_points))
        return Measured({"csim": alike.numpy()}, (worst_picture(item, alike, "higher", pairs.numbers),))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average."""
        alike = joined(measured, "csim")
        return [Figure("csim", float(alike.mean()), "", "higher", len(alike), "pictures", "")]


class MultiViewId(_Identity):
    """ID of portraits from several sides."""

    name = "multi-view-id"

    def __init__(self, setting: Setting) -> None:
        if len(setting.yaws) < 2:
            raise UsageError("The metric 'multi-view-id' compares views.", "Give --yaw 0,30.")
        super().__init__(setting)
        self.meaning = setting.truncated

    def measure(self, item: SeedPerson) -> Measured | None:
        """Compare all views, if a face is found in each."""
        views = item.shown.views.picture
        found = [points * views.shape[-1] for points in item.landmarks if points is not None]
        if len(found) < max(len(item.yaws), 2):
            return None
        alike = multi_view_identity(self.embed(views, torch.from_numpy(np.stack(found)).float())[None])
        case = Case(-float(alike), side_by_side(*views))
        return Measured({"id": alike.numpy()}, (case,))

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average."""
        alike = joined(measured, "id")
        return [Figure("multi_view_id", float(alike.mean()), "", "higher", len(alike), "portraits", self.meaning)]
