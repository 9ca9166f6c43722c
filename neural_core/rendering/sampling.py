# SPDX-License-Identifier: Apache-2.0
"""Where along a ray the field is asked: coarse samples at even steps, fine ones where the coarse saw something.

A `Sampling` supplies the chance in it. At inference `HALF` puts every sample in the middle of its step, so that the
same seed gives the same picture; training uses `RandomSampling`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@runtime_checkable
class Sampling(Protocol):
    """Where the random numbers of a rendering come from."""

    def jitter(self, like: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
        """Return the place of each coarse sample in its step, 0..1."""
        ...

    def quantiles(self, like: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
        """Return the quantiles, 0..1, at which the fine samples are drawn."""
        ...

    def normal(self, like: Float[Tensor, "b n 1"]) -> Float[Tensor, "b n 1"]:
        """Return normal numbers, for noise on the density."""
        ...


@dataclass(frozen=True)
class HalfSampling:
    """The deterministic policy: the middle of every step, evenly spread quantiles, no noise."""

    def jitter(self, like: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
        """Return a half."""
        return torch.full_like(like, 0.5)

    def quantiles(self, like: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
        """Return (k + 1/2) / s."""
        count = like.shape[-1]
        return ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count).expand_as(like)

    def normal(self, like: Float[Tensor, "b n 1"]) -> Float[Tensor, "b n 1"]:
        """Return zeros."""
        return torch.zeros_like(like)


HALF = HalfSampling()


@dataclass(frozen=True)
class RandomSampling:
    """Uniform jitter and quantiles, as in training (and, in the published code, always).

    Attributes:
        generator: where the numbers come from. They are made on its device and moved to that of the rays, so that a
            generator of the CPU gives the same numbers whatever renders.
    """

    generator: torch.Generator

    def jitter(self, like: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
        """Return uniform numbers."""
        source = self.generator
        return torch.rand(like.shape, generator=source, device=source.device, dtype=like.dtype).to(like.device)

    def quantiles(self, like: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
        """Return uniform numbers, in no order."""
        return self.jitter(like)

    def normal(self, like: Float[Tensor, "b n 1"]) -> Float[Tensor, "b n 1"]:
        """Return normal numbers."""
        source = self.generator
        return torch.randn(like.shape, generator=source, device=source.device, dtype=like.dtype).to(like.device)


def stratified(
    near: Float[Tensor, "b r"],
    far: Float[Tensor, "b r"],
    count: int,
    sampling: Sampling = HALF,
    *,
    in_disparity: bool = False,
) -> Float[Tensor, "b r s"]:
    """Return `count` increasing distances a ray, one in each step.

    Args:
        near: distance where the first step begins.
        far: distance where the *last* step begins, so that the last sample may lie beyond it by up to a step (EG3D).
        count: samples a ray, at least 2.
        sampling: supplies the jitter.
        in_disparity: even steps in 1 / distance rather than in distance.
    """
    t = torch.linspace(0, 1, count, device=near.device, dtype=near.dtype).expand(*near.shape, count)
    jitter = sampling.jitter(t)
    near, far = near[..., None], far[..., None]
    if in_disparity:
        t = t + jitter / (count - 1)
        return 1 / ((1 - t) / near + t / far)
    return near.lerp(far, t) + jitter * ((far - near) / (count - 1))


@torch.no_grad()
def importance(
    distances: Float[Tensor, "b r s"],
    weights: Float[Tensor, "b r s_1"],
    count: int,
    sampling: Sampling = HALF,
) -> Float[Tensor, "b r f"]:
    """Return `count` distances a ray, dense where the weights of the coarse pass are large (NeRF, section 5.2).

    Args:
        distances: of the coarse samples, increasing.
        weights: of the s - 1 intervals between them.
        count: samples a ray.
        sampling: supplies the quantiles.

    Returns:
        Distances in the order of the quantiles. No gradient flows through them.

    Note:
        The weights are first widened and smoothed as in mip-NeRF (Barron et al. 2021, equation 18), so that a thin
        surface between two samples is not missed.
    """
    rays = weights.reshape(-1, 1, weights.shape[-1])
    blurred = F.avg_pool1d(F.max_pool1d(rays, 2, 1, padding=1), 2, 1).reshape(weights.shape) + 0.01
    middles = (distances[..., :-1] + distances[..., 1:]) / 2
    like = distances[..., :1].expand(*distances.shape[:2], count)
    return inverse_cdf(middles, blurred[..., 1:-1], sampling.quantiles(like))


def inverse_cdf(
    edges: Float[Tensor, "*rays s"], weights: Float[Tensor, "*rays s_1"], quantiles: Float[Tensor, "*rays f"]
) -> Float[Tensor, "*rays f"]:
    """Return the values whose cumulative weight is each quantile, for weights spread evenly between the edges.

    Args:
        edges: increasing; one more than there are weights.
        weights: at least 0; 1e-5 is added to each, so that no ray is without any.
        quantiles: 0..1.
    """
    weights = weights + 1e-5
    pdf = weights / weights.sum(-1, keepdim=True)
    cdf = F.pad(pdf.cumsum(-1), (1, 0))
    above = torch.searchsorted(cdf, quantiles.contiguous(), right=True)
    below = (above - 1).clamp(min=0)
    above = above.clamp(max=cdf.shape[-1] - 1)
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    edge_below, edge_above = edges.gather(-1, below), edges.gather(-1, above)
    width = cdf_above - cdf_below
    # An interval of no weight has no inside; EG3D then takes the distance from its lower edge as it is.
    width = torch.where(width < 1e-5, 1.0, width)
    return edge_below + (quantiles - cdf_below) / width * (edge_above - edge_below)
