# SPDX-License-Identifier: Apache-2.0
"""A tiny network and settings for tests of the adversarial recipe for still people, and what they are shown."""

import dataclasses
import json

import torch

from neural_core.cameras import orbit
from neural_core.systems.eg3d.system import build_generator
from tests.tiny_models import tiny_config
from training.config import build as read
from training.discriminators import Discriminator, DualDiscriminator
from training.draws import Draws
from training.recipe import Step
from training.recipes.eg3d import Adversarial, Config

SETTINGS = """
{"model": {"z_dim": 5, "w_dim": 8,
           "backbone": {"resolution": 8, "plane_channels": 4, "channel_base": 64, "channel_max": 8},
           "decoder": {"hidden": 8, "features": 4}, "render": {"coarse": 4, "fine": 4, "neural_resolution": 16},
           "superresolution": {"kind": "2x", "channels": [4, 4]}},
 "discriminator": {"channel_base": 512, "channel_max": 8},
 "blur": {"sigma": 0.0}, "pose": {"swap": 0.25, "fade_kimg": 1.0}, "samples": {"people": 2, "frames": 3},
 "run": {"batch": 4}}
"""


def config_of(**tables) -> Config:
    """Return the small configuration with some tables changed."""
    settings = json.loads(SETTINGS)
    for name, table in tables.items():
        settings[name] = {**settings.get(name, {}), **table}
    return read(Config, settings, "test")


def with_code() -> Config:
    """Return the small configuration with a model of our kind, which has no super-resolution."""
    return dataclasses.replace(config_of(), model=tiny_config())


class Faces:
    """A data set of which the recipe needs the cameras."""

    labels = orbit(torch.linspace(-60, 60, 7)).label()


def recipe_of(config: Config, start=None) -> Adversarial:
    torch.manual_seed(0)
    size, options = config.model.image_size, config.discriminator
    kind = Discriminator if config.model.superresolution.kind == "none" else DualDiscriminator
    discriminator = kind(size, channel_base=options.channel_base, channel_max=options.channel_max)
    return Adversarial(config, Faces(), build_generator(config.model), discriminator, start)


def step_of(images: int, phase: str = "D_main") -> Step:
    return Step(images // 4, images, 0.0, Draws(3, phase, range(images, images + 4)))


def batch_of(size: int = 128, channels: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(256, (4, channels, size, size), dtype=torch.uint8, generator=generator)
    return {"picture": pixels, "label": Faces.labels[:4]}


def watch(module, seen: list) -> None:
    """Note a module's arguments whenever it is called."""
    module.register_forward_pre_hook(lambda module, arguments: seen.append(arguments))
