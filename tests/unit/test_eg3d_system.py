# SPDX-License-Identifier: Apache-2.0
"""EG3D as everything above sees it: seeds, portraits, fields in metres, checkpoints, refusals."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from neural_core import checkpoints, systems
from neural_core.cameras import orbit
from neural_core.errors import InputError, ModelError, UsageError
from neural_core.rendering.compositing import activate_density
from neural_core.systems.common import Field, System
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.system import EG3D, build_generator
from neural_core.systems.plane_config import (
    BackboneConfig,
    DecoderConfig,
    HeadToModel,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
)
from tests.tiny_models import tiny_config

PLAIN = EG3DConfig(
    z_dim=8,
    w_dim=16,
    mapping=MappingConfig(label_dim=25),
    backbone=BackboneConfig(resolution=16, plane_channels=4, channel_base=128, channel_max=8),
    decoder=DecoderConfig(hidden=8, features=5),
    render=RenderConfig(coarse=6, fine=6, neural_resolution=16),
    superresolution=SuperResolutionConfig(kind="none"),
    head_to_model=HeadToModel(2.0, (0.0, 0.1, 0.0)),
)
SHARP = dataclasses.replace(PLAIN, superresolution=SuperResolutionConfig(kind="2x", channels=(6, 4)))
METADATA = {"licence": "CC0-1.0", "use": "any"}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=[PLAIN, SHARP], ids=["plain", "superresolution"])
def system(request):
    return EG3D(EG3DGenerator(request.param), "abc")


@pytest.fixture
def plain():
    return EG3D(EG3DGenerator(PLAIN))


def test_it_is_a_system(system):
    assert isinstance(system, System)
    assert isinstance(system.pose(system.create(0)), Field)
    assert system.info.creates_from == ("seed",)
    assert system.info.image_size == (128 if system.config is SHARP else 16)
    assert not system.info.knows_shape


def test_the_same_seed_is_the_same_picture(system):
    camera = orbit(20.0, radius=1.35)
    pictures = [system.pose(system.create(seed)).render(camera).image for seed in (5, 5, 6)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.allclose(pictures[0], pictures[2])
    assert pictures[0].shape[-1] == system.info.image_size


def test_seeds_are_those_of_the_published_scripts(plain):
    z = torch.from_numpy(np.random.RandomState(7).randn(1, 8)).float()
    expected = plain.generator.mapping(z, PLAIN.frontal_camera().label(), 0.7)
    portrait = plain.create(7, 0.7)
    assert_close(portrait.tensors["w_plus"], expected)
    assert (portrait.system, portrait.shape) == ("eg3d", None)
    assert portrait.provenance == {"system": "eg3d", "seed": 7, "truncation": 0.7}


def test_no_truncation_and_full_truncation(plain):
    plain.generator.mapping_network.w_mean += torch.randn(16)
    mean = plain.create(3, 0.0).tensors["w_plus"]
    assert_close(mean, plain.generator.mapping_network.w_mean.expand(1, 6, 16))
    assert not torch.allclose(plain.create(3, 1.0).tensors["w_plus"], mean)


def test_truncation_may_act_on_the_code():
    config = dataclasses.replace(PLAIN, mapping=MappingConfig(label_dim=0, normalise_z=False, truncation="z", layers=1))
    generator = EG3DGenerator(config)
    z = torch.randn(2, 8)
    assert_close(generator.mapping(z, truncation_psi=0.3), generator.mapping(0.3 * z))


def test_metres(plain):
    """Head space is half as large as model space here, and a tenth of a unit lower."""
    field = plain.pose(plain.create(1))
    low, high = field.box
    assert low == pytest.approx((-0.25, -0.3, -0.25))
    assert high == pytest.approx((0.25, 0.2, 0.25))
    points = torch.tensor([[0.0, -0.05, 0.0], [0.1, 0.0, -0.1]])
    person = plain.generator.person(plain.create(1).tensors["w_plus"])
    in_model = points * 2 + torch.tensor([0.0, 0.1, 0.0])
    raw, colour = plain.generator.field(person)(in_model[None], in_model[None])
    assert_close(field.density(points), 2 * activate_density(raw)[0, :, 0])  # 1/metre: twice 1/unit
    assert_close(field.colour(points), colour[0, :, :3].clamp(0, 1))


def test_nothing_lies_outside_the_box(plain):
    field = plain.pose(plain.create(1))
    low, high = (torch.tensor([corner]) for corner in field.box)
    assert not field.density(torch.cat([low - 1e-3, high + 1e-3])).any()
    assert field.density(torch.cat([low + 1e-3, high - 1e-3])).all()


def test_pictures_and_depths_from_head_space(plain):
    field = plain.pose(plain.create(1))
    found = field.render(plain.creation_camera())
    person = plain.generator.person(plain.create(1).tensors["w_plus"])
    expected = plain.generator.render(person, PLAIN.frontal_camera())
    assert_close(found.image, expected.image, atol=1e-4, rtol=0)
    assert_close(found.depth, expected.depth / 2, atol=1e-4, rtol=0)
    assert found.opacity.shape == found.depth.shape == (1, 1, 16, 16)
    position = plain.creation_camera().cam2world[0, :3, 3]
    assert_close(position, torch.tensor([0.0, -0.05, 1.35]))


@pytest.mark.parametrize("size", [16, 24, 100])
def test_any_size(system, size):
    rendering = system.pose(system.create(1)).render(system.creation_camera(), size)
    assert rendering.image.shape == (1, 3, size, size)
    assert rendering.image_raw.shape[-1] == (size if system.config is PLAIN else 16)


def test_rendering_changes_nothing(system):
    before = {name: value.clone() for name, value in system.generator.state_dict().items()}
    attributes = set(vars(system.generator))
    system.pose(system.create(2)).render(system.creation_camera(), 20)
    assert all(torch.equal(value, before[name]) for name, value in system.generator.state_dict().items())
    assert set(vars(system.generator)) == attributes


def test_progress_comes_and_may_stop(plain, monkeypatch):
    monkeypatch.setattr("neural_core.systems.plane_system._RAY_SAMPLES_A_CHUNK", 12 * 100)
    field, told = plain.pose(plain.create(1)), []
    field.render(plain.creation_camera(), 16, lambda done, total: told.append((done, total)))
    assert told == [(100, 256), (200, 256), (256, 256)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        field.render(plain.creation_camera(), 16, stop)


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_impossible_seeds(plain, seed):
    with pytest.raises(UsageError, match="between 0 and"):
        plain.create(seed)


def test_no_controls(plain):
    with pytest.raises(UsageError, match="takes no jaw_pose"):
        plain.pose(plain.create(0), {"jaw_pose": torch.zeros(3)})


def test_portraits_of_other_weights_are_refused(plain):
    portrait = plain.create(0)
    for tensors in ({}, {"w_plus": torch.zeros(1, 3, 16)}):
        with pytest.raises(InputError, match="w_plus"):
            plain.pose(dataclasses.replace(portrait, tensors=tensors))


def test_no_face_code_without_identity(plain):
    with pytest.raises(UsageError, match="no face code"):
        plain.portrait_of(torch.zeros(1, 8))


# Checkpoints and the registry


def save(path, config=SHARP, **changes):
    generator = EG3DGenerator(config)
    values = {**dataclasses.asdict(config), **changes}
    checkpoints.save(path, generator.state_dict(), "eg3d", values, METADATA)
    return generator


def test_a_checkpoint_makes_the_same_pictures(tmp_path):
    path = tmp_path / "model.safetensors"
    generator = save(path)
    found = systems.load(path)
    assert found.config == SHARP
    assert found.checkpoint_hash == checkpoints.file_hash(path)
    expected = EG3D(generator).create(4).tensors["w_plus"]
    assert_close(found.create(4).tensors["w_plus"], expected)
    camera = found.creation_camera()
    assert_close(
        found.pose(found.create(4)).render(camera).image, EG3D(generator).pose(found.create(4)).render(camera).image
    )


def test_half_precision_storage(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {name: value.half() for name, value in EG3DGenerator(PLAIN).state_dict().items()}
    checkpoints.save(path, tensors, "eg3d", dataclasses.asdict(PLAIN), METADATA)
    found = systems.load(path)
    assert next(found.generator.parameters()).dtype == torch.float32
    assert found.pose(found.create(0)).render(found.creation_camera()).image.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_res": 24}, "depth_res: Unexpected keyword argument"),
        ({"render": {"box": 1.0, "depth_res": 24}}, "render.depth_res: Unexpected keyword argument"),
        ({"z_dim": "8"}, "z_dim: Input should be a valid integer"),
        ({"plane_axes": ["xy", "xz", "zz"]}, "pairs of two different letters"),
        ({"backbone": {"resolution": 24}}, "power of two"),
        ({"z_dim": 9}, "does not fit"),
    ],
)
def test_configs_are_strict(tmp_path, changes, message):
    path = tmp_path / "model.safetensors"
    save(path, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        systems.load(path)
    assert "model.safetensors" in caught.value.message


def test_unknown_systems_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, {"a": torch.zeros(1)}, "os", {"a": 1}, METADATA)
    with pytest.raises(ModelError, match='the system "os"'):
        systems.load(path)


def test_a_config_survives_json():
    assert systems.read_config("eg3d", dataclasses.asdict(SHARP)) == SHARP
    assert systems.read_config("eg3d", {}) == EG3DConfig()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plane_axes": ("xy", "yx", "x")}, "not 'x'"),
        ({"backbone": BackboneConfig(resolution=4)}, "not 4"),
        ({"decoder": DecoderConfig(features=2), "superresolution": SuperResolutionConfig()}, "three features"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **change)


def test_picture_sizes():
    sizes = {"none": 64, "subpixel": 256, "2x": 128, "4x": 256, "8x": 512, "8xdc": 512}
    for kind, size in sizes.items():
        assert EG3DConfig(superresolution=SuperResolutionConfig(kind=kind)).image_size == size


def test_an_identity_model_with_superresolution_knows_the_coverage_of_its_picture():
    tiny = tiny_config()
    config = dataclasses.replace(
        tiny,
        decoder=dataclasses.replace(tiny.decoder, features=9),
        superresolution=SuperResolutionConfig(kind="subpixel", channels=(6, 4)),
        identity=dataclasses.replace(tiny.identity, traits=True, trait_resolution=4, style_resolution=8),
    )
    torch.manual_seed(0)
    system = EG3D(build_generator(config))
    assert system.info.image_size == 4 * 32
    field, camera = system.pose(system.create(3)), system.creation_camera()
    own, small = field.render(camera), field.render(camera, 40)
    assert own.image.shape == (1, 3, 128, 128)
    assert own.opacity.shape == (1, 1, 128, 128)
    assert own.depth.shape == own.image_raw[:, :1].shape == (1, 1, 32, 32)
    assert small.image.shape[-1] == small.opacity.shape[-1] == 40
    averaged = torch.nn.functional.interpolate(own.opacity, (40, 40), mode="area")
    assert (small.opacity - averaged).abs().mean() < 0.02
    assert 0 <= small.opacity.min() <= small.opacity.max() <= 1
    with pytest.raises(ValueError, match="face code"):
        build_generator(dataclasses.replace(config, identity=None))
