# SPDX-License-Identifier: Apache-2.0
"""Judges of sets: whether what the model makes up is distributed as real pictures and clips are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from neural_core import others

from .fid import FEATURES, Gaussian, frechet_distance, inception, inception_features
from .fvd import I3D, i3d, video_features
from .kid import kernel_distance
from .protocol import Figure, Measured, Setting, joined
from .set_sources import Generated, GeneratedClip

_FEW = f"too large with fewer than {FEATURES} pictures on a side"


class _Features:
    """Keeps Inception's features of generated and of real pictures."""

    name: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        path = others.find("inception", f"The metric {self.name!r}")
        self.network = _inception(path, setting.subject.system.device)

    def measure(self, item: Generated) -> Measured | None:
        """Keep what an item has; its features are computed once for all judges."""
        found = {}
        for name, picture in item.pictures().items():
            features = item.features.get(name)
            if features is None:
                features = item.features[name] = inception_features(self.network, [picture[None]]).numpy()
            found[name] = features
        return Measured(found)


class Fid(_Features):
    """FID."""

    name = "fid"

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Compare the two normal distributions."""
        made, real = (torch.from_numpy(joined(measured, name)) for name in ("generated", "real"))
        value = frechet_distance(Gaussian.of(made), Gaussian.of(real))
        meaning = f"against {len(real)} real ones" + ("; " + _FEW if min(len(made), len(real)) < FEATURES else "")
        return [Figure("fid", value, "", "lower", len(made), "pictures", meaning)]


class Kid(_Features):
    """KID."""

    name = "kid"

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Average over random subsets."""
        made, real = (torch.from_numpy(joined(measured, name)) for name in ("generated", "real"))
        found = kernel_distance(made, real)
        meaning = f"against {len(real)} real ones"
        if found.subset_size < min(len(made), len(real)):  # else the subsets are always the same
            meaning += f"; subsets of {found.subset_size}, deviation {found.deviation:.4g}"
        return [Figure("kid", found.mean, "", "lower", len(made), "pictures", meaning)]


class Fvd:
    """FVD."""

    def __init__(self, setting: Setting) -> None:
        self.network: I3D = i3d(others.find("i3d", "The metric 'fvd'"), setting.subject.system.device)

    def measure(self, item: GeneratedClip) -> Measured:
        """Keep the features of a real clip, and of a seed seen by its cameras."""
        pair = {"generated": item.generated, "real": item.real}
        return Measured({name: video_features(self.network, [clip[None]]).numpy() for name, clip in pair.items()})

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Compare the two normal distributions."""
        made, real = (torch.from_numpy(joined(measured, name)) for name in ("generated", "real"))
        value = frechet_distance(Gaussian.of(made), Gaussian.of(real))
        return [Figure("fvd", value, "", "lower", len(made), "clips", f"against {len(real)} real ones")]


@cache
def _inception(path: Path, device: torch.device) -> nn.Module:
    """Return the network, once for both judges."""
    return inception(path, device)
