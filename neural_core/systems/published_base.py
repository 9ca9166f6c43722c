# SPDX-License-Identifier: Apache-2.0
"""What the published generators with planes have in common: codes to w, planes to a field, a field to pictures.

EG3D (Chan et al. 2022) has no more than this; Next3D (Sun et al. 2023) makes its planes in another way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from ..cameras import Camera
from ..nn.decoders import TriplaneDecoder
from ..nn.stylegan2 import MappingNetwork, SynthesisNetwork
from ..nn.superresolution import SuperResolution
from ..planes import Triplane
from ..rendering.rays import camera_rays, pixel_centres
from ..rendering.sampling import HALF, Sampling
from ..rendering.volume import FieldFunction, Progress, VolumeRenderer
from .common import Rendering
from .plane_config import SUPERRESOLUTION, BackboneConfig, GeneratorConfig

Config = TypeVar("Config", bound=GeneratorConfig)


@dataclass(frozen=True)
class Shown:
    """Some people, ready to be rendered."""

    planes: Triplane
    """Their features."""
    w_plus: Float[Tensor, "b n w"]
    """What the super-resolution is told: a w for each layer of the planes' synthesis."""


class PublishedBase(nn.Module, ABC, Generic[Config]):
    """The networks that published generators have in common; no method changes them."""

    decoder: TriplaneDecoder
    superresolution: SuperResolution | None

    def __init__(self, config: Config) -> None:
        """Build the mapping network.

        A system adds synthesis, decoder and super-resolution, in this order: random weights depend on it.
        """
        super().__init__()
        self.config = config
        mapping, render = config.mapping, config.render
        self.mapping_network = MappingNetwork(
            config.z_dim, mapping.label_dim, config.w_dim, layers=mapping.layers, normalise_z=mapping.normalise_z
        )
        self.renderer = VolumeRenderer(
            box=render.box, ray_start=render.ray_start, ray_end=render.ray_end, coarse=render.coarse, fine=render.fine,
            in_disparity=render.in_disparity, white_back=render.white_back, density_noise=render.density_noise,
        )  # fmt: skip

    @property
    @abstractmethod
    def layers(self) -> int:
        """Return how many w a w_plus has."""

    def mapping(
        self,
        z: Float[Tensor, "b z"],
        label: Float[Tensor, "#b l"] | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Float[Tensor, "b n w"]:
        """Return w_plus, one w for each of `layers`.

        Args:
            z: the code, iid standard normal.
            label: camera label that the person is conditioned on (which view such people were photographed from);
                None is the frontal camera. Networks without labels ignore it.
            truncation_psi: 1 for no truncation, 0 for the mean person.
            truncation_cutoff: how many layers are truncated; None for all. Only where truncation acts on w.
        """
        network, config = self.mapping_network, self.config.mapping
        told = None
        if config.label_dim:
            label = self.config.frontal_camera().label() if label is None else label
            told = label.to(z.device).expand(len(z), -1) * config.label_scale
        if config.truncation == "z":
            z = z * truncation_psi
        w_plus = network(z, told)[:, None].expand(-1, self.layers, -1)
        return w_plus if config.truncation == "z" else network.truncate(w_plus, truncation_psi, truncation_cutoff)

    def field(self, shown: Shown) -> FieldFunction:
        """Return the function that the volume renderer integrates: points to raw density and colour features."""

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            return self.decoder(shown.planes.sample_mean(points))

        return ask

    def render(
        self,
        shown: Shown,
        camera: Camera,
        neural_resolution: int | None = None,
        sampling: Sampling = HALF,
        *,
        chunk: int | None = None,
        on_progress: Progress | None = None,
    ) -> Rendering:
        """Return people as cameras see them.

        Args:
            shown: the people.
            camera: one for each of them, in model space.
            neural_resolution: of the volume rendering, in pixels; None for the configured one.
            sampling: source of the random numbers along the rays.
            chunk: rays rendered at a time; None for all.
            on_progress: told after each chunk.

        Depths are in model units.
        """
        size = neural_resolution or self.config.render.neural_resolution
        origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
        field = self.field(shown)
        result = self.renderer(field, origins, directions, sampling, chunk=chunk, on_progress=on_progress)
        features = result.colour.transpose(1, 2).unflatten(2, (size, size))
        image = image_raw = features[:, :3]
        if self.superresolution is not None:
            image = self.superresolution(image_raw, features, shown.w_plus, self.config.superresolution.noise_mode)
        depth, opacity = (values[:, None].unflatten(2, (size, size)) for values in (result.depth, result.opacity))
        return Rendering(image, image_raw, features, depth, opacity)


def synthesis_of(config: BackboneConfig, w_dim: int, channels: int) -> SynthesisNetwork:
    """Return a synthesis network w -> a picture of some channels."""
    return SynthesisNetwork(w_dim, config.resolution, channels, config.channels, clamp=config.clamp)


def decoder_of(config: GeneratorConfig, channels: int) -> TriplaneDecoder:
    """Return the decoder of planes with some channels."""
    decoder = config.decoder
    return TriplaneDecoder(channels, decoder.hidden, decoder.features, decoder.lr_multiplier)


def superresolution_of(config: GeneratorConfig) -> SuperResolution | None:
    """Return the published super-resolution, None for none.

    Raises:
        ValueError: it is not a published one.
    """
    own = config.superresolution
    if own.kind == "none":
        return None
    if own.kind == "subpixel":
        raise ValueError("the sub-pixel super-resolution belongs to weights with a face code (config.identity)")
    module = SUPERRESOLUTION[own.kind]
    return SuperResolution(
        config.decoder.features, config.w_dim, input_resolution=module.input_resolution,
        channels=own.channels or module.channels, first_doubles=module.first_doubles, antialias=own.antialias,
        only_enlarge=module.only_enlarge, clamp=own.clamp,
    )  # fmt: skip
