# SPDX-License-Identifier: Apache-2.0
"""LPIPS: distance of two pictures in a network's features (Zhang et al. 2018, eq. 1), by the authors' library.

The library carries its heads (which features count how much); the network beneath, trained on ImageNet, is the user's:
AlexNet, which its authors advise for measuring.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import others
from .errors import InputError

SMALLEST = 64
"""Pixels of a side. AlexNet's last features of a smaller picture are one pixel, or none."""


def lpips(path: Path, device: str | torch.device = "cpu") -> nn.Module:
    """Return the library's network over the trunk of a file, as torchvision publishes it.

    It is differentiable to the pictures; its weights do not ask for gradients.

    Raises:
        InputError: if the file is another network.
        UsageError: if the library is not installed.
    """
    library = others.library("lpips", "LPIPS", "metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in a way that is deprecated
        network: nn.Module = library.LPIPS(net="alex", pnet_rand=True, verbose=False)
    trunk = network.get_submodule("net")
    # Published: features.3.weight; in the library the same layer stands in one of five slices: slice2.3.weight.
    published = {key: value for key, value in others.read_tensors(path).items() if key.startswith("features.")}
    slices = {key.partition(".")[2]: key for key in trunk.state_dict()}
    tensors = {slices.get(key.partition(".")[2], key): value for key, value in published.items()}
    others.fill(trunk, tensors, path.name)
    return network.eval().requires_grad_(False).to(device)


def perceptual_distance(
    network: nn.Module, picture: Float[Tensor, "n 3 h w"], truth: Float[Tensor, "n 3 h w"]
) -> Float[Tensor, " n"]:
    """LPIPS of each pair of pictures in 0..1; 0 is equal. Symmetric, differentiable to both.

    Raises:
        InputError: if a side is shorter than 64 pixels.
    """
    if min(picture.shape[2:]) < SMALLEST:
        raise InputError(f"LPIPS needs pictures of at least {SMALLEST} pixels, and got {min(picture.shape[2:])}.", "")
    return network(picture * 2 - 1, truth * 2 - 1).flatten()
