# SPDX-License-Identifier: Apache-2.0
"""Everything that Next3D's weights depend on besides their values. It travels in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...nn.stylegan2 import channels_at
from ...planes import CORRECTED_AXES
from ..plane_config import BackboneConfig, GeneratorConfig, HeadToModel, check_planes

# The defaults below are those of the published FFHQ 512 weights unless the docstring says otherwise.

DynamicOption = Literal["front_only", "repo", "correct"]
"""What is drawn of the mesh. "front_only": the front view, as the published weights want it. "repo": three views as the
published code has them, which puts the side view into the plane read from above and the view from above into the one
read from the side, takes the coverage of the side from one profile alone, and adds both profiles unmirrored. "correct":
every view where it is read, with its own coverage."""


@dataclass(frozen=True)
class MeshConfig:
    """How the face mesh is drawn into planes."""

    scale: float = 5.0
    """Half widths of a plane that a unit of the vertices is (a metre, for the published weights)."""
    shift: tuple[float, float, float] = (0.0, 0.01, -0.01)
    """Added to the vertices before they are scaled (the published `orth_shift` has y downwards)."""
    resolution: int = 256
    """Width and height of the drawings in pixels, the same as the static planes'."""
    face: str = "flame"
    """Name of the face model whose vertices these are."""
    triangles: int = 9976
    """How many triangles it has; they come with published weights (FLAME has 9976)."""
    mask_resolution: int | None = 256
    """Width and height of the mask, likewise with the weights, that says where on the texture the drawing counts
    (FLAME's leaves out the eyes and what is not face); None for everywhere."""
    fill_mouth: bool = True
    """Whether holes that the drawing encloses count as covered, so that the open mouth is the mouth module's."""
    mouth_crop: float = 1.2
    """Side of the square around the mouth, as a factor of the lips' larger extent."""


@dataclass(frozen=True)
class StyleUNetConfig:
    """A StyleGAN synthesis that sees a picture (`nn/style_unet.py`)."""

    input_resolution: int = 64
    """Width and height of the picture it sees."""
    smallest: int = 4
    """Width and height of the picture's smallest code, from which the synthesis begins."""
    resolution: int = 256
    """Width and height of the picture it makes."""
    channel_base: int = 32768
    """Feature channels times resolution, before the maximum is applied."""
    channel_max: int = 512
    """Most feature channels of a resolution."""
    clamp: float | None = None
    """Limit of the absolute value of every layer's output; None for no limit."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        sizes = (self.smallest, self.input_resolution, self.resolution)
        if any(size < 4 or size & (size - 1) for size in sizes):
            raise ValueError(f"a style U-Net's resolutions are powers of two from 4 on, not {sizes}")
        if not self.smallest < self.input_resolution <= self.resolution:
            raise ValueError("a style U-Net needs smallest < input_resolution <= resolution")

    @property
    def channels(self) -> dict[int, int]:
        """Return the feature channels at 4, 8, ... `resolution` pixels."""
        sizes = [4 << i for i in range(self.resolution.bit_length() - 2)]
        return {size: channels_at(size, self.channel_base, self.channel_max) for size in sizes}


@dataclass(frozen=True)
class MovingConfig:
    """What our own weights have for the moving face, besides `IdentityConfig` (`identity_generator.py`)."""

    texture_resolution: int = 128
    """Width and height of the texture in pixels."""
    trait_resolution: int = 32
    """Width and height of the textures that every trait and every style of hair adds in proportion; no more than the
    texture's synthesis has counts."""


@dataclass(frozen=True)
class Next3DConfig(GeneratorConfig):
    """A Next3D generator; its mapping network serves static planes and texture."""

    static: BackboneConfig = field(default_factory=BackboneConfig)
    """The synthesis network of the static planes."""
    texture: BackboneConfig = field(default_factory=BackboneConfig)
    """The synthesis network of the mesh's texture, whose channels are the planes'."""
    mouth: StyleUNetConfig | None = field(default_factory=StyleUNetConfig)
    """The mouth module; None for none."""
    blending: StyleUNetConfig | None = field(default_factory=lambda: StyleUNetConfig(input_resolution=256, smallest=32))
    """What goes over the whole front view after the mouth was put in; None for nothing."""
    dynamic_planes: DynamicOption = "front_only"
    """What is drawn of the mesh."""
    static_planes: bool = True
    """Whether there are static planes where the mesh is not; without, features are 0 there (table 2 of the paper)."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """How the mesh is drawn."""
    head_to_model: HeadToModel = field(default_factory=lambda: HeadToModel(scale=2.5))
    """Where head space lies in model space."""
    moving: MovingConfig = field(default_factory=MovingConfig)
    """What moves; only our own weights have it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        check_planes(self.static.resolution, self.plane_axes)
        check_planes(self.texture.resolution, self.plane_axes)
        if {frozenset(pair) for pair in self.plane_axes} != {frozenset(pair) for pair in CORRECTED_AXES}:
            raise ValueError("Next3D has one plane for each pair of axes")
        if self.plane_axes[0] != "xy":
            raise ValueError('the first plane is the front view, "xy"')
        if self.texture.plane_channels != self.static.plane_channels:
            raise ValueError("the texture needs as many channels as a plane")
        if self.identity is not None:
            self._check_own()
            return
        for unet in (self.mouth, self.blending):
            if unet is not None and unet.resolution != self.mesh.resolution:
                raise ValueError("mouth and blending make pictures of the drawings' resolution, mesh.resolution")
        if self.blending is not None and self.blending.input_resolution != self.mesh.resolution:
            raise ValueError("blending sees the whole front view: its input_resolution is mesh.resolution")

    def _check_own(self) -> None:
        """Refuse what our own weights cannot be built from."""
        if self.dynamic_planes != "correct" or self.mesh.fill_mouth:
            raise ValueError('our own weights have dynamic_planes "correct" and no mesh.fill_mouth')
        space, mesh = self.head_to_model, self.mesh
        in_planes = [2 / self.render.box * value for value in (space.scale, *space.translation)]
        drawn = [mesh.scale, *(mesh.scale * value for value in mesh.shift)]
        if any(abs(a - b) > 1e-3 * mesh.scale for a, b in zip(in_planes, drawn, strict=True)):
            raise ValueError(f"the mesh must lie where the head does: mesh.scale is {in_planes[0]:.6g} for this box")
