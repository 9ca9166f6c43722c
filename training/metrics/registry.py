# SPDX-License-Identifier: Apache-2.0
"""All metrics: what each means, where it is from, what it needs. Plain text, so that help costs no import of torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .protocol import Judge, Setting

SourceName = Literal["held-out", "seeds"]


@dataclass(frozen=True)
class Metric:
    """One entry."""

    name: str
    source: SourceName
    """What it looks at: held-out people of --data, or seeds."""
    judge: str
    """Module in this package, and class."""
    definition: str
    paper: str
    network: str = ""
    """What the user has to bring; "" for nothing."""

    def begin(self, setting: Setting) -> Judge:
        """Return its judge.

        Raises:
            PortraitError: something that it needs is missing: data, a package, a network.
        """
        module, kind = self.judge.split(":")
        return getattr(importlib.import_module(f".{module}", __package__), kind)(setting)


_ALL = (
    Metric(
        "psnr", "held-out", "judge_held_out:Psnr",
        "peak signal-to-noise ratio of held-out people's pictures, made from their true codes at cameras that training "
        "never saw, over mid grey; mean over pictures",
        "standard",
    ),
    Metric(
        "ssim", "held-out", "judge_held_out:Ssim",
        "structural similarity of the same pictures with the truth; mean over pictures",
        "Wang et al. 2004",
    ),
    Metric(
        "l1", "held-out", "judge_held_out:L1",
        "mean absolute difference of the same pictures from the truth, values in 0..1; mean over pictures",
        "Real3D-Portrait (Ye et al. 2024)",
    ),
    Metric(
        "swd", "held-out", "judge_held_out:SlicedWasserstein",
        "sliced Wasserstein distance between the same pictures and the truth, at each scale",
        "Karras et al. 2018, section 5",
    ),
    Metric(
        "view-variance", "held-out", "judge_held_out:ViewVariance",
        "NVV: standard deviation of a person's PSNR over the views; mean over people. IVV, over input views, is 0 for "
        "people that are made from codes",
        "Coherent3D, eq. 14, 15",
    ),
    Metric(
        "depth", "held-out", "judge_held_out:Depth",
        "median over a picture's pixels of |depth - true depth|, as a share of the head's depth; median over pictures",
        "ours",
    ),
    Metric(
        "faces", "seeds", "judge_portraits:Faces",
        "portraits in which FaceMesh finds a face, and the median distance of 15 of its landmarks from the rig's, in "
        "distances between the eyes",
        "ours",
    ),
    Metric(
        "cd", "seeds", "judge_portraits:ChamferDistance",
        "Chamfer distance between the points that the depth maps from the front and from the side show; median over "
        "points, mean over pairs of views",
        "PV3D (Xu et al. 2023), eq. 6",
    ),
    Metric(
        "we", "seeds", "judge_portraits:WarpingError",
        "difference of the frontal picture from the one from the side, warped by its depth; mean over pairs of views",
        "PV3D (Xu et al. 2023), eq. 7, 8",
    ),
    Metric(
        "diversity", "seeds", "judge_portraits:Diversity",
        "median pairwise L1 between portraits, divided by that between training people",
        "ours",
    ),
)  # fmt: skip

METRICS = {metric.name: metric for metric in _ALL}
"""By name, in the order of the report."""
