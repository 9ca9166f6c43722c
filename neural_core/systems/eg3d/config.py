# SPDX-License-Identifier: Apache-2.0
"""Everything that EG3D's weights depend on besides their values. It travels in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...planes import PUBLISHED_AXES
from ..plane_config import BackboneConfig, GeneratorConfig, check_planes


@dataclass(frozen=True)
class EG3DConfig(GeneratorConfig):
    """An EG3D generator."""

    plane_axes: tuple[str, ...] = PUBLISHED_AXES
    """For each plane the letters of its columns' and rows' coordinates. The published weights need ("xy", "xz", "zx"),
    which never sees y and z together; the paper means ("xy", "xz", "zy")."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The synthesis network of the planes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        check_planes(self.backbone.resolution, self.plane_axes)
