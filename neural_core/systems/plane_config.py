# SPDX-License-Identifier: Apache-2.0
"""Parts of the configs of all systems that render planes as volumes. They travel in checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from ..cameras import Camera, eg3d_cam2world, intrinsics_from_focal
from ..nn.stylegan2 import channels_at
from ..nn.superresolution import ENLARGEMENT
from ..planes import CORRECTED_AXES

# The defaults below are those of the published FFHQ 512 weights (train.py and docs of the published code) unless the
# docstring says otherwise; lengths are in model units, the unit of the box.


@dataclass(frozen=True)
class HeadToModel:
    """Where head space lies in model space: x_model = scale * x_head + translation."""

    scale: float = 1.0
    """Model units a metre."""
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Model units."""


@dataclass(frozen=True)
class MappingConfig:
    """The mapping network z, camera label -> w."""

    layers: int = 2
    """Fully connected layers."""
    normalise_z: bool = True
    """Whether z is divided by its root mean square. False where the numbers of z have a meaning."""
    label_dim: int = 25
    """Numbers in the camera label; 0 for weights that are not conditioned on a camera."""
    label_scale: float = 1.0
    """Factor of the camera label; 0 hides the camera from the network (the published car weights)."""
    truncation: Literal["w", "z"] = "w"
    """What truncation acts on: w moves towards the mean w; or z is scaled, so that it stays a linear code."""


@dataclass(frozen=True)
class BackboneConfig:
    """The synthesis network w -> planes."""

    resolution: int = 256
    """Width and height of a plane in pixels; a power of two."""
    plane_channels: int = 32
    """Feature channels of a plane."""
    channel_base: int = 32768
    """Feature channels times resolution, before the maximum is applied."""
    channel_max: int = 512
    """Most feature channels of a resolution."""
    clamp: float | None = None
    """Limit of the absolute value of every layer's output; None for no limit."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the feature channels at 4, 8, ... `resolution` pixels."""
        sizes = [4 << i for i in range(self.resolution.bit_length() - 2)]
        return tuple(channels_at(size, self.channel_base, self.channel_max) for size in sizes)


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder: plane features -> density and colour features."""

    hidden: int = 64
    """Hidden units."""
    features: int = 32
    """Colour features; the first three are RGB, all are seen by the super-resolution. With `identity.traits` the last
    six are shares of materials (`human/palette.py`)."""
    lr_multiplier: float = 1.0
    """Pace of the decoder as a factor of the learning rate; it scales the stored weights."""


@dataclass(frozen=True)
class RenderConfig:
    """Volume rendering."""

    box: float = 1.0
    """Side length of the cube that the planes span (`box_warp` in the published code)."""
    ray_start: float | Literal["auto"] = 2.25
    """Distance of the first sample; "auto" for where the ray enters the box."""
    ray_end: float | Literal["auto"] = 3.3
    """Distance of the last step; "auto" for where the ray leaves the box."""
    coarse: int = 48
    """Evenly spaced samples a ray."""
    fine: int = 48
    """Samples a ray that are drawn by importance."""
    in_disparity: bool = False
    """Whether coarse samples are even in 1 / distance."""
    white_back: bool = False
    """Whether the background is white rather than black."""
    density_noise: float = 0.0
    """Standard deviation of noise on the raw density, while training."""
    neural_resolution: int = 64
    """Width and height of the volume rendering in pixels."""


@dataclass(frozen=True)
class SuperResolutionConfig:
    """From the volume rendering to the picture."""

    kind: Literal["none", "subpixel", "2x", "4x", "8x", "8xdc"] = "8xdc"
    """"none": the volume rendering is the picture. "subpixel": four times larger, with its coverage (our own weights).
    Else one of the published modules, named for the ratio of the picture to a rendering of 64 pixels: pictures of
    128 (2x), 256 (4x), 512 (8x; 8xdc has twice the channels)."""
    channels: tuple[int, int] | None = None
    """Feature channels of the two blocks; None for those of the published module, or 64 and 32."""
    antialias: bool = True
    """Whether the rendering is resized with antialiasing."""
    clamp: float | None = 256.0
    """Limit of the absolute value of every layer's output; None for no limit."""
    noise_mode: Literal["none", "const", "random"] = "none"
    """Per-pixel noise."""


