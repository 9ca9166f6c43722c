# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe as it goes on: growth, samples, the export, weights to start from."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from neural_core import checkpoints, systems
from neural_core.cameras import orbit
from neural_core.errors import ModelError
from neural_core.systems.plane_config import HeadToModel
from tests.still_recipe import batch_of, config_of, recipe_of, step_of, watch, with_code
from tests.tiny_models import METADATA, tiny_config
from training.recipes import eg3d_warm_start
from training.recipes.adversarial_config import check_start
from training.recipes.eg3d_warm_start import WarmStart


def test_the_rendering_grows_with_the_pictures_seen(tmp_path):
    recipe = recipe_of(config_of(neural_resolution={"final": 32, "fade_kimg": 1.0}))
    seen = []
    watch(recipe.discriminator, seen)
    for images in (0, 500, 2000):
        recipe.losses("D_main", batch_of(), step_of(images))
    assert [raw.shape[-1] for _, raw, _ in seen] == [16, 16, 24, 24, 32, 32]
    assert recipe.after_step(step_of(996), {})["neural_resolution"] == 32
    recipe.export({"G": recipe.generator}, {}, tmp_path / "model.safetensors")
    assert checkpoints.load(tmp_path / "model.safetensors").config["render"]["neural_resolution"] == 32


def test_samples_are_a_grid_and_a_turntable_of_the_same_people():
    recipe = recipe_of(config_of())
    grid, turntable = recipe.samples({"G": recipe.generator}, step_of(0))
    assert grid.name == "grid"
    assert grid.frames.shape == (1, 3, 3 * 128, 2 * 128)
    assert turntable.frames.shape == (3, 3, 128, 128)
    for sample in (grid, turntable):
        assert sample.frames.min() >= 0
        assert sample.frames.max() <= 1
    # the turntable's frames are the grid's first column, from the same three sides
    assert_close(torch.cat(list(turntable.frames), dim=1), grid.frames[0, :, :, :128])
    assert not torch.allclose(turntable.frames[0], turntable.frames[2], atol=1e-3)
    again, _ = recipe.samples({"G": recipe.generator}, step_of(400))
    assert again.frames.equal(grid.frames)
    recipe.pictures.labels = orbit(0.0, focal=2.0).label()  # the lens is the data's
    wider, _ = recipe.samples({"G": recipe.generator}, step_of(0))
    assert not torch.allclose(wider.frames, grid.frames, atol=1e-3)


@pytest.mark.parametrize("identity", [False, True])
def test_the_export_is_a_model(tmp_path, identity):
    config = with_code() if identity else config_of(export={"licence": "CC0-1.0", "use": "any"})
    recipe, path = recipe_of(config), tmp_path / "model.safetensors"
    recipe.export({"G": recipe.generator}, {"steps": 7}, path)
    system = systems.load(path)
    rendering = system.pose(system.create(7)).render(system.creation_camera())
    assert rendering.image.shape[-1] == config.model.image_size
    assert torch.isfinite(rendering.image).all()
    texts = checkpoints.read_header(path)
    assert texts.json("trained") == {"steps": 7}
    assert texts.metadata["use"] == ("not stated: ask who trained it" if identity else "any")


def test_training_starts_from_weights_and_inherits_their_licence(tmp_path):
    config = config_of()
    first = recipe_of(config)
    with torch.no_grad():
        first.generator.decoder.output.bias.fill_(0.25)
    path = tmp_path / "start.safetensors"
    checkpoints.save(path, first.generator.state_dict(), "eg3d", dataclasses.asdict(config.model), METADATA)
    start = checkpoints.load(path)
    check_start("eg3d", config.model, start)
    recipe_of(config, start).export({"G": first.generator}, {}, tmp_path / "model.safetensors")
    header = checkpoints.read_header(tmp_path / "model.safetensors")
    assert (header.metadata["licence"], header.metadata["use"]) == (METADATA["licence"], METADATA["use"])
    assert header.json("source")["started_from"]["sha256"] == start.hash

    model = dataclasses.replace(config.model, render=dataclasses.replace(config.model.render, coarse=9))
    check_start("eg3d", model, start)  # how it is rendered is free
    boxed = dataclasses.replace(config.model, render=dataclasses.replace(config.model.render, box=2.0))
    with pytest.raises(ModelError, match=r"render.box = 1.0, but the configuration says 2.0"):
        check_start("eg3d", boxed, start)
    with pytest.raises(ModelError, match=r"plane_axes"):
        check_start("eg3d", dataclasses.replace(config.model, plane_axes=("xy", "xz", "zy")), start)
    with pytest.raises(ModelError, match="a model of next3d"):
        check_start("eg3d", config.model, dataclasses.replace(start, system="next3d"))


def test_the_other_kind_of_weights_is_refused_in_a_sentence():
    published, ours = config_of().model, tiny_config()
    for model, other, hint in ((published, ours, "Set"), (ours, published, "Leave")):
        start = checkpoints.Checkpoint("eg3d", dataclasses.asdict(other), {}, {}, "0" * 64, "start")
        with pytest.raises(ModelError, match="one has a face code, one has none") as caught:
            check_start("eg3d", model, start)
        assert caught.value.hint.startswith(hint)


def test_the_warm_start_looks_for_the_inside_of_heads_where_the_model_has_them():
    moved = dataclasses.replace(tiny_config(), head_to_model=HeadToModel(2.0, (0.1, 0.2, 0.3)))
    here, there = (
        WarmStart(eg3d_warm_start.Config(model=model), None, torch.device("cpu")).comparison.inside
        for model in (tiny_config(), moved)
    )
    assert_close(there - here, torch.tensor([0.1, 0.2, 0.3]).expand_as(here))
