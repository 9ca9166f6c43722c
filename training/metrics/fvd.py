# SPDX-License-Identifier: Apache-2.0
"""Fréchet video distance (Unterthiner et al. 2018): `fid.frechet_distance` of features of clips.

The features are the 400 logits of I3D (Carreira and Zisserman 2017, figure 3) trained on Kinetics. The network is the
user's, with the names of pytorch-i3d; PV3D's figures were made with that file (its appendix A.4, 16 frames a clip). The
file itself was never seen here: the layout is tested with random weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from neural_core import others
from neural_core.errors import InputError

SIZE = 224
LOGITS = 400
FEWEST_FRAMES = 9
"""So that two time steps, which the last pool averages, are left."""

_MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
"""Channels of an Inception module: 1x1; 1x1 before 3x3, and that; the same again; 1x1 after the pool."""


def _same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad with zeros as TensorFlow's "same" does: ceil(size / stride) outputs, the odd pixel at the end."""
    sides: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        sides = [total // 2, total - total // 2, *sides]  # the last dimension comes first
    return functional.pad(x, sides)


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU; the last layer has a bias instead of the two."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, last: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_same(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else self.bn(x).relu()


class _Pool(nn.Module):
    """Largest value, padded with zeros like a convolution (what comes in is not negative)."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool3d(_same(x, self.kernel, self.stride), self.kernel, self.stride)


class _Mixed(nn.Module):
    """An Inception module."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, channels[0])
        self.b1a, self.b1b = _Unit(inputs, channels[1]), _Unit(channels[1], channels[2], 3)
        self.b2a, self.b2b = _Unit(inputs, channels[3]), _Unit(channels[3], channels[4], 3)
        self.b3a, self.b3b = _Pool((3, 3, 3), (1, 1, 1)), _Unit(inputs, channels[5])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class I3D(nn.Module):
    """Clips [n, 3, t, 224, 224] in -1..1 to logits [n, 400], averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        outputs = {name: c[0] + c[2] + c[4] + c[5] for name, c in _MIXED.items()}
        inputs = dict(pairwise(_MIXED))  # which module comes after which
        mixed = {"3b": _Mixed(192, _MIXED["3b"])}
        mixed |= {after: _Mixed(outputs[before], _MIXED[after]) for before, after in inputs.items()}
        layers = {
            "Conv3d_1a_7x7": _Unit(3, 64, 7, 2),
            "MaxPool3d_2a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": _Unit(64, 64),
            "Conv3d_2c_3x3": _Unit(64, 192, 3),
            "MaxPool3d_3a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
            **{f"Mixed_{name}": mixed[name] for name in ("3b", "3c")},
            "MaxPool3d_4a_3x3": _Pool((3, 3, 3), (2, 2, 2)),
            **{f"Mixed_{name}": mixed[name] for name in ("4b", "4c", "4d", "4e", "4f")},
            "MaxPool3d_5a_2x2": _Pool((2, 2, 2), (2, 2, 2)),
            **{f"Mixed_{name}": mixed[name] for name in ("5b", "5c")},
        }
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.logits = _Unit(outputs["5c"], LOGITS, last=True)

    def forward(self, clips: Tensor) -> Tensor:
        """Return logits [n, 400]."""
        x = clips
        for name, layer in self.named_children():
            if name == "logits":
                x = functional.avg_pool3d(x, (2, 7, 7), stride=1)
            x = layer(x)
        return x.mean((2, 3, 4))


def i3d(path: Path, device: str | torch.device = "cpu") -> I3D:
    """Return the network of a file. Raises InputError if it is another."""
    network = I3D()
    others.fill(network, others.read_tensors(path), path.name)
    return network.to(device)


@torch.inference_mode()
def video_features(network: I3D, batches: Iterable[Float[Tensor, "b t 3 h w"]]) -> Float[Tensor, "n 400"]:
    """Return the features on the CPU of batches of square clips in 0..1.

    Frames are scaled to 224 x 224 bilinearly, without a filter, as the published code does.

    Raises:
        InputError: if a clip has fewer than nine frames, or is not square.
    """
    device = next(network.parameters()).device
    found = []
    for clips in batches:
        count, frames, _, height, width = clips.shape
        if frames < FEWEST_FRAMES or height != width:
            raise InputError(
                f"FVD needs square clips of at least {FEWEST_FRAMES} frames, and got {frames} of {width} x {height}.",
                "The papers take 16 frames.",
            )
        scaled = functional.interpolate(clips.flatten(0, 1).to(device), size=(SIZE, SIZE), mode="bilinear")
        found.append(network((scaled * 2 - 1).unflatten(0, (count, frames)).movedim(1, 2)).cpu())
    return torch.cat(found)
