# SPDX-License-Identifier: Apache-2.0
"""Whether it is the same person: cosines of ArcFace embeddings (Deng et al. 2019), CSIM and multi-view ID.

A face is first moved to where ArcFace was trained to see it: five points onto a template of 112 x 112 pixels, by the
best rotation, scale and translation. The network is the user's (`neural_core.others`); both usual kinds are read, the
plain residual one of arcface_torch ("backbone.pth") and the one with squeeze and excitation that the 3D GAN papers take
("model_ir_se50.pth"). Neither file was ever seen here: the layouts are tested with random weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from neural_core import others
from neural_core.errors import InputError

from .crops import sample

SIZE = 112
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where insightface puts the eye on the left of the picture, the other, the tip of the nose, and the corners of the
mouth; x and y in pixels of which the centre of the first is (0, 0)."""

FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))
"""The same points among FaceMesh's 478: an eye is the middle of its corners."""


def five_points(landmarks: Float[Tensor, "n 478 2"]) -> Float[Tensor, "n 5 2"]:
    """Return the template's points of FaceMesh's landmarks, in the same unit."""
    return torch.stack([landmarks[:, list(points)].mean(1) for points in FIVE], dim=1)


def similarity(source: Float[Tensor, "n p 2"], target: Float[Tensor, "n p 2"]) -> Float[Tensor, "n 2 3"]:
    """Return the rotation with scale and translation [A | t] that takes points nearest to others, in least squares.

    In the plane the least squares of Umeyama (1991) are linear: A = [[a, -b], [b, a]], no reflection.
    """
    middle_s, middle_t = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    x, y = source - middle_s, target - middle_t
    spread = x.square().sum((1, 2))
    a = (x * y).sum((1, 2)) / spread
    b = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).sum(1) / spread
    turn = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], -2)
    return torch.cat([turn, (middle_t - middle_s @ turn.mT).mT], dim=2)


def aligned(pictures: Float[Tensor, "n 3 h w"], points: Float[Tensor, "n 5 2"]) -> Float[Tensor, "n 3 112 112"]:
    """Return the faces at the template's place, read bilinearly; black beyond the picture.

    Args:
        pictures: any range.
        points: `five_points` in pixels, where (0, 0) is the corner of the picture (not the centre of its first pixel).
    """
    template = (torch.tensor(TEMPLATE) + 0.5).to(points).expand(len(points), -1, -1)
    return sample(pictures, similarity(template, points), SIZE)


class _Squeeze(nn.Module):
    """Channels weighted by what the whole picture shows (Hu et al. 2018)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class _Block(nn.Module):
    """ArcFace's "improved residual unit" (its section 3.1): norm, conv, PReLU, conv, norm, beside a shortcut."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], stride: int) -> None:
        super().__init__()
        outputs, inputs = shapes["conv1.weight"][:2]
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs) if "norm2.weight" in shapes else nn.Identity()
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        squeezed = shapes.get("squeeze.fc1.weight")
        self.squeeze = _Squeeze(outputs, squeezed[0]) if squeezed else nn.Identity()
        if "shortcut.0.weight" in shapes:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
        else:
            self.shortcut = nn.MaxPool2d(1, stride)  # every other pixel, or all

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.norm2(self.conv1(self.norm1(x))))
        return self.squeeze(self.norm3(self.conv2(y))) + self.shortcut(x)


class ArcFace(nn.Module):
    """Aligned faces [n, 3, 112, 112] in 0..1 to embeddings of unit length [n, c]; sizes as the tensors have them."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Build the network of tensors with our names. Raises KeyError if one is missing that tells a size."""
        super().__init__()
        width = tensors["conv.weight"].shape[0]
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.blocks = nn.Sequential()
        while any(key.startswith(f"blocks.{len(self.blocks)}.") for key in tensors):
            prefix = f"blocks.{len(self.blocks)}."
            shapes = {key.removeprefix(prefix): tuple(t.shape) for key, t in tensors.items() if key.startswith(prefix)}
            # A stage begins where the number of channels changes, and with the first block; it halves the picture.
            outputs = shapes["conv1.weight"][0]
            self.blocks.append(_Block(shapes, 2 if not len(self.blocks) or outputs != width else 1))
            width = outputs
        self.norm_out = nn.BatchNorm2d(width)
        features, flat = tensors["linear.weight"].shape
        self.linear = nn.Linear(flat, features)
        self.norm_features = nn.BatchNorm1d(features)

    def forward(self, faces: Tensor) -> Tensor:
        """Return unit vectors [n, c]."""
        x = self.prelu(self.norm(self.conv(faces * 2 - 1)))
        x = self.norm_out(self.blocks(x)).flatten(1)
        return functional.normalize(self.norm_features(self.linear(x)), dim=1)


