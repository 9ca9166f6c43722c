# SPDX-License-Identifier: Apache-2.0
"""Settings of the adversarial recipe: which are refused, and the configurations that we ship."""

import dataclasses
from pathlib import Path

import pytest

from neural_core.errors import UsageError
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.plane_config import DecoderConfig, IdentityConfig, SuperResolutionConfig
from tests.still_recipe import config_of
from tests.tiny_models import tiny_config
from training.config import build as read
from training.config import read_toml
from training.recipes.adversarial_config import ExportConfig, check
from training.recipes.eg3d import Config
from training.recipes.eg3d_config import new_generator

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"model": {"mapping": {"label_dim": 7}}}, "label_dim is 7"),
        (
            {"model": {"superresolution": {"kind": "none"}, "render": {"neural_resolution": 24}}},
            "pictures of 24 pixels",
        ),
        ({"model": {"superresolution": {"kind": "none"}}, "neural_resolution": {"final": 64}}, "change the size"),
        ({"discriminator": {"group": 4}, "run": {"batch": 12, "micro_batch": 6}}, "does not divide 6 samples"),
        ({"discriminator": {"group": 4}, "run": {"micro_batch": 2}}, "does not divide 2 samples"),
        ({"discriminator": {"group": 1}, "run": {"micro_batch": 1}}, "Poses are swapped"),
        ({"discriminator": {"group": 1}, "pose": {"swap": 0.0}, "run": {"micro_batch": 1}}, "Poses are swapped"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(tables, words):
    check(config_of(), config_of().model)
    with pytest.raises(UsageError, match=words) as caught:
        check(config_of(**tables), config_of(**tables).model)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"loss": {"r1_every": 0}}, "loss.r1_every is 0, but has to be above 0"),
        ({"loss": {"density_every": 0}}, "loss.density_every is 0"),
        ({"loss": {"r1_gamma": -1.0}}, "loss.r1_gamma is -1.0, but cannot be negative"),
        ({"discriminator": {"group": 0}}, "discriminator.group is 0"),
        ({"data": {"limit": -1}}, "data.limit is -1"),
        ({"rates": {"generator": -0.1}}, "rates.generator is -0.1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tables, words):
    with pytest.raises(UsageError, match=words):
        config_of(**tables)


@pytest.mark.parametrize(
    ("identity", "changes"),
    [
        (True, {"superresolution": SuperResolutionConfig(kind="8xdc")}),
        (True, {"z_dim": 50, "identity": IdentityConfig(traits=True), "decoder": DecoderConfig(features=9)}),
        (True, {"identity": IdentityConfig(shape_dims=41)}),
        (False, {"superresolution": SuperResolutionConfig(kind="subpixel")}),
    ],
)
def test_a_model_that_cannot_be_built_is_a_sentence(identity, changes):
    model = tiny_config() if identity else config_of().model
    with pytest.raises(UsageError, match="This model cannot be built: "):
        new_generator(dataclasses.replace(model, **changes))


# The configurations that we ship.

PUBLISHED = {
    # neural resolution, its end, R1's gamma, swap, near, far, box, samples, white, pivot, augmentation, kind
    "eg3d-ffhq512": (64, 0, 1.0, 0.5, 2.25, 3.3, 1.0, 48, False, (0.0, 0.0, 0.2), "none", "8xdc"),
    "eg3d-ffhq512-128": (64, 128, 1.0, 0.5, 2.25, 3.3, 1.0, 48, False, (0.0, 0.0, 0.2), "none", "8xdc"),
    "eg3d-afhq512": (64, 128, 5.0, 0.8, 2.25, 3.3, 1.0, 48, False, (0.0, 0.0, -0.06), "adaptive", "8xdc"),
    "eg3d-shapenet128": (64, 0, 0.3, None, 0.1, 2.6, 1.6, 64, True, (0.0, 0.0, 0.0), "none", "2x"),
}
"""From the published training command and documentation (its fact sheet)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    config = read(Config, read_toml(CONFIGS / f"{name}.toml"), name)
    check(config, config.model)
    model, render = config.model, config.model.render
    swap = config.pose.swap if model.mapping.label_scale else None
    assert render.coarse == render.fine
    assert PUBLISHED[name] == (
        render.neural_resolution, config.neural_resolution.final, config.loss.r1_gamma, swap, render.ray_start,
        render.ray_end, render.box, render.coarse, render.white_back, model.camera_pivot, config.augment.mode,
        model.superresolution.kind,
    )  # fmt: skip
    # the rest is the same for all
    assert model.plane_axes == ("xy", "xz", "zx")
    assert (model.z_dim, model.w_dim, model.mapping.layers, model.mapping.label_dim) == (512, 512, 2, 25)
    assert (model.backbone.resolution, model.backbone.plane_channels) == (256, 32)
    assert model.backbone.channels == (512, 512, 512, 512, 512, 256, 128)
    assert (model.decoder.hidden, model.decoder.features) == (64, 32)
    assert config.loss == dataclasses.replace(Config().loss, r1_gamma=config.loss.r1_gamma)
    assert (config.loss.r1_every, config.loss.density, config.loss.density_every) == (16, 0.25, 4)
    assert (config.loss.density_points, config.loss.density_step, config.loss.density_extent) == (1000, 0.004, 1.0)
    assert (config.rates.generator, config.rates.discriminator) == (0.0025, 0.002)
    assert (config.run.batch, config.run.micro_batch, config.discriminator.group) == (32, 4, 4)
    # runs that start from weights have no blur and no fade, and adapt five times as quickly
    from_weights = name in ("eg3d-ffhq512-128", "eg3d-afhq512")
    assert (config.pose.fade_kimg, config.blur.sigma) == ((0, 0) if from_weights else (1000, 10))
    assert (config.run.ema_kimg, config.run.ema_rampup) == (10, 0 if from_weights else 0.05)
    assert config.augment.kimg == (100 if config.augment.mode == "adaptive" else 500)


def test_our_settings_are_those_of_the_weights_that_they_start_from():
    ours, started = read_toml(CONFIGS / "eg3d-256.toml"), read_toml(CONFIGS / "default-eg3d.toml")
    assert ours["model"] == started["model"]
    config = read(Config, ours, "eg3d-256")
    check(config, config.model)
    assert config.model.image_size == 256
    tiny = read(Config, read_toml(CONFIGS / "tiny.toml"), "tiny")
    check(tiny, tiny.model)


def test_the_defaults_are_the_published_ones():
    config = read(Config, read_toml(CONFIGS / "eg3d-ffhq512.toml"), "eg3d-ffhq512")
    assert config.model == EG3DConfig()
    defaults = Config()
    for name in ("discriminator", "loss", "pose", "blur", "neural_resolution", "augment", "rates"):
        assert getattr(config, name) == getattr(defaults, name), name
    assert config.export != ExportConfig()  # a default licence would be a lie
