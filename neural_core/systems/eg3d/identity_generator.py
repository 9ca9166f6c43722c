# SPDX-License-Identifier: Apache-2.0
"""EG3D with a face code: the generator of our own weights (`systems/identity_base.py` has most of it)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ...human.model import FaceModel
from ...planes import Triplane
from ...rendering.volume import FieldFunction
from ..identity_base import IdentityBase, Shown
from .config import EG3DConfig


class IdentityGenerator(IdentityBase):
    """The network; no method changes it."""

    def __init__(self, config: EG3DConfig, face: FaceModel) -> None:
        """Build it with random weights; refusals as `IdentityBase` has them."""
        super().__init__(config, config.backbone, face)
        self.config = config

    def person(
        self,
        z: Float[Tensor, "b z"],
        shape: Float[Tensor, "b k"] | None = None,
        offsets: Mapping[str, Tensor] | None = None,
    ) -> Shown:
        """Return the people of some codes.

        Args:
            z: the codes.
            shape: replaces the code's own coefficients in the warp.
            offsets: any of `offsets`, each for all people; they are found by inversion.
        """
        offsets = offsets or {}
        reading = self.read(z, offsets)
        features = self.person_planes(reading, self.w_plus(reading, offsets))
        planes = Triplane(features, self.axes, self.box).channels_last()
        shape = z[:, : self.shape_dims] if shape is None else shape
        return Shown(planes, self.warp.volume(shape), self.decoder.modulation(reading.told, reading.palette))

    def canonical_field(self, shown: Shown) -> FieldFunction:
        """Return the field of points around the mean head, where the planes lie."""

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            features = shown.planes.sample_mean(points)
            place = self.told_of_place(points).to(features.dtype)
            return self.decoder(torch.cat([features, place], dim=-1), shown.modulation)

        return ask
