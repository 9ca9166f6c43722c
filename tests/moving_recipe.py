# SPDX-License-Identifier: Apache-2.0
"""Tiny networks and settings for tests of the adversarial recipe for people who move, and what they are shown."""

import dataclasses

import torch

from neural_core.cameras import orbit
from neural_core.human.anny import load_anny_head
from neural_core.human.face_atlas import FaceAtlas
from neural_core.systems.next3d.config import MeshConfig, Next3DConfig, StyleUNetConfig
from neural_core.systems.plane_config import (
    BackboneConfig,
    DecoderConfig,
    HeadToModel,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
)
from tests.tiny_models import tiny_next3d_config
from training.config import RunConfig
from training.draws import Draws
from training.recipe import Step
from training.recipes.adversarial_config import BlurConfig, LossConfig, PoseConfig
from training.recipes.next3d import Adversarial
from training.recipes.next3d_config import Config, DiscriminatorConfig, new_discriminator, new_generator

FACE = load_anny_head()


class Instants:
    """A data set of which the recipe needs the tables; drivers have 24 x 24 pixels."""

    generator = torch.Generator().manual_seed(2)
    labels = orbit(torch.linspace(-60, 60, 7)).label()
    actions = torch.rand(7, 52, generator=generator) * 0.6
    joints = torch.randn(7, 10, 3, generator=generator) * 0.1
    shapes = torch.randn(7, 40, generator=generator)
    driver_size = 24


def ours(**changes) -> Next3DConfig:
    """Return a tiny model of our kind with 8 x 8 pixels."""
    tiny = tiny_next3d_config()
    render = dataclasses.replace(tiny.render, neural_resolution=8, coarse=4, fine=4)
    return dataclasses.replace(tiny, render=render, **changes)


def with_two_pictures() -> Next3DConfig:
    """Return a tiny model of our kind with a super-resolution: 32 x 32 pixels from 8 x 8."""
    return ours(superresolution=SuperResolutionConfig(kind="subpixel", channels=(4, 4)), decoder=DecoderConfig(8, 4))


def published(superresolution: str = "none") -> Next3DConfig:
    """Return the paper's network, tiny, on our head's mesh: 8 x 8 pixels, or 128 x 128 with the one called 2x."""
    backbone = BackboneConfig(resolution=16, plane_channels=4, channel_base=64, channel_max=8)
    unet = StyleUNetConfig(input_resolution=8, smallest=4, resolution=16, channel_base=64, channel_max=8)
    return Next3DConfig(
        z_dim=5,
        w_dim=8,
        mapping=MappingConfig(layers=1),
        static=backbone,
        texture=backbone,
        mouth=unet,
        blending=dataclasses.replace(unet, input_resolution=16),
        dynamic_planes="correct",
        mesh=MeshConfig(4.0, (0.0, 0.0, 0.0), 16, "anny-head", len(FaceAtlas.of(FACE).faces), 16),
        decoder=DecoderConfig(8, 4),
        render=RenderConfig(coarse=4, fine=4, neural_resolution=8),
        superresolution=SuperResolutionConfig(kind=superresolution, channels=(4, 4)),
        head_to_model=HeadToModel(2.0),
    )


def config_of(model: Next3DConfig | None = None, loss: LossConfig | None = None, **options) -> Config:
    """Return small settings; `options` are the discriminator's."""
    return Config(
        model=model or ours(),
        discriminator=DiscriminatorConfig(channel_base=256, channel_max=8, **options),
        loss=loss or LossConfig(density_points=20),
        pose=PoseConfig(swap=0.0, fade_kimg=0.0),
        blur=BlurConfig(sigma=0.0),
        run=RunConfig(batch=4),
    )


def recipe_of(config: Config) -> Adversarial:
    torch.manual_seed(0)
    generator, discriminator = new_generator(config.model, FACE), new_discriminator(config)
    return Adversarial(config, Instants(), generator, discriminator, FACE)


def step_of(phase: str) -> Step:
    return Step(0, 0, 0.0, Draws(3, phase, range(4)))


def batch_of(size: int = 8, driver_size: int = 24) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)

    def pixels(size: int) -> torch.Tensor:
        return torch.randint(256, (4, 3, size, size), dtype=torch.uint8, generator=generator)

    batch = {"picture": pixels(size), "driver": pixels(driver_size), "label": Instants.labels[:4]}
    return {**batch, "actions": Instants.actions[:4], "joints": Instants.joints[:4]}


def drawn(phase: str, z_dim: int) -> tuple[torch.Tensor, torch.Tensor, Draws]:
    """Return which instants and codes the recipe draws in a phase, and what it goes on to draw from."""
    draws = Draws(3, phase, range(4))
    return draws.integers(7), draws.normal(z_dim), draws
