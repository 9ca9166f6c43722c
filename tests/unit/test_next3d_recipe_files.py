# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe for people who move: weights to start from, samples, and the export."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from neural_core import checkpoints, systems
from neural_core.errors import ModelError
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.system import build_generator
from neural_core.systems.plane_config import HeadToModel
from tests.moving_recipe import FACE, Instants, config_of, ours, published, recipe_of, step_of
from tests.tiny_models import tiny_config, tiny_next3d_config
from training.recipes.next3d_config import Config, new_generator
from training.recipes.next3d_start import fill


def still(model: EG3DConfig, seed: int = 7) -> tuple[torch.nn.Module, checkpoints.Checkpoint]:
    torch.manual_seed(seed)
    generator = build_generator(model)
    tensors = {name: value.half() for name, value in generator.state_dict().items()}
    return generator, checkpoints.Checkpoint("eg3d", dataclasses.asdict(model), tensors, {}, "0" * 64, "start")


def test_ours_starts_from_our_still_weights():
    _, start = still(tiny_config())
    config = config_of(tiny_next3d_config())
    generator = new_generator(config.model, FACE)
    left = fill(generator, config.model, start)
    assert {name.split(".")[0] for name in left} == {"texture_synthesis", "mean_texture", "mouth", "blending"}
    for name, value in generator.state_dict().items():
        if name in start.tensors and name != "decoder.input.weight":
            assert value.equal(start.tensors[name].float()), name


def test_the_papers_network_starts_from_eg3ds_backbone_where_it_fits():
    model = published("2x")
    theirs = EG3DConfig(
        z_dim=5, w_dim=8, mapping=model.mapping, backbone=model.static, decoder=model.decoder, render=model.render,
        superresolution=model.superresolution,
    )  # fmt: skip
    _, start = still(theirs)
    generator = new_generator(model, FACE)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    left = fill(generator, model, start)
    after, tensors = generator.state_dict(), {name: value.float() for name, value in start.tensors.items()}
    for name in ("blocks.16.conv1.weight", "blocks.8.conv0.affine.bias"):
        for prefix in ("static", "texture", "mouth.unet"):
            assert after[f"{prefix}.{name}"].equal(tensors[f"backbone.{name}"]), (prefix, name)
    assert after["static.blocks.16.to_rgb.weight"].equal(tensors["backbone.blocks.16.to_rgb.weight"])
    for name in ("mapping_network.layers.0.weight", "decoder.hidden.weight", "superresolution.block0.conv0.weight"):
        assert after[name].equal(tensors[name]), name
    # three planes of 4 channels there, a texture of 4 here; and nothing there sees pictures
    for name in ("texture.blocks.16.to_rgb.weight", "mouth.unet.encoder.0.conv1.weight", "blending.fusions.0.weight"):
        assert after[name].equal(before[name]), name
        assert name in left
    assert not [name for name in left if name.startswith(("static", "decoder", "mapping", "superresolution"))]


def test_a_run_goes_on_from_its_own_weights():
    model = ours()
    torch.manual_seed(1)
    first, second = new_generator(model, FACE), new_generator(model, FACE)
    start = checkpoints.Checkpoint("next3d", dataclasses.asdict(model), first.state_dict(), {}, "0" * 64, "start")
    assert fill(second, model, start) == ()
    for name, value in first.state_dict().items():
        assert second.state_dict()[name].equal(value), name
    without = dataclasses.replace(model, mouth=None)
    with pytest.raises(ModelError, match="mouth"):
        fill(new_generator(without, FACE), without, start)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plane_axes": ("xy", "xz", "zx")}, "plane_axes"),
        ({"head_to_model": HeadToModel(2.0, (0.0, 0.1, 0.0))}, "head_to_model"),
        ({"w_dim": 12}, "does not fit the model: .*does not become"),
        ({"identity": None}, "one has a face code, one has none"),
    ],
)
def test_other_weights_are_refused_in_a_sentence(changes, words):
    model = ours()
    _, start = still(dataclasses.replace(tiny_config(), **changes))
    with pytest.raises(ModelError, match=words) as caught:
        fill(new_generator(model, FACE), model, start)
    assert caught.value.hint
    with pytest.raises(ModelError, match="a model of pv3d, not of next3d or eg3d"):
        fill(new_generator(model, FACE), model, dataclasses.replace(start, system="pv3d"))


@pytest.mark.parametrize("model", [ours, published])
def test_samples_show_people_who_do_something(model):
    config = dataclasses.replace(config_of(model()), samples=dataclasses.replace(Config().samples, people=2, frames=3))
    recipe = recipe_of(config)
    size = config.model.image_size
    grid, turntable = recipe.samples({"G": recipe.generator}, step_of("samples"))
    assert grid.frames.shape == (1, 3, 6 * size, 2 * size)
    assert turntable.frames.shape == (3, 3, size, size)
    rows = grid.frames[0].unflatten(1, (6, size)).movedim(1, 0)
    for other in rows[3:]:
        assert not other.equal(rows[1])  # an expression is not none
    # the film begins where the grid's first row stands, and its middle is the open mouth
    assert_close(turntable.frames[0], rows[0][:, :, :size])
    assert_close(turntable.frames[1], rows[3][:, :, :size])


@pytest.mark.parametrize("model", [ours, published])
def test_the_export_says_which_face_drives_it(tmp_path, model):
    config, path = config_of(model()), tmp_path / "model.safetensors"
    recipe = recipe_of(config)
    recipe.export({"G": recipe.generator}, {"steps": 7}, path)
    header = checkpoints.read_header(path)
    assert header.system == "next3d"
    assert header.json("requires") == {"face": "anny-head"}
    assert header.json("source")["title"] == "Next3D"
    system = systems.load(path)
    actions = {"actions": Instants.actions[0]}
    pictures = [
        system.pose(system.create(1), controls).render(system.creation_camera()).image for controls in ({}, actions)
    ]
    assert torch.isfinite(pictures[0]).all()
    assert not pictures[0].equal(pictures[1])
    stored = checkpoints.load(path).tensors
    for name, value in recipe.generator.state_dict().items():
        assert stored[name].equal(value.half() if value.is_floating_point() else value), name
