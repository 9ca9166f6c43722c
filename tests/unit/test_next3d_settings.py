# SPDX-License-Identifier: Apache-2.0
"""The configurations of the adversarial recipe for people who move."""

from pathlib import Path

import pytest

from neural_core.errors import UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.human.face_atlas import FaceAtlas
from neural_core.systems.next3d.config import Next3DConfig
from tests.moving_recipe import FACE
from tests.tiny_models import METADATA
from training.config import build as read
from training.config import read_toml
from training.recipes.adversarial_config import check
from training.recipes.next3d_config import Config, DiscriminatorConfig, face_of, new_generator

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"


def test_published_settings():
    """From the paper, and the published training command in its fact sheet."""
    config = read(Config, read_toml(CONFIGS / "next3d-ffhq512.toml"), "next3d-ffhq512")
    check(config, config.model)
    model, defaults = config.model, Next3DConfig()
    for name in ("z_dim", "w_dim", "mapping", "static", "texture", "mouth", "blending", "decoder", "render"):
        assert getattr(model, name) == getattr(defaults, name), name
    assert (model.superresolution, model.camera_pivot, model.identity) == (defaults.superresolution, (0, 0, 0.2), None)
    assert (config.loss.r1_gamma, config.discriminator.label_noise, config.run.batch) == (4.0, 1.0, 32)
    assert (config.blur.sigma, config.pose.fade_kimg, config.neural_resolution.final) == (0, 0, 0)
    assert (config.rates.generator, config.rates.discriminator, config.loss.density) == (0.0025, 0.002, 0.25)
    assert config.discriminator.synthetic_rendering
    assert config.data.mirror
    assert face_of(model).name == "anny-head"
    assert model.mesh.triangles == len(FaceAtlas.of(FACE).faces)


def test_the_tiny_settings_are_a_model():
    config = read(Config, read_toml(CONFIGS / "next3d-tiny.toml"), "next3d-tiny")
    check(config, config.model)
    assert new_generator(config.model, face_of(config.model)).config.image_size == 32
    assert set(METADATA) >= {"licence", "use"}
    assert config.export.licence == METADATA["licence"]


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match=r"discriminator.label_noise is -1.0"):
        DiscriminatorConfig(label_noise=-1.0)
    with pytest.raises(UsageError, match=r"discriminator.group is 0"):
        DiscriminatorConfig(group=0)
    assert len(ACTIONS) == 52
