# SPDX-License-Identifier: Apache-2.0
"""EG3D's generator (Chan et al., CVPR 2022, figure 2): z and a camera -> w -> planes -> volume rendering -> picture.

Everything here is in model space; `system.py` is the door from head space.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from ...cameras import Camera
from ...nn.decoders import TriplaneDecoder
from ...nn.stylegan2 import MappingNetwork, NoiseMode, SynthesisNetwork
from ...planes import Triplane
from ...rendering.sampling import HALF, Sampling
from ...rendering.volume import FieldFunction, Progress
from ..common import Rendering
from ..plane_parts import map_to_layers, render_field, renderer_of, superresolution_of
from .config import EG3DConfig


@dataclass(frozen=True)
class Person:
    """Some people, ready to be rendered."""

    planes: Triplane
    """Their features."""
    w_plus: Float[Tensor, "b n w"]
    """What the planes came from; the super-resolution needs it."""


class EG3DGenerator(nn.Module):
    """The network; no method changes it."""

    def __init__(self, config: EG3DConfig) -> None:
        """Build it with random weights."""
        super().__init__()
        self.config = config
        mapping, backbone, decoder = config.mapping, config.backbone, config.decoder
        self.mapping_network = MappingNetwork(
            config.z_dim, mapping.label_dim, config.w_dim, layers=mapping.layers, normalise_z=mapping.normalise_z
        )
        picture_channels = len(config.plane_axes) * backbone.plane_channels
        self.backbone = SynthesisNetwork(
            config.w_dim, backbone.resolution, picture_channels, backbone.channels, clamp=backbone.clamp
        )
        self.decoder = TriplaneDecoder(backbone.plane_channels, decoder.hidden, decoder.features, decoder.lr_multiplier)
        self.superresolution = superresolution_of(config.superresolution, decoder.features, config.w_dim)
        self.renderer = renderer_of(config.render)

    @property
    def layers(self) -> int:
        """Return how many w a w_plus has."""
        return self.backbone.layers

    def mapping(
        self,
        z: Float[Tensor, "b z"],
        label: Float[Tensor, "b l"] | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Float[Tensor, "b n w"]:
        """Return w_plus, one w for each layer of the backbone.

        Args:
            z: the code, iid standard normal.
            label: camera label that the person is conditioned on (which view such people were photographed from);
                None is the frontal camera.
            truncation_psi: 1 for no truncation, 0 for the mean person.
            truncation_cutoff: how many layers are truncated; None for all. Only where truncation acts on w.
        """
        if label is None:
            label = self.config.frontal_camera().label()
        mapping, layers = self.config.mapping, self.backbone.layers
        return map_to_layers(self.mapping_network, mapping, layers, z, label, truncation_psi, truncation_cutoff)

    def person(self, w_plus: Float[Tensor, "b n w"], noise_mode: NoiseMode = "const") -> Person:
        """Return the people of some w_plus: the backbone makes their planes."""
        features = self.backbone(w_plus, noise_mode).unflatten(1, (len(self.config.plane_axes), -1))
        planes = Triplane(features, self.config.plane_axes, self.config.render.box)
        return Person(planes.channels_last(), w_plus)

    def field(self, person: Person) -> FieldFunction:
        """Return the function that the volume renderer integrates: points to raw density and colour features."""

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            return self.decoder(person.planes.sample_mean(points))

        return ask

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

    def render(
        self,
        person: Person,
        camera: Camera,
        neural_resolution: int | None = None,
        sampling: Sampling = HALF,
        *,
        chunk: int | None = None,
        on_progress: Progress | None = None,
    ) -> Rendering:
        """Return people as cameras see them.

        Args:
            person: from `person`.
            camera: one for each of them, in model space.
            neural_resolution: of the volume rendering, in pixels; None for the configured one.
            sampling: source of the random numbers along the rays.
            chunk: rays rendered at a time; None for all.
            on_progress: told after each chunk.

        Depths are in model units.
        """
        size = neural_resolution or self.config.render.neural_resolution
        return render_field(
            self.renderer, self.superresolution, self.config.superresolution, self.field(person), person.w_plus,
            camera, size, sampling, chunk=chunk, on_progress=on_progress,
        )  # fmt: skip
