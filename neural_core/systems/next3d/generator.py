# SPDX-License-Identifier: Apache-2.0
"""Next3D's generator (Sun et al., CVPR 2023, figure 2).

z and a camera -> w -> static planes and a neural texture (once a person); a posed face mesh carries the texture into
dynamic planes, whose mouth is redrawn (once an expression); where the mesh covers them, they replace the static planes,
and the result is rendered as EG3D's planes are. Model space, but for the mesh, which has its own frame (`MeshConfig`).

Read on in: `human/model.py` (parameters to vertices), `dynamic.py` (mesh and texture to planes), `mouth.py`,
`rendering/volume.py`, `training/recipes/next3d.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...cameras import Camera
from ...nn.decoders import TriplaneDecoder
from ...nn.stylegan2 import MappingNetwork, NoiseMode, SynthesisNetwork
from ...planes import Triplane
from ...rendering.sampling import HALF, Sampling
from ...rendering.volume import FieldFunction, Progress
from ..common import Rendering
from ..plane_config import BackboneConfig
from ..plane_parts import map_to_layers, render_field, renderer_of, superresolution_of
from .config import Next3DConfig
from .dynamic import FRONT, FaceTopology, dynamic_planes
from .mouth import OUTER_LIPS, Mouth, mouth_boxes, style_unet


@dataclass(frozen=True)
class Person:
    """Some people, before they have an expression."""

    static: Float[Tensor, "b p c r r"]
    """Features of the planes where the mesh is not."""
    texture: Float[Tensor, "b c t t"]
    """Neural texture of the mesh."""
    w_plus: Float[Tensor, "b n w"]
    """What both came from."""


@dataclass(frozen=True)
class Instant:
    """Some people with an expression, ready to be rendered."""

    planes: Triplane
    """Their features."""
    w_plus: Float[Tensor, "b n w"]
    """As the super-resolution needs it: a w for each layer of the static planes."""


class Next3DGenerator(nn.Module):
    """The network of published weights; no method changes it."""

    def __init__(self, config: Next3DConfig) -> None:
        """Build it with random weights and an empty mesh, which comes with the weights.

        Raises:
            ValueError: the config is one of our own weights (`identity`), or planes and drawings differ in size.
        """
        super().__init__()
        if config.identity is not None:
            raise ValueError("weights with a face code (config.identity) have another generator")
        if config.static.resolution != config.mesh.resolution:
            raise ValueError("the mesh is drawn at the resolution of the static planes")
        self.config = config
        mapping, decoder, mesh = config.mapping, config.decoder, config.mesh
        channels = config.static.plane_channels
        self.mapping_network = MappingNetwork(
            config.z_dim, mapping.label_dim, config.w_dim, layers=mapping.layers, normalise_z=mapping.normalise_z
        )
        self.static = _synthesis(config.static, config.w_dim, len(config.plane_axes) * channels)
        self.texture = _synthesis(config.texture, config.w_dim, channels)
        self.mouth = None if config.mouth is None else Mouth(config.mouth, channels, config.w_dim)
        self.blending = None if config.blending is None else style_unet(config.blending, channels, config.w_dim)
        self.topology = FaceTopology.empty(mesh.triangles, mesh.mask_resolution)
        self.decoder = TriplaneDecoder(channels, decoder.hidden, decoder.features, decoder.lr_multiplier)
        self.superresolution = superresolution_of(config.superresolution, decoder.features, config.w_dim)
        self.renderer = renderer_of(config.render)

    @property
    def layers(self) -> int:
        """Return how many w a w_plus has: the static planes' layers, then the texture's."""
        return self.static.layers + self.texture.layers

    def mapping(
        self,
        z: Float[Tensor, "b z"],
        label: Float[Tensor, "b l"] | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Float[Tensor, "b n w"]:
        """Return w_plus, one w for each of `layers`; what is not said is as in `EG3DGenerator.mapping`.

        Args:
            z: the code, iid standard normal.
            label: camera label that the person is conditioned on; None is the frontal camera.
            truncation_psi: 1 for no truncation, 0 for the mean person.
            truncation_cutoff: how many layers are truncated; None for all.
        """
        if label is None:
            label = self.config.frontal_camera().label()
        mapping = self.config.mapping
        return map_to_layers(self.mapping_network, mapping, self.layers, z, label, truncation_psi, truncation_cutoff)

    def person(self, w_plus: Float[Tensor, "b n w"], noise_mode: NoiseMode = "const") -> Person:
        """Return the people of some w_plus: static planes and texture (section 3.1)."""
        own, texture_w = w_plus.split([self.static.layers, self.texture.layers], dim=1)
        static = self.static(own, noise_mode).unflatten(1, (len(self.config.plane_axes), -1))
        if not self.config.static_planes:
            static = torch.zeros_like(static)
        return Person(static, self.texture(texture_w, noise_mode), w_plus)

    def instant(
        self,
        person: Person,
        vertices: Float[Tensor, "b v 3"],
        landmarks: Float[Tensor, "b 68 3"] | None = None,
        noise_mode: NoiseMode = "const",
    ) -> Instant:
        """Return people with the expression of a mesh.

        Args:
            person: from `person`.
            vertices: of the posed mesh, whose head looks straight ahead, in the mesh's frame.
            landmarks: the 68 landmarks on it; only the mouth module needs them.
            noise_mode: of the mouth and of blending.

        Raises:
            ValueError: there is a mouth module and no landmarks.
        """
        config, w_plus = self.config, person.w_plus[:, : self.static.layers]
        drawn = dynamic_planes(
            person.texture, vertices, self.topology, config.mesh, config.dynamic_planes, config.plane_axes
        )
        front = self.finish_front(drawn.features[:, 0], landmarks, w_plus, noise_mode)
        moving = torch.cat([front[:, None], drawn.features[:, 1:]], dim=1)
        features = moving * drawn.coverage + person.static * (1 - drawn.coverage)
        return Instant(Triplane(features, config.plane_axes, config.render.box).channels_last(), w_plus)

    def finish_front(
        self,
        front: Float[Tensor, "b c r r"],
        landmarks: Float[Tensor, "b 68 3"] | None,
        w_plus: Float[Tensor, "b n w"],
        noise_mode: NoiseMode = "const",
    ) -> Float[Tensor, "b c r r"]:
        """Return the drawn front view with a mouth (section 3.2), which is redrawn and then blended in."""
        if self.mouth is not None:
            if landmarks is None:
                raise ValueError("the mouth module needs landmarks")
            mesh = self.config.mesh
            lips = FRONT.turn(landmarks[:, OUTER_LIPS] + landmarks.new_tensor(mesh.shift)) * mesh.scale
            boxes = mouth_boxes(lips[..., :2], mesh.resolution, mesh.mouth_crop)
            front = self.mouth(front, boxes, w_plus, noise_mode)
        return front if self.blending is None else self.blending(front, w_plus, noise_mode)

    def field(self, instant: Instant) -> FieldFunction:
        """Return the function that the volume renderer integrates: points to raw density and colour features."""

        def ask(points: Float[Tensor, "b n 3"], directions: Float[Tensor, "b n 3"]) -> tuple[Tensor, Tensor]:
            return self.decoder(instant.planes.sample_mean(points))

        return ask

    def render(
        self,
        instant: Instant,
        camera: Camera,
        neural_resolution: int | None = None,
        sampling: Sampling = HALF,
        *,
        chunk: int | None = None,
        on_progress: Progress | None = None,
    ) -> Rendering:
        """Return people as cameras see them.

        Args:
            instant: from `instant`.
            camera: one for each of them, in model space.
            neural_resolution: of the volume rendering, in pixels; None for the configured one.
            sampling: source of the random numbers along the rays.
            chunk: rays rendered at a time; None for all.
            on_progress: told after each chunk.

        Depths are in model units.
        """
        size = neural_resolution or self.config.render.neural_resolution
        return render_field(
            self.renderer, self.superresolution, self.config.superresolution, self.field(instant), instant.w_plus,
            camera, size, sampling, chunk=chunk, on_progress=on_progress,
        )  # fmt: skip


def _synthesis(config: BackboneConfig, w_dim: int, channels: int) -> SynthesisNetwork:
    return SynthesisNetwork(w_dim, config.resolution, channels, config.channels, clamp=config.clamp)
