# SPDX-License-Identifier: Apache-2.0
"""From pixels to rays, and from rays to the stretch of them that can matter."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ..cameras import Camera


def pixel_centres(height: int, width: int, like: Tensor) -> Float[Tensor, "hw 2"]:
    """Return the (u, v) of all pixels, row by row, in image widths and heights: 0..1 from the top left corner."""
    v = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    u = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    rows, columns = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


def camera_rays(
    camera: Camera, pixels: Float[Tensor, "b r 2"] | Float[Tensor, "r 2"]
) -> tuple[Float[Tensor, "b r 3"], Float[Tensor, "b r 3"]]:
    """Return origins and unit directions of the rays through some pixels.

    Args:
        camera: b cameras.
        pixels: (u, v) in 0..1, from `pixel_centres` or any part of it; the same for all cameras if [r, 2].

    Note:
        A direction is the difference of two points in the world, as in the published code, although turning the
        direction alone would be shorter and rounder: what differs in the seventh digit here differs in the fifth of
        a picture, since fine planes are steep.
    """
    fx, skew, cx = camera.intrinsics[:, 0, :, None].unbind(1)
    fy, cy = camera.intrinsics[:, 1, 1:, None].unbind(1)
    u, v = pixels.expand(len(camera), -1, 2).unbind(-1)
    x = (u - cx + cy * skew / fy - skew * v / fy) / fx
    y = (v - cy) / fy
    in_camera = torch.stack([x, y, torch.ones_like(x), torch.ones_like(x)], dim=1)
    in_world = (camera.cam2world @ in_camera)[:, :3].transpose(1, 2)
    origins = camera.cam2world[:, None, :3, 3].expand_as(in_world)
    return origins, F.normalize(in_world - origins, dim=-1)


def box_limits(
    origins: Float[Tensor, "b r 3"], directions: Float[Tensor, "b r 3"], box: float
) -> tuple[Float[Tensor, "b r"], Float[Tensor, "b r"], Bool[Tensor, "b r"]]:
    """Return where rays enter and leave a cube around the origin (slab test), and which do at all.

    Args:
        origins: start of each ray.
        directions: unit directions.
        box: side length of the cube.

    Returns:
        Distances of entry and exit, and a mask of the rays that meet the cube; where it is False the distances mean
        nothing. Distances behind the origin are negative.
    """
    to_low = (-box / 2 - origins) / directions
    to_high = (box / 2 - origins) / directions
    near = torch.minimum(to_low, to_high).amax(-1)
    far = torch.maximum(to_low, to_high).amin(-1)
    return near, far, near <= far