@dataclass(frozen=True)
class IdentityConfig:
    """What our own weights add, so that a seed knows its face (`nn/identity.py`)."""

    shape_dims: int = 40
    """The first numbers of z: standardised identity coefficients of the face model."""
    face: str = "anny-head"
    """Name of that face model."""
    warp_resolution: int = 32
    """Nodes along an edge of the grid that carries sample points to the mean head."""
    mean_resolution: int = 192
    """Width and height of the learned planes of the mean person, in pixels."""
    film_hidden: int = 0
    """Hidden units between the code and the decoder's modulation; 0 for a linear map."""
    traits: bool = False
    """Whether networks are told the code's traits (`human/traits.py`) in place of the code. They say all that shows but
    for a mole; of the code's raw numbers, a few hundred people would only be learned by heart."""
    trait_resolution: int = 16
    """Width and height of the planes that every trait adds in proportion, in pixels."""
    style_resolution: int = 64
    """Likewise of the planes of every style of hair."""
    trait_channels: int = 8
    """How many of a plane's channels they add to."""


@dataclass(frozen=True)
class PublishedModule:
    """Shape of a published super-resolution module."""

    input_resolution: int
    first_doubles: bool
    channels: tuple[int, int]
    only_enlarge: bool = False

    @property
    def image_size(self) -> int:
        """Return the width and height of its pictures."""
        return self.input_resolution * (4 if self.first_doubles else 2)


SUPERRESOLUTION = {
    "2x": PublishedModule(64, False, (128, 64)),
    "4x": PublishedModule(128, False, (128, 64), only_enlarge=True),
    "8x": PublishedModule(128, True, (128, 64)),
    "8xdc": PublishedModule(128, True, (256, 128)),
}
"""By kind; every picture size has one module."""


@dataclass(frozen=True)
class GeneratorConfig:
    """What all generators with planes are told; each system adds the networks that make its planes."""

    z_dim: int = 512
    """Numbers in z."""
    w_dim: int = 512
    """Numbers in w."""
    plane_axes: tuple[str, ...] = CORRECTED_AXES
    """For each plane the letters of its columns' and rows' coordinates."""
    mapping: MappingConfig = field(default_factory=MappingConfig)
    """The mapping network."""
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
        if self.identity is not None and self.identity.traits and self.decoder.features < 9:
            raise ValueError("decoder.features must be 9 or more: RGB, and the shares of six materials")
        if self.superresolution.kind != "none" and self.decoder.features < 3:
            raise ValueError("super-resolution needs at least the three features of RGB")

    @property
    def image_size(self) -> int:
        """Return the width and height of the finished picture."""
        if self.superresolution.kind == "subpixel":
            return ENLARGEMENT * self.render.neural_resolution
        module = SUPERRESOLUTION.get(self.superresolution.kind)
        return self.render.neural_resolution if module is None else module.image_size

    def frontal_camera(self) -> Camera:
        """Return the camera in front of the face, in model space, that the published scripts condition on."""
        front = torch.zeros(1)
        pose = eg3d_cam2world(front, front, self.camera_radius, self.camera_pivot)
        return Camera(pose, intrinsics_from_focal(self.camera_focal))


def check_planes(resolution: int, axes: tuple[str, ...]) -> None:
    """Raise ValueError where planes cannot have this resolution or see these axes."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(f"the planes' resolution must be a power of two from 8 on, not {resolution}")
    for pair in axes:
        if len(pair) != 2 or not set(pair) <= set("xyz") or pair[0] == pair[1]:
            raise ValueError(f'plane_axes holds pairs of two different letters of "xyz", not {pair!r}')
