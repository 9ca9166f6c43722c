# SPDX-License-Identifier: Apache-2.0
"""A .portrait file brings back the same person, or says why not."""

import dataclasses

import numpy as np
import pytest
import torch

from neural_core import checkpoints, portraits, rigs, studio
from neural_core.cameras import orbit
from neural_core.errors import InputError, ModelError, UsageError
from neural_core.systems.common import Portrait, Rendering
from neural_core.systems.plane_config import SuperResolutionConfig
from neural_core.systems.plane_system import PlaneField
from tests.tiny_models import METADATA, save_tiny, tiny_config


@pytest.fixture
def portrait():
    tensors = {"z": torch.tensor([[1.0, -2.0]]), "w_plus": torch.arange(6.0).reshape(1, 2, 3)}
    return Portrait("eg3d", "ab" * 32, tensors, torch.tensor([0.5, -0.5]), {"model": "tiny", "seed": 7})


def test_a_portrait_comes_back_as_it_was(portrait):
    back = portraits.from_bytes(portraits.to_bytes(portrait), "x")
    assert (back.system, back.checkpoint_hash, back.provenance) == ("eg3d", "ab" * 32, portrait.provenance)
    assert torch.equal(back.shape, portrait.shape)
    assert back.tensors.keys() == portrait.tensors.keys()
    assert all(torch.equal(back.tensors[name], portrait.tensors[name]) for name in portrait.tensors)
    assert portraits.to_bytes(back) == portraits.to_bytes(portrait)


def test_a_portrait_without_a_shape_comes_back_without(portrait):
    unknown = Portrait("eg3d", "ab" * 32, portrait.tensors)
    back = portraits.from_bytes(portraits.to_bytes(unknown), "x")
    assert back.shape is None
    with pytest.raises(InputError, match="no face shape"):
        rigs.driver_vertices(back)


def test_numbers_that_are_not_finite_are_refused(portrait):
    portrait.tensors["z"][0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        portraits.from_bytes(portraits.to_bytes(portrait), "x")


def test_a_file_cut_anywhere_is_refused(portrait):
    data = portraits.to_bytes(portrait)
    for end in range(0, len(data), 7):
        with pytest.raises(InputError):
            portraits.from_bytes(data[:end], "x")


def test_a_file_that_says_too_little_is_refused(portrait):
    data = checkpoints.pack(portrait.tensors, {"format": checkpoints.PORTRAIT_FORMAT, "system": "eg3d"})
    with pytest.raises(InputError, match="which model"):
        portraits.from_bytes(data, "x")


@pytest.mark.parametrize("placement", [[1.0], "abc", [1, 2, 3, "x"], None, 5])
def test_nonsense_about_the_rig_is_refused(portrait, placement):
    portrait.provenance[rigs.PLACEMENT] = placement
    with pytest.raises(InputError, match="where its rig is"):
        rigs.driver_vertices(portrait)


def test_a_fitted_rig_stands_where_it_was_fitted(portrait):
    as_it_is = rigs.rig_arrays(portrait)
    portrait.provenance[rigs.PLACEMENT] = [2.0, 0.1, 0.2, 0.3]
    moved = rigs.rig_arrays(portrait)
    for name, tolerance, offset in (
        ("rig/vertices", 1e-6, [0.1, 0.2, 0.3]),
        ("rig/joints", 1e-5, [0.1, 0.2, 0.3]),
        ("rig/actions", 1e-6, [0, 0, 0]),
    ):
        np.testing.assert_allclose(moved[name], 2 * as_it_is[name] + np.array(offset), rtol=1e-6, atol=tolerance)


# The studio ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    save_tiny(tmp_path / "models" / "tiny.safetensors")
    return tmp_path / "models"


def test_a_portrait_opens_only_with_its_own_model(models_folder):
    data = portraits.to_bytes(studio.Studio("cpu").create("tiny", 3)[1])
    assert studio.Studio("cpu").open(data, "x")[1].provenance["seed"] == 3
    save_tiny(models_folder / "tiny.safetensors", seed=1)
    with pytest.raises(ModelError, match="is another"):
        studio.Studio("cpu").open(data, "x")
    (models_folder / "tiny.safetensors").unlink()
    with pytest.raises(ModelError, match='made with model "tiny"'):
        studio.Studio("cpu").open(data, "x")


def test_the_provenance_names_model_seed_and_licence(models_folder):
    said = studio.provenance(studio.Studio("cpu").create("tiny", 3, 0.5)[1])
    assert {key: said[key] for key in ("model", "seed", "truncation")} == {
        "model": "tiny",
        "seed": 3,
        "truncation": 0.5,
    }
    assert said["licence"] == METADATA["licence"]
    assert said["model_sha256"] == checkpoints.file_hash(models_folder / "tiny.safetensors")


def test_a_draft_has_the_size_asked_for(models_folder):
    maker = studio.Studio("cpu")
    loaded, portrait = maker.create("tiny", 3)
    field, camera = loaded.system.pose(portrait), loaded.system.creation_camera()
    full = maker.draw(field, camera, 32)
    draft = maker.draw(field, camera, 32, "draft")
    assert full.shape == draft.shape == (32, 32, 4)
    assert abs(full.astype(int) - draft)[..., 3].mean() < 16
    assert (full != draft).any()


@pytest.mark.parametrize(("kind", "rays"), [("none", 16), ("subpixel", 6)])
def test_a_draft_has_fewer_rays(kind, rays, monkeypatch):
    """Half of the picture's pixels along a side; three quarters of the network's own where another enlarges them."""
    config = tiny_config()
    enlarging = SuperResolutionConfig("subpixel", (4, 2)) if kind == "subpixel" else config.superresolution
    render = dataclasses.replace(config.render, neural_resolution=8)
    config = dataclasses.replace(config, superresolution=enlarging, render=render)
    asked = []

    def draw(camera, resolution, chunk, on_progress):
        asked.append(resolution)
        side = resolution * (4 if kind == "subpixel" else 1)
        image, one = torch.zeros(1, 3, side, side), torch.ones(1, 1, side, side)
        return Rendering(image, image, image, one, one)

    field = PlaneField(config, lambda *_: None, draw)
    camera = orbit(0.0)
    pictures = [field.render(camera, 32, draft=draft).image for draft in (False, True)]
    assert asked == [32 if kind == "none" else 8, rays]
    assert pictures[0].shape == pictures[1].shape == (1, 3, 32, 32)


def test_the_view_goes_around_the_head(models_folder):
    system = studio.Studio("cpu").load("tiny").system
    front, left = studio.creation_view(system, 0, 0), studio.creation_view(system, 90, 0)
    assert torch.allclose(front.label(), system.creation_camera().label(), atol=1e-6)
    assert left.cam2world[0, :3, 3].tolist() == pytest.approx([1.35, 0, 0], abs=1e-5)  # the subject's left is +X
    assert studio.creation_view(system, 0, 30).cam2world[0, 1, 3] > 0


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "", "cuda:x"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(UsageError, match="no device"):
        studio.Studio(device)
