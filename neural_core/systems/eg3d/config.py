# SPDX-License-Identifier: Apache-2.0
"""Everything that EG3D's weights depend on besides their values. It travels in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...cameras import Camera
from ...planes import PUBLISHED_AXES
from ..plane_config import (
    BackboneConfig,
    DecoderConfig,
    HeadToModel,
    IdentityConfig,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
    check_planes,
    frontal_camera,
    picture_size,
)


@dataclass(frozen=True)
class EG3DConfig:
    """An EG3D generator."""

    z_dim: int = 512
    """Numbers in z."""
    w_dim: int = 512
    """Numbers in w."""
    plane_axes: tuple[str, ...] = PUBLISHED_AXES
    """For each plane the letters of its columns' and rows' coordinates. The published weights need ("xy", "xz", "zx"),
    which never sees y and z together; the paper means ("xy", "xz", "zy")."""
    mapping: MappingConfig = field(default_factory=MappingConfig)
    """The mapping network."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The synthesis network."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """The decoder."""
    render: RenderConfig = field(default_factory=RenderConfig)
    """Volume rendering."""
    superresolution: SuperResolutionConfig = field(default_factory=SuperResolutionConfig)
    """Super-resolution."""
    camera_radius: float = 2.7
    """Distance of the training cameras from the origin, model units."""
    camera_pivot: tuple[float, float, float] = (0.0, 0.0, 0.2)
    """What the training cameras look at on average, model units."""
    camera_focal: float = 4.2647
    """Focal length of the training cameras, image widths (FFHQ labels)."""
    head_to_model: HeadToModel = field(default_factory=HeadToModel)
    """Where head space lies in model space."""
    identity: IdentityConfig | None = None
    """Set for our own weights, whose code begins with the face model's coefficients; None for published ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_planes(self.backbone.resolution, self.plane_axes)
        if self.identity is not None and self.identity.traits and self.decoder.features < 9:
            raise ValueError("decoder.features must be 9 or more: RGB, and the shares of six materials")
        if self.superresolution.kind != "none" and self.decoder.features < 3:
            raise ValueError("super-resolution needs at least the three features of RGB")

    @property
    def image_size(self) -> int:
        """Return the width and height of the finished picture."""
        return picture_size(self.superresolution, self.render.neural_resolution)

    def frontal_camera(self) -> Camera:
        """Return the camera in front of the face, in model space, that the published scripts condition on."""
        return frontal_camera(self.camera_radius, self.camera_pivot, self.camera_focal)
