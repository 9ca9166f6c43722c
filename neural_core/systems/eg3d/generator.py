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
from ...nn.superresolution import SuperResolution
from ...planes import Triplane
from ...rendering.rays import camera_rays, pixel_centres
from ...rendering.sampling import HALF, Sampling
from ...rendering.volume import FieldFunction, Progress, VolumeRenderer
from ..common import Rendering
from ..plane_config import SUPERRESOLUTION
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
        self.superresolution = self._superresolution()
        render = config.render
        self.renderer = VolumeRenderer(
            box=render.box, ray_start=render.ray_start, ray_end=render.ray_end, coarse=render.coarse, fine=render.fine,
            in_disparity=render.in_disparity, white_back=render.white_back, density_noise=render.density_noise,
        )  # fmt: skip

    def _superresolution(self) -> SuperResolution | None:
        config = self.config.superresolution
        if config.kind == "none":
            return None
        if config.kind == "subpixel":
            raise ValueError("the sub-pixel super-resolution belongs to weights with a face code (config.identity)")
        module = SUPERRESOLUTION[config.kind]
        return SuperResolution(
            self.config.decoder.features,
            self.config.w_dim,
            input_resolution=module.input_resolution,
            channels=config.channels or module.channels,
            first_doubles=module.first_doubles,
            antialias=config.antialias,
            only_enlarge=module.only_enlarge,
            clamp=config.clamp,
        )

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
        config = self.config.mapping
        if config.label_dim:
            if label is None:
                label = self.config.frontal_camera().label().to(z.device).expand(len(z), -1)
            label = label * config.label_scale
        else:
            label = None
        if config.truncation == "z":
            z = z * truncation_psi
        w = self.mapping_network(z, label)
        w_plus = w[:, None].expand(-1, self.backbone.layers, -1)
        if config.truncation == "z":
            return w_plus
        return self.mapping_network.truncate(w_plus, truncation_psi, truncation_cutoff)

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
        origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
        field = self.field(person)
        result = self.renderer(field, origins, directions, sampling, chunk=chunk, on_progress=on_progress)
        features = result.colour.transpose(1, 2).unflatten(2, (size, size))
        image = image_raw = features[:, :3]
        if self.superresolution is not None:
            noise_mode = self.config.superresolution.noise_mode
            image = self.superresolution(image_raw, features, person.w_plus, noise_mode)
        depth, opacity = (values[:, None].unflatten(2, (size, size)) for values in (result.depth, result.opacity))
        return Rendering(image, image_raw, features, depth, opacity)
