# SPDX-License-Identifier: Apache-2.0
"""AED and APD: mean distances of expression and head pose that a published face fit reads off two pictures.

Next3D (section 4.2) reads them with DECA (Feng et al. 2021), others with another fit, so figures only compare with the
same one. The network is the user's; of its file only the coarse encoder is read, no FLAME is needed. The file itself
was never seen here: the layout is tested with random weights. `truth.py` has distances to exact truth, by our own fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_core import others

from .crops import boxes, sample, square

SIZE = 224
_PARTS = {"shape": 100, "texture": 50, "expression": 50, "rotation": 3, "jaw": 3, "camera": 3, "light": 27}
"""DECA's numbers, in order."""

_OUTLINE = (234, 454, 58, 288, 152, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
"""FaceMesh's points that bound what the usual 68 landmarks span: sides of the face, jaw, chin, tops of the brows."""
_ROOM = 1.1 * 1.25
"""Side of DECA's square over the mean side of that span."""


@dataclass(frozen=True)
class Fit:
    """What the fit says of n pictures."""

    shape: Float[Tensor, "n 100"]
    expression: Float[Tensor, "n 50"]
    """FLAME's coefficients, in standard deviations."""
    rotation: Float[Tensor, "n 3"]
    """Of the head: axis times angle in radians; about x (nodding), y (shaking), z (tilting)."""
    jaw: Float[Tensor, "n 3"]
    """Likewise."""


def expression_distance(a: Float[Tensor, "n c"], b: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """AED: mean absolute difference of the expression coefficients."""
    return (a - b).abs().mean(1)


def pose_distance(a: Float[Tensor, "n 3"], b: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """APD: mean absolute difference of the head's rotation vectors, radians."""
    return (a - b).abs().mean(1)


class Deca(nn.Module):
    """DECA's coarse encoder, with its published names: a ResNet-50 and two linear layers."""

    def __init__(self) -> None:
        """Build it. Raises UsageError if torchvision is not installed."""
        super().__init__()
        models = others.library("torchvision.models", "The metrics AED and APD", "metrics")
        self.encoder = models.resnet50(weights=None)
        self.encoder.fc = nn.Identity()
        self.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, sum(_PARTS.values())))

    def forward(self, faces: Float[Tensor, "n 3 224 224"]) -> Fit:
        """Fit faces in 0..1."""
        parts = self.layers(self.encoder(faces)).split(list(_PARTS.values()), dim=1)
        named = dict(zip(_PARTS, parts, strict=True))
        return Fit(named["shape"], named["expression"], named["rotation"], named["jaw"])


def deca(path: Path, device: str | torch.device = "cpu") -> Deca:
    """Return the encoder of a file.

    Raises:
        InputError: if the file is another network.
        UsageError: if torchvision is not installed.
    """
    network = Deca()
    prefix = "E_flame."
    tensors = {k.removeprefix(prefix): t for k, t in others.read_tensors(path).items() if k.startswith(prefix)}
    others.fill(network, tensors, path.name)
    return network.to(device)


def face_crops(pictures: Float[Tensor, "n 3 h w"], landmarks: Float[Tensor, "n 478 2"]) -> Float[Tensor, "n 3 224 224"]:
    """Return the squares that DECA sees; black beyond the picture.

    Args:
        pictures: 0..1.
        landmarks: FaceMesh's, in pixels from the corner of the picture.
    """
    found = boxes(landmarks[:, list(_OUTLINE)])
    side = _ROOM * (found[:, 2:] - found[:, :2]).mean(1)
    corner = (found[:, 2:] + found[:, :2]) / 2 - side[:, None] / 2
    return sample(pictures, square(corner, side, SIZE), SIZE)


@torch.inference_mode()
def fit(network: Deca, batches: Iterable[tuple[Tensor, Tensor]]) -> Fit:
    """Fit batches of pictures [b, 3, h, w] in 0..1 with FaceMesh's landmarks [b, 478, 2] in pixels; on the CPU."""
    device = next(network.parameters()).device
    fits = [network(face_crops(pictures, landmarks).to(device)) for pictures, landmarks in batches]
    return Fit(
        *(torch.cat([getattr(f, name) for f in fits]).cpu() for name in ("shape", "expression", "rotation", "jaw"))
    )
