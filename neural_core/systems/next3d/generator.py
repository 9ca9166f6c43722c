# SPDX-License-Identifier: Apache-2.0
"""Next3D's generator (Sun et al., CVPR 2023, figure 2).

z and a camera -> w -> static planes and a neural texture (once a person); a posed face mesh carries the texture into
dynamic planes, whose mouth is redrawn (once an expression); where the mesh covers them, they replace the static planes,
and the result is rendered as EG3D's planes are. Model space, but for the mesh, which has its own frame (`MeshConfig`).

Read on in: `human/model.py` (parameters to vertices), `dynamic.py` (mesh and texture to planes), `mouth.py`,
`published_base.py`, `rendering/volume.py`, `training/recipes/next3d.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...nn.stylegan2 import NoiseMode
from ...planes import Triplane
from ..published_base import PublishedBase, Shown, decoder_of, superresolution_of, synthesis_of
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


class Next3DGenerator(PublishedBase[Next3DConfig]):
    """The network of published weights; no method changes it."""

    def __init__(self, config: Next3DConfig) -> None:
        """Build it with random weights and an empty mesh, which comes with the weights.

        Raises:
            ValueError: the config is one of our own weights (`identity`), or planes and drawings differ in size.
        """
        if config.identity is not None:
            raise ValueError("weights with a face code (config.identity) have another generator")
        if config.static.resolution != config.mesh.resolution:
            raise ValueError("the mesh is drawn at the resolution of the static planes")
        super().__init__(config)
        channels, mesh = config.static.plane_channels, config.mesh
        self.static = synthesis_of(config.static, config.w_dim, len(config.plane_axes) * channels)
        self.texture = synthesis_of(config.texture, config.w_dim, channels)
        self.mouth = None if config.mouth is None else Mouth(config.mouth, channels, config.w_dim)
        self.blending = None if config.blending is None else style_unet(config.blending, channels, config.w_dim)
        self.topology = FaceTopology.empty(mesh.triangles, mesh.mask_resolution)
        self.decoder = decoder_of(config, channels)
        self.superresolution = superresolution_of(config)

    @property
    def layers(self) -> int:
        """Return how many w a w_plus has: the static planes' layers, then the texture's."""
        return self.static.layers + self.texture.layers

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
    ) -> Shown:
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
        return Shown(Triplane(features, config.plane_axes, config.render.box).channels_last(), w_plus)

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
