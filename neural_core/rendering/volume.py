# SPDX-License-Identifier: Apache-2.0
"""Volume rendering in two passes (NeRF section 5.2, with the details of EG3D's renderer).

The renderer takes the field as a function, so that planes, warped points or a formula on paper are all the same to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .compositing import Composite, composite_midpoints, midpoint_weights
from .rays import box_limits
from .sampling import HALF, Sampling, importance, stratified

FieldFunction = Callable[[Float[Tensor, "b n 3"], Float[Tensor, "b n 3"]], tuple[Tensor, Tensor]]
"""Points and unit directions to raw density [b, n, 1] (before its softplus) and colour features [b, n, c]."""
Progress = Callable[[int, int], None]
"""Called with rays done and rays in all; may raise to stop the rendering."""


@dataclass(frozen=True)
class VolumeRenderer:
    """Rays + field -> colour, depth, opacity.

    Attributes:
        box: side length of the cube that holds the field, in world units.
        ray_start: distance of the first sample; "auto" takes the box.
        ray_end: distance of the last step; "auto" takes the box.
        coarse: evenly spaced samples a ray.
        fine: samples a ray that are drawn where the coarse ones have weight; 0 for none.
        in_disparity: whether coarse samples are even in 1 / distance.
        white_back: whether the background is white rather than black.
        density_noise: standard deviation of noise added to the raw density.
    """

    box: float
    ray_start: float | Literal["auto"]
    ray_end: float | Literal["auto"]
    coarse: int
    fine: int
    in_disparity: bool = False
    white_back: bool = False
    density_noise: float = 0.0

    def __call__(
        self,
        field: FieldFunction,
        origins: Float[Tensor, "b r 3"],
        directions: Float[Tensor, "b r 3"],
        sampling: Sampling = HALF,
        *,
        chunk: int | None = None,
        on_progress: Progress | None = None,
    ) -> Composite:
        """Render rays.

        Args:
            field: what is seen.
            origins: start of each ray, world units.
            directions: unit directions.
            sampling: source of the random numbers.
            chunk: rays of one batch element that are rendered at a time; None for all. Bounds the memory, and how long
                `on_progress` waits between two calls.
            on_progress: told after each chunk.

        Returns:
            colour: features composited over the background and mapped from 0..1 to -1..1, all channels.
            depth: distance along the ray; where nothing is seen, that of the furthest sample of all rays.
            opacity: 0..1.

        Differentiable in what the field returns; the places of the samples carry no gradient.
        """
        near, far = self.limits(origins, directions)
        count = origins.shape[1]
        parts, furthest = [], []
        for start in range(0, count, chunk or count):
            part = slice(start, start + (chunk or count))
            result, last = self._march(
                field, origins[:, part], directions[:, part], near[:, part], far[:, part], sampling
            )
            parts.append(result)
            furthest.append(last)
            if on_progress is not None:
                on_progress(min(start + (chunk or count), count), count)
        colour, depth, opacity = parts[0] if len(parts) == 1 else (torch.cat(values, 1) for values in zip(*parts))  # noqa: B905
        if self.white_back:
            colour = colour + (1 - opacity)[..., None]
        depth = torch.where(opacity > 0, depth, torch.stack(furthest).max())
        return Composite(colour * 2 - 1, depth, opacity)

    def limits(
        self, origins: Float[Tensor, "b r 3"], directions: Float[Tensor, "b r 3"]
    ) -> tuple[Float[Tensor, "b r"], Float[Tensor, "b r"]]:
        """Return where sampling begins, and where its last step begins.

        Note:
            With "auto", rays that miss the box get the smallest entry and the largest *entry* of the whole batch, as
            in the published code (which probably meant the largest exit); they see zero features anyway.
        """
        if self.ray_start != "auto" and self.ray_end != "auto":
            shape = origins[..., 0]
            return torch.full_like(shape, self.ray_start), torch.full_like(shape, self.ray_end)
        near, far, valid = box_limits(origins, directions, self.box)
        if not valid.any():
            return torch.zeros_like(near), torch.full_like(far, self.box)
        entries = near[valid]
        return torch.where(valid, near, entries.min()), torch.where(valid, far, entries.max())

    def _march(
        self,
        field: FieldFunction,
        origins: Float[Tensor, "b r 3"],
        directions: Float[Tensor, "b r 3"],
        near: Float[Tensor, "b r"],
        far: Float[Tensor, "b r"],
        sampling: Sampling,
    ) -> tuple[Composite, Tensor]:
        """Return the composite of a chunk, and the distance of its furthest sample."""
        distances = stratified(near, far, self.coarse, sampling, in_disparity=self.in_disparity)
        density, colour = self._ask(field, origins, directions, distances, sampling)
        if self.fine == 0:
            return composite_midpoints(density, colour, distances), distances.amax()
        weights = midpoint_weights(density.detach(), distances)
        more = importance(distances, weights, self.fine, sampling)
        more_density, more_colour = self._ask(field, origins, directions, more, sampling)
        distances, order = torch.cat([distances, more], -1).sort(dim=-1)
        density = torch.cat([density, more_density], -1).gather(-1, order)
        colour = torch.cat([colour, more_colour], -2)
        return composite_midpoints(density, colour, distances, order), distances.amax()

    def _ask(
        self,
        field: FieldFunction,
        origins: Float[Tensor, "b r 3"],
        directions: Float[Tensor, "b r 3"],
        distances: Float[Tensor, "b r s"],
        sampling: Sampling,
    ) -> tuple[Float[Tensor, "b r s"], Float[Tensor, "b r s c"]]:
        """Return raw density and colour at distances along rays."""
        shape = distances.shape
        points = origins[:, :, None] + distances[..., None] * directions[:, :, None]
        views = directions[:, :, None].expand_as(points)
        density, colour = field(points.flatten(1, 2), views.flatten(1, 2))
        if self.density_noise > 0:
            density = density + sampling.normal(density) * self.density_noise
        return density.reshape(shape), colour.reshape(*shape, -1)
