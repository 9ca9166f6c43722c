# SPDX-License-Identifier: Apache-2.0
"""All metrics: what each means, where it is from, what it needs. Plain text, so that help costs no import of torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from neural_core.errors import UsageError

if TYPE_CHECKING:
    from .protocol import FolderName, Judge, Setting

SourceName = Literal["held-out", "seeds", "pictures", "clips", "films"]


SOURCES: tuple[SourceName, ...] = get_args(SourceName)


@dataclass(frozen=True)
class Metric:
    """One entry."""

    name: str
    source: SourceName
    """What it looks at: held-out people; seeds from some sides; random people beside real pictures
    or clips; or films."""
    judge: str
    """Module in this package, and class."""
    definition: str
    paper: str
    network: str = ""
    """What the user has to bring, as `neural_core.others` calls it; "" for nothing."""
    folder: FolderName | None = None
    """What it is compared with."""

    def begin(self, setting: Setting) -> Judge:
        """Return its judge.

        Raises:
            PortraitError: something that it needs is missing: data, a package, a network, codes of people.
        """
        if self.source == "held-out" and not setting.subject.code_size:
            raise UsageError(
                f"The metric {self.name!r} asks for people by their code, and this model only knows seeds.",
                "Ask for metrics of seeds, such as faces, cd and we, or of sets, such as fid.",
            )
        if self.folder is not None:
            setting.folder(self.folder, self.name)
        module, kind = self.judge.split(":")
        return getattr(importlib.import_module(f".{module}", __package__), kind)(setting)


_ALL = (
    Metric(
        "psnr", "held-out", "judge_held_out:Psnr",
        "peak signal-to-noise ratio of held-out people's pictures, made from their true codes at cameras that training "
        "never saw, over mid grey; mean over pictures",
        "standard",
        folder="data",
    ),
    Metric(
        "ssim", "held-out", "judge_held_out:Ssim",
        "structural similarity of the same pictures with the truth; mean over pictures",
        "Wang et al. 2004",
        folder="data",
    ),
    Metric(
        "l1", "held-out", "judge_held_out:L1",
        "mean absolute difference of the same pictures from the truth, values in 0..1; mean over pictures",
        "Real3D-Portrait (Ye et al. 2024)",
        folder="data",
    ),
    Metric(
        "lpips", "held-out", "judge_held_out:Lpips",
        "distance between the same pictures and the truth in AlexNet's features; mean over pictures",
        "Zhang et al. 2018, eq. 1", "alexnet", "data",
    ),
    Metric(
        "csim", "held-out", "judge_identity:Csim",
        "cosine between ArcFace's embeddings of the same pictures and of the truth, where FaceMesh finds both faces; "
        "mean over pictures",
        "Deng et al. 2019; Real3D-Portrait", "arcface", "data",
    ),
    Metric(
        "akd", "held-out", "judge_faces:Akd",
        "mean distance of 68 landmarks (FaceMesh's) between the same pictures and the truth, where both show a face; "
        "mean over pictures",
        "Real3D-Portrait, section 4.2",
        folder="data",
    ),
    Metric(
        "aed", "held-out", "judge_faces:Aed",
        "mean difference of DECA's expression coefficients between the same pictures and the truth",
        "after Next3D and Real3D-Portrait, section 4.2", "deca", "data",
    ),
    Metric(
        "apd", "held-out", "judge_faces:Apd",
        "mean difference of DECA's head rotation between the same pictures and the truth",
        "after Next3D and Real3D-Portrait, section 4.2", "deca", "data",
    ),
    Metric(
        "landmark-consistency-held-out", "held-out", "judge_faces:HeldOutConsistency",
        "the same as landmark-consistency over each person's pictures, beside that of the true pictures; median over "
        "people",
        "ours",
        folder="data",
    ),
    Metric(
        "truth-distance", "held-out", "judge_truth:TruthDistance",
        "what our capture reads off 20 people's pictures against the exact truth: face shape (root mean square over "
        "478 landmarks), facial actions (mean absolute), head pose; medians, beside those of the true pictures",
        "after AED and APD (Next3D, section 4.2)",
        folder="data",
    ),
    Metric(
        "swd", "held-out", "judge_held_out:SlicedWasserstein",
        "sliced Wasserstein distance between the same pictures and the truth, at each scale",
        "Karras et al. 2018, section 5",
        folder="data",
    ),
    Metric(
        "view-variance", "held-out", "judge_held_out:ViewVariance",
        "NVV: standard deviation of a person's PSNR over the views; mean over people. IVV, over input views, is 0 for "
        "people that are made from codes",
        "Coherent3D, eq. 14, 15",
        folder="data",
    ),
    Metric(
        "depth", "held-out", "judge_held_out:Depth",
        "median depth error of a picture's pixels, as a share of the head's depth; median over pictures",
        "ours",
        folder="data",
    ),
    Metric(
        "faces", "seeds", "judge_portraits:Faces",
        "portraits in which FaceMesh finds a face, and the median distance of 15 of its landmarks from the rig's, in "
        "distances between the eyes",
        "ours",
    ),
    Metric(
        "multi-view-id", "seeds", "judge_identity:MultiViewId",
        "cosine between ArcFace's embeddings of a portrait's views, where FaceMesh finds the face in each; mean over "
        "portraits",
        "EG3D, section 4; PV3D, eq. 5", "arcface",
    ),
    Metric(
        "landmark-consistency", "seeds", "judge_portraits:LandmarkConsistency",
        "root mean square distance of the rays of FaceMesh's landmarks, from a portrait's views, to the points that "
        "are nearest to them, in distances between the eyes; median over portraits",
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
        "expression-accuracy", "seeds", "judge_expressions:ExpressionAccuracy",
        "correlation of the rig's jawOpen, eyeBlink and mouthSmile with what FaceMesh's landmarks say of them, over "
        "five expressions a seed, and the slope as a multiple of that on true pictures of the same expressions",
        "ours; after AED (Next3D, section 4.2)",
        folder="data",
    ),
    Metric(
        "expression-identity", "seeds", "judge_expressions:ExpressionIdentity",
        "distance of one person's faces across five expressions, of landmarks that expressions hardly move "
        "(Procrustes) and of the colours of skin and hair, as a share of that between people; medians over pairs",
        "ours; after ID (Next3D, section 4.2)",
    ),
    Metric(
        "fid", "pictures", "judge_sets:Fid",
        "Fréchet distance between Inception's features of random people, not truncated and seen by the data's cameras, "
        "and of the data's pictures",
        "Heusel et al. 2017, eq. 6", "inception", "pictures",
    ),
    Metric(
        "kid", "pictures", "judge_sets:Kid",
        "kernel distance (squared MMD, polynomial kernel) between the same features",
        "Bińkowski et al. 2018, section 4", "inception", "pictures",
    ),
    Metric(
        "fvd", "clips", "judge_sets:Fvd",
        "Fréchet distance between I3D's features of clips of 16 frames: the data's, and random people seen by the same "
        "cameras",
        "Unterthiner et al. 2018; PV3D, appendix A.4", "i3d", "clips",
    ),
    Metric(
        "sync", "films", "judge_films:Sync",
        "how much nearer SyncNet's embeddings of lips and sound are at the best offset than at the median one, and the "
        "distance there; mean over films",
        "Chung and Zisserman 2016, section 4; Prajwal et al. 2020", "syncnet", "films",
    ),
    Metric(
        "diversity", "seeds", "judge_portraits:Diversity",
        "median pairwise L1 between portraits, divided by that between training people",
        "ours",
        folder="train_data",
    ),
)  # fmt: skip

METRICS = {metric.name: metric for metric in _ALL}
"""By name, in the order of the report."""
