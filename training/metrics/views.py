# SPDX-License-Identifier: Apache-2.0
"""What several cameras see of the same things, and the surfaces that this shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from neural_core.cameras import Camera
from neural_core.rendering.rays import camera_rays, pixel_centres

SOLID = 0.5
"""Opacity below which a ray ends nowhere and its depth means nothing (PV3D, appendix A.4)."""


@dataclass(frozen=True)
class Views:
    """n pictures with their depth, each by its own camera. Lengths in the cameras' unit (metres in head space)."""

    camera: Camera
    """n cameras."""
    depth: Float[Tensor, "n h w"]
    """Distance along the ray to what is seen."""
    solid: Bool[Tensor, "n h w"]
    """Which rays end at a surface: opacity of `SOLID` or more, or all pixels where a mesh is."""
    picture: Float[Tensor, "n 3 ph pw"]
    """0..1; its size may differ from the depth's."""

    def surface(self, size: int) -> tuple[Float[Tensor, "n size size 3"], Bool[Tensor, "n size size"]]:
        """Return the points that the rays end at, resampled to size x size, and which of them exist.

        The map of points is interpolated bilinearly (at its own size it stays as it is). Where one of the four points
        that would be mixed does not exist, the mixture does not either.
        """
        height, width = self.depth.shape[1:]
        origins, directions = camera_rays(self.camera, pixel_centres(height, width, self.depth))
        reach = torch.where(self.solid, self.depth, 0.0).flatten(1)[..., None]
        points = (origins + reach * directions).transpose(1, 2).unflatten(2, (height, width))
        share = self.solid[:, None].to(points)
        if (height, width) != (size, size):
            resampled = F.interpolate(torch.cat([points, share], dim=1), (size, size), mode="bilinear")
            points, share = resampled[:, :3], resampled[:, 3:]
        return points.movedim(1, -1), share[:, 0] > 1 - 1e-4  # a sum of four weights, rounded
