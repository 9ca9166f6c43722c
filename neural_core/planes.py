# SPDX-License-Identifier: Apache-2.0
"""Tri-planes: features on axis-aligned planes, read at points of space (EG3D, Chan et al. 2022, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
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
        where = project(points * (2 / self.box), self.axes).reshape(batch * planes, -1, 1, 2)
        pictures = self.features.reshape(batch * planes, channels, height, width).to(points.dtype)
        values = F.grid_sample(pictures, where, mode="bilinear", padding_mode="zeros", align_corners=False)
        return values.reshape(batch, planes, channels, -1).transpose(2, 3)

    def sample_mean(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n c"]:
        """Return the mean of the planes' features at points.

        Note:
            The paper adds the planes; the published code, and so the published weights, take the mean.
        """
        return self.sample(points).mean(dim=1)

    def blend(self, other: Triplane, amount: float) -> Triplane:
        """Return planes on the straight line from these (amount 0) to others (amount 1) of the same axes and box."""
        if (self.axes, self.box) != (other.axes, other.box):
            raise ValueError("planes of different axes or boxes cannot be blended")
        return replace(self, features=self.features.lerp(other.features, amount))


def project(points: Float[Tensor, "b n 3"], axes: tuple[str, ...]) -> Float[Tensor, "b p n 2"]:
    """Return for each plane the two coordinates that it sees, (column, row), in the unit of the points."""
    columns = ["xyz".index(letter) for pair in axes for letter in pair]
    return points[:, :, columns].unflatten(2, (len(axes), 2)).transpose(1, 2)
