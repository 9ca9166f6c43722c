# SPDX-License-Identifier: Apache-2.0
"""The colours of a part of a picture, learned from the part itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CLUSTERS, _FEWEST_IN_CLUSTER, _ROUNDS = 3, 8, 10
_SAMPLES = 4000
_LEAST_SEEDS = 0.002  # share of the picture that must be sure before its colours count, ...
_FEWEST_SEEDS = 60  # ... and pixels
_OTHER_HUE, _FAR_DARKER, _FAR_BRIGHTER = 0.17, -0.9, 0.7  # changes of the logarithms of red, green and blue
_NOISE = 0.03  # least deviation of a colour within a cluster, 0..1
_UNEXPLAINED = 1e-4  # density of a colour that no cluster explains, where a cluster's middle has at most 1


@dataclass(frozen=True)
class Colours:
    """A mixture of Gaussians of colours; without clusters every colour is equally unlikely."""

    weights: Array
    """[k], sum 1."""
    means: Array
    """[k, c]."""
    precisions: Array
    """[k, c, c] inverse covariances."""

    @classmethod
    def of(cls, colours: Array, seeds: NDArray[np.bool_]) -> Colours:
        """Return the colours of some pixels: k-means, then a Gaussian for each cluster. Deterministic.

        Args:
            colours: [h, w, c] as ``opponent`` gives them.
            seeds: [h, w] which pixels; too few teach nothing.
        """
        if seeds.mean() < _LEAST_SEEDS or seeds.sum() < _FEWEST_SEEDS:
            return cls(np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 0)))
        samples = colours[seeds]
        samples = samples[:: max(1, len(samples) // _SAMPLES)]
        clusters = _clusters(samples)
        noise = _NOISE**2 * np.eye(samples.shape[1])
        return cls(
            np.array([len(cluster) for cluster in clusters]) / sum(len(cluster) for cluster in clusters),
            np.stack([cluster.mean(0) for cluster in clusters]),
            np.stack([np.linalg.inv(np.cov(cluster.T) + noise) for cluster in clusters]),
        )

    def log_density(self, colours: Array) -> Array:
        """Return the logarithm of how likely colours [h, w, c] are, [h, w]; up to a common constant."""
        total = np.full(colours.shape[:2], _UNEXPLAINED)
        for weight, mean, precision in zip(self.weights, self.means, self.precisions, strict=True):
            offset = colours - mean
            distance = ((offset @ precision) * offset).sum(-1)
            total += weight * np.sqrt(np.linalg.det(precision)) * _NOISE ** len(mean) * np.exp(-distance / 2)
        return np.log(total)


def unlike(picture: NDArray[np.uint8], reference: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels [h, w] no light could make of the reference: of another hue, or far darker or brighter.

    Args:
        picture: [h, w, 3].
        reference: [h, w] pixels of a surface of one colour.
    """
    logarithms = np.log(picture.astype(np.float64) + 8)  # a little more than the noise of dark pixels
    if not reference.any():
        return np.ones(picture.shape[:2], bool)
    change = logarithms - np.median(logarithms[reference], axis=0)
    brighter = change.mean(-1)
    hue = np.linalg.norm(change - brighter[..., None], axis=-1)
    return (hue > _OTHER_HUE) | (brighter < _FAR_DARKER) | (brighter > _FAR_BRIGHTER)


def _clusters(samples: Array) -> list[Array]:
    """Return samples [n, c] as at most three groups (Lloyd 1982), without those of only a few."""
    # Dark, middle and bright to start with: no chance is needed.
    order = np.argsort(samples[:, 0], kind="stable")
    means = samples[order[((np.arange(_CLUSTERS) + 0.5) / _CLUSTERS * len(order)).astype(int)]]
    groups = [samples]
    for _ in range(_ROUNDS):
        nearest = ((samples[:, None] - means) ** 2).sum(-1).argmin(1)
        groups = [group for k in range(len(means)) if len(group := samples[nearest == k]) > _FEWEST_IN_CLUSTER]
        means = np.stack([group.mean(0) for group in groups])
    return groups


def opponent(picture: NDArray[np.uint8]) -> Array:
    """Return brightness and two opponent colours [h, w, 3] of a picture; brightness counts half: light varies it."""
    r, g, b = np.moveaxis(picture.astype(np.float64) / 255, -1, 0)
    return np.stack([(r + g + b) / 6, r - g, (r + g) / 2 - b], axis=-1)
