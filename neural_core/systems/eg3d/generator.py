# SPDX-License-Identifier: Apache-2.0
"""EG3D's generator (Chan et al., CVPR 2022, figure 2): z and a camera -> w -> planes -> volume rendering -> picture.

Everything here is in model space; `system.py` is the door from head space. All but the planes: `published_base.py`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ...cameras import Camera
from ...nn.stylegan2 import NoiseMode
from ...planes import Triplane
from ...rendering.sampling import HALF, Sampling
from ..common import Rendering
from ..published_base import PublishedBase, Shown, decoder_of, superresolution_of, synthesis_of
from .config import EG3DConfig


class EG3DGenerator(PublishedBase[EG3DConfig]):
    """The network; no method changes it."""

    def __init__(self, config: EG3DConfig) -> None:
        """Build it with random weights."""
        super().__init__(config)
        channels = config.backbone.plane_channels
        self.backbone = synthesis_of(config.backbone, config.w_dim, len(config.plane_axes) * channels)
        self.decoder = decoder_of(config, channels)
        self.superresolution = superresolution_of(config)

    @property
    def layers(self) -> int:
        """Return how many w a w_plus has: one for each layer of the backbone."""
        return self.backbone.layers

    def person(self, w_plus: Float[Tensor, "b n w"], noise_mode: NoiseMode = "const") -> Shown:
        """Return the people of some w_plus: the backbone makes their planes."""
        features = self.backbone(w_plus, noise_mode).unflatten(1, (len(self.config.plane_axes), -1))
        planes = Triplane(features, self.config.plane_axes, self.config.render.box)
        return Shown(planes.channels_last(), w_plus)

    def synthesis(
        self,
        w_plus: Float[Tensor, "b n w"],
        camera: Camera,
        neural_resolution: int | None = None,
        noise_mode: NoiseMode = "const",
        sampling: Sampling = HALF,
    ) -> Rendering:
        """Return people as cameras see them: `person`, then `render`."""
        return self.render(self.person(w_plus, noise_mode), camera, neural_resolution, sampling)