_RENAMES = {
    "input_layer.0.weight": [
        (r"^input_layer\.0\.", "conv."),
        (r"^input_layer\.1\.", "norm."),
        (r"^input_layer\.2\.", "prelu."),
        (r"\.res_layer\.0\.", ".norm1."),
        (r"\.res_layer\.1\.", ".conv1."),
        (r"\.res_layer\.2\.", ".prelu."),
        (r"\.res_layer\.3\.", ".conv2."),
        (r"\.res_layer\.4\.", ".norm3."),
        (r"\.res_layer\.5\.", ".squeeze."),
        (r"\.shortcut_layer\.", ".shortcut."),
        (r"^output_layer\.0\.", "norm_out."),
        (r"^output_layer\.3\.", "linear."),
        (r"^output_layer\.4\.", "norm_features."),
    ],
    "conv1.weight": [
        (r"^conv1\.", "conv."),
        (r"^bn1\.", "norm."),
        (r"^bn2\.", "norm_out."),
        (r"^fc\.", "linear."),
        (r"^features\.", "norm_features."),
        (r"\.bn(\d)\.", r".norm\1."),
        (r"\.downsample\.", ".shortcut."),
    ],
}
"""What published names are here, by the name of the first layer: model_ir_se50's, then arcface_torch's."""

_BLOCK = r"^(?:body\.|layer(\d)\.)(\d+)"
"""A residual block's published place: in one list, or in a list of its stage."""


def arcface(path: Path, device: str | torch.device = "cpu") -> ArcFace:
    """Return the network of a file. Raises InputError if it is none of the two kinds."""
    published = others.read_tensors(path)
    renames = next((renames for first, renames in _RENAMES.items() if first in published), None)
    if renames is None:
        raise InputError(f'"{path.name}" is no ArcFace network of the kinds that are known here.', _KINDS)
    places = {match[0]: (int(match[1] or 0), int(match[2])) for key in published if (match := re.match(_BLOCK, key))}
    numbers = {block: f"blocks.{index}" for index, block in enumerate(sorted(places, key=places.__getitem__))}
    tensors = {}
    for key, tensor in published.items():
        name = re.sub(_BLOCK, lambda match: numbers[match[0]], key)
        for pattern, ours in renames:
            name = re.sub(pattern, ours, name)
        tensors[name] = tensor
    try:
        network = ArcFace(tensors)
    except KeyError as error:
        raise InputError(f'"{path.name}" is no whole ArcFace network: it lacks {error}.', _KINDS) from error
    except (IndexError, ValueError) as error:
        raise InputError(
            f'"{path.name}" is no ArcFace network: a tensor has too few or too many axes.', _KINDS
        ) from error
    others.fill(network, tensors, path.name)
    return network.to(device)


_KINDS = "Known are model_ir_se50.pth and the backbone.pth of arcface_torch."


@torch.inference_mode()
def embeddings(network: ArcFace, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return unit vectors [n, c] on the CPU of batches of pictures [b, 3, h, w] in 0..1 and `five_points` [b, 5, 2]."""
    device = next(network.parameters()).device
    return torch.cat([network(aligned(pictures, points).to(device)).cpu() for pictures, points in batches])


def cosine_similarity(a: Float[Tensor, "n c"], b: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """CSIM: the cosine of the angle between embeddings of the same rows, -1..1; 1 is the same face."""
    return functional.cosine_similarity(a, b, dim=1)


def multi_view_identity(views: Float[Tensor, "n v c"]) -> Float[Tensor, " n"]:
    """ID of each person: the mean cosine over all pairs of views (PV3D, eq. 5; with two views EG3D's, section 4).

    Raises:
        InputError: with fewer than two views.
    """
    if views.shape[1] < 2:
        raise InputError("Multi-view identity needs at least two views of each person.", "")
    pairs = [cosine_similarity(views[:, i], views[:, j]) for i, j in combinations(range(views.shape[1]), 2)]
    return torch.stack(pairs).mean(0)
