# SPDX-License-Identifier: Apache-2.0
"""Tri-planes: features on axis-aligned planes, read at points of space (EG3D, Chan et al. 2022, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

PUBLISHED_AXES = ("xy", "xz", "zx")
"""The planes of all published EG3D weights. Two of them see the same coordinates and none sees y and z together; the
authors confirmed it (their issue 67) and kept it, since every published result was made with it."""
CORRECTED_AXES = ("xy", "xz", "zy")
"""The planes that the paper describes, which Next3D uses."""


@dataclass(frozen=True)
class Triplane:
    """Features on planes that span a cube around the origin.

    Attributes:
        features: a picture of features for each of p planes.
        axes: for each plane the letters of the coordinates along its columns and its rows: "xz" is read at (u, v) =
            (x, z).
        box: side length of the cube, in world units. Beyond it the features are zero.
    """

    features: Float[Tensor, "b p c h w"]
    axes: tuple[str, ...]
    box: float

    def __post_init__(self) -> None:
        """Check that there is a pair of letters for each plane."""
        if len(self.axes) != self.features.shape[1]:
            raise ValueError(f"{self.features.shape[1]} planes need as many axes, not {self.axes}")

    def sample(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b p n c"]:
        """Return each plane's features at points (world units), by bilinear interpolation between pixel centres.

        Differentiable in the features and the points, twice.
        """
        batch, planes, channels, height, width = self.features.shape
        where = project(points * (2 / self.box), self.axes).transpose(1, 2).reshape(batch * planes, -1, 1, 2)
        pictures = self.features.reshape(batch * planes, channels, height, width).to(points.dtype)
        values = F.grid_sample(pictures, where, mode="bilinear", padding_mode="zeros", align_corners=False)
        return values.reshape(batch, planes, channels, -1).transpose(2, 3)

    def sample_mean(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n c"]:
        """Return the mean of the planes' features at points.

        Differentiable once in features and points; for second derivatives take the mean of `sample`.

        Note:
            The paper adds the planes; the published code, and so the published weights, take the mean.
        """
        if self.features.device.type == "cpu":
            return _gather_mean(self.features.to(points.dtype), project(points * (2 / self.box), self.axes))
        return self.sample(points).mean(dim=1)

    def channels_last(self) -> Triplane:
        """Return the same planes with the channels of a pixel side by side in memory, where `sample_mean` wants them.

        Worth its copy before planes are sampled more than once on a CPU.
        """
        return replace(self, features=self.features.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3))

    def blend(self, other: Triplane, amount: float) -> Triplane:
        """Return planes on the straight line from these (amount 0) to others (amount 1) of the same axes and box."""
        if (self.axes, self.box) != (other.axes, other.box):
            raise ValueError("planes of different axes or boxes cannot be blended")
        return replace(self, features=self.features.lerp(other.features, amount))


def project(points: Float[Tensor, "b n 3"], axes: tuple[str, ...]) -> Float[Tensor, "b n p 2"]:
    """Return for each plane the two coordinates that it sees, (column, row), in the unit of the points."""
    columns = ["xyz".index(letter) for pair in axes for letter in pair]
    return points[:, :, columns].unflatten(2, (len(axes), 2))


def gather(
    pictures: Float[Tensor, "m h w c"],
    number: Int[Tensor, " n"],
    where: Float[Tensor, "n 2"],
    less: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, "n c"]:
    """Return what pictures hold at single places, as `grid_sample` does; for a few places of large pictures.

    Args:
        pictures: with the channels of a pixel side by side in memory.
        number: the picture that each place is in.
        where: (column, row), -1..1; beyond a picture is 0.
        less: pixels, counted through all pictures, whose values are taken off.

    Differentiable in the pictures.
    """
    _, height, width, channels = pictures.shape
    columns, column_shares = _neighbours(where[:, 0], width)
    rows, row_shares = _neighbours(where[:, 1], height)
    first_row = number.int() * height
    index = [(first_row + row) * width + column for row in rows for column in columns]
    shares = [row * column for row in row_shares for column in column_shares]
    if less is not None:
        index, shares = [*index, less.int()], [*shares, torch.full_like(shares[0], -1.0)]
    table = pictures.reshape(-1, channels)
    stacked = torch.stack(shares, dim=-1).to(table.dtype)
    return F.embedding_bag(torch.stack(index, dim=-1), table, per_sample_weights=stacked, mode="sum")


def _gather_mean(features: Float[Tensor, "b p c h w"], where: Float[Tensor, "b n p 2"]) -> Float[Tensor, "b n c"]:
    """Return what `grid_sample` and a mean over the planes give, several times as fast on CPUs.

    A point's value is a weighted sum of the 4 p pixels around it. With the channels of a pixel side by side in memory
    this is one pass over 4 p rows of a table (torch calls it an embedding bag), where `grid_sample` strides through
    the planes once a channel.
    """
    batch, planes, channels, height, width = features.shape
    columns, column_shares = _neighbours(where[..., 0], width)
    rows, row_shares = _neighbours(where[..., 1], height)
    first_row = torch.arange(batch * planes, device=where.device, dtype=torch.int32) * height
    first_row = first_row.reshape(batch, 1, planes)
    index = torch.stack([(row + first_row) * width + column for row in rows for column in columns], dim=-1)
    shares = torch.stack([row * column / planes for row in row_shares for column in column_shares], dim=-1)
    table = features.permute(0, 1, 3, 4, 2).reshape(-1, channels)
    mean = F.embedding_bag(
        index.reshape(-1, 4 * planes), table, per_sample_weights=shares.reshape(-1, 4 * planes), mode="sum"
    )
    return mean.reshape(batch, -1, channels)


def _neighbours(
    where: Float[Tensor, "*n"], size: int
) -> tuple[tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]], tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]]:
    """Return the two pixels around coordinates of -1..1, and their shares; the share of one outside is 0."""
    place = (where + 1) * (size / 2) - 0.5  # in pixels, from the centre of the first one
    before = place.detach().floor()
    share = place - before
    # beyond the picture any pixel serves, with the share 0; the clamp keeps far points from overflowing an integer
    first = before.clamp(-2, size).int()
    pixels = first, first + 1
    shares = 1 - share, share
    inside = [(pixel >= 0) & (pixel < size) for pixel in pixels]
    return (
        (pixels[0].clamp(0, size - 1), pixels[1].clamp(0, size - 1)),
        (shares[0] * inside[0], shares[1] * inside[1]),
    )
