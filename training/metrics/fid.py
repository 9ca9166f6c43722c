# SPDX-License-Identifier: Apache-2.0
"""Fréchet distance between two sets of features (FID: Heusel et al. 2017, eq. 6), and the Inception behind FID."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neural_core import others
from neural_core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

FEATURES = 2048
"""Of Inception's last pooling layer. Fewer pictures than that leave the covariance singular, and FID too large."""


@dataclass(frozen=True)
class Gaussian:
    """The normal distribution with the mean and the covariance of a set of features, in float64."""

    mean: Tensor
    """[c]"""
    covariance: Tensor
    """[c, c], unbiased (divided by n - 1)"""

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """Return the distribution of features [n, c].

        Raises:
            InputError: with fewer than two rows, which have no covariance.
        """
        if len(features) < 2:
            raise InputError(f"A Fréchet distance needs at least 2 samples on each side, and got {len(features)}.", "")
        rows = features.double()
        return cls(rows.mean(0), torch.cov(rows.T).reshape(rows.shape[1], rows.shape[1]))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet (Wasserstein-2) distance |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)); not negative, symmetric.

    The trace of (A B)^(1/2) is the sum of the square roots of the eigenvalues of A^(1/2) B A^(1/2), which has the same
    eigenvalues as A B and is symmetric: no complex parts arise, also when few samples make A and B singular.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0)
    spread = a.covariance.trace() + b.covariance.trace() - 2 * product.sqrt().sum()
    return max(float((a.mean - b.mean).square().sum() + spread), 0.0)


def inception(path: Path, device: str | torch.device = "cpu") -> nn.Module:
    """Return torch-fidelity's Inception-v3 with the weights of a file: uint8 pictures [n, 3, h, w] -> ([n, 2048],).

    It scales pictures to 299 x 299 as TensorFlow 1 did, which the published figures depend on.

    Raises:
        InputError: if the file is not those weights.
        UsageError: if torch-fidelity is not installed.
    """
    library = others.library("torch_fidelity.feature_extractor_inceptionv3", "The metric FID", "metrics")
    # The library unpickles the file that it is given, so it gets tensors that were read without that.
    tensors = others.read_tensors(path)
    others.check_finite(tensors, path.name)
    safe = io.BytesIO()
    torch.save(tensors, safe)
    safe.seek(0)
    try:
        network = library.FeatureExtractorInceptionV3("inception-v3", ["2048"], feature_extractor_weights_path=safe)
    except RuntimeError as error:  # load_state_dict names missing and unexpected tensors, one a line
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise InputError(f'"{path.name}" is not the Inception of FID: {" ".join(lines)[:200]}', "") from error
    return network.to(device)


@torch.inference_mode()
def inception_features(network: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Return the features [n, 2048] on the CPU of batches of pictures [b, 3, h, w] in 0..1.

    Pictures are rounded to 8 bits first, as they would be in files.
    """
    device = next(network.parameters()).device
    found = [network((batch.clamp(0, 1) * 255).round().to(device, torch.uint8))[0].cpu() for batch in batches]
    return torch.cat(found)
