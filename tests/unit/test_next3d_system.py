# SPDX-License-Identifier: Apache-2.0
"""Next3D as everything above sees it: seeds, controls, what is kept from one instant to the next, checkpoints."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from neural_core import checkpoints, systems
from neural_core.cameras import orbit
from neural_core.errors import UsageError
from neural_core.fitting.tunable import Tunable, difference, tuned_copy
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS
from neural_core.systems.common import Field, System
from neural_core.systems.next3d.identity_generator import IdentityNext3D
from tests.tiny_models import METADATA, save_tiny_next3d

CAMERA = orbit(0.0, radius=1.35)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny_next3d(tmp_path_factory.mktemp("models") / "moving.safetensors")


@pytest.fixture(scope="module")
def loaded(path):
    return systems.load(path)


@pytest.fixture
def system(loaded):
    loaded._known = None
    return loaded


@pytest.fixture
def made(monkeypatch):
    """Return a list that grows with every call of `person`."""
    calls, person = [], IdentityNext3D.person
    monkeypatch.setattr(IdentityNext3D, "person", lambda *args, **kwargs: calls.append(1) or person(*args, **kwargs))
    return calls


def acting(**actions: float) -> dict[str, torch.Tensor]:
    values = torch.zeros(len(ACTIONS))
    for name, value in actions.items():
        values[ACTIONS.index(name)] = value
    return {"actions": values}


def test_it_is_a_tunable_system(system):
    assert isinstance(system, System)
    assert isinstance(system, Tunable)
    assert isinstance(system.pose(system.create(0)), Field)
    assert [control.name for control in system.info.controls] == ["actions", "joints"]
    assert (system.info.name, system.info.image_size, system.info.knows_shape) == ("next3d", 32, True)
    assert system.info.requires == ("anny-head",)


def test_seeds_are_people(system):
    pictures = [system.pose(system.create(seed, 1.0)).render(CAMERA).image for seed in (5, 5, 6)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.allclose(pictures[0], pictures[2])
    portrait = system.create(5, 0.5)
    assert_close(portrait.tensors["z"], 0.5 * system.create(5, 1.0).tensors["z"])
    assert_close(portrait.shape, portrait.tensors["z"][0, :40])


def test_neutral_controls_are_no_controls(system):
    portrait = system.create(1)
    without = system.pose(portrait).render(CAMERA).image
    neutral = {"actions": torch.zeros(1, len(ACTIONS)), "joints": torch.zeros(len(JOINTS), 3)}
    assert torch.equal(system.pose(portrait, neutral).render(CAMERA).image, without)


def test_opening_the_jaw_changes_the_mouth_and_not_the_hair(system):
    portrait = system.create(1)
    rest, opened = (system.pose(portrait, acting(jawOpen=jaw)).render(CAMERA).image for jaw in (0.0, 1.0))
    change = (rest - opened).abs().amax((0, 1))  # [32, 32], rows downwards
    assert change[18:].max() > 0.05
    assert change[:10].max() < 1e-3


def test_the_jaws_joint_opens_it_too(system):
    turned = torch.zeros(len(JOINTS), 3)
    turned[JOINTS.index("jaw"), 0] = 0.4
    portrait = system.create(1)
    change = system.pose(portrait, {"joints": turned}).render(CAMERA).image - system.pose(portrait).render(CAMERA).image
    assert change.abs().amax((0, 1))[18:].max() > 0.05


def test_another_expression_of_the_same_person_keeps_what_does_not_move(system, made):
    portrait = system.create(1)
    for jaw in (0.0, 0.5, 1.0):
        system.pose(portrait, acting(jawOpen=jaw))
    system.pose(dataclasses.replace(portrait, provenance={}))
    assert len(made) == 1
    kept = system.pose(portrait, acting(jawOpen=1.0)).render(CAMERA).image
    other = system.create(2)
    system.pose(other)
    assert len(made) == 2
    assert torch.equal(system.pose(portrait, acting(jawOpen=1.0)).render(CAMERA).image, kept)
    assert len(made) == 3
    portrait.tensors["z"].add_(0.1)  # the same tensor, with other numbers
    assert not torch.equal(system.pose(portrait, acting(jawOpen=1.0)).render(CAMERA).image, kept)
    assert len(made) == 4


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"jaw_pose": torch.zeros(3)}, 'take no "jaw_pose"'),
        ({"actions": torch.zeros(51)}, '"actions" is 52 numbers'),
        ({"joints": torch.zeros(2, 10, 3)}, '"joints" is 30 numbers'),
    ],
)
def test_controls_it_does_not_know_are_refused(system, controls, message):
    with pytest.raises(UsageError, match=message):
        system.pose(system.create(1), controls)


def test_see_is_pose_and_lets_gradients_through(system):
    portrait, controls = system.create(3), acting(jawOpen=0.7)
    latents = {name: value.clone().requires_grad_() for name, value in system.latents(portrait).items()}
    seen = system.see(system.generator, latents, CAMERA, controls)
    assert_close(seen.image, system.pose(portrait, controls).render(CAMERA).image, atol=1e-4, rtol=0)
    seen.image.square().mean().backward()
    assert all(value.grad is not None for value in latents.values())
    assert latents["z"].grad.abs().max() > 0
    again = system.portrait_of_latents(system.latents(portrait))
    assert again.tensors.keys() == {"z"}


def test_tuned_weights_are_the_portraits_own(system):
    portrait, name = system.create(3), "mean_texture.features"
    before = system.pose(portrait).render(CAMERA).image
    tuned = tuned_copy(system.generator, [name])
    with torch.no_grad():
        dict(tuned.named_parameters())[name].add_(0.5)
    changes = difference(tuned, system.generator, [name])
    own = dataclasses.replace(portrait, tensors={**portrait.tensors, **changes})
    assert not torch.allclose(system.pose(own).render(CAMERA).image, before, atol=1e-2)
    assert torch.equal(system.pose(portrait).render(CAMERA).image, before)


def test_a_checkpoint_of_half_precision_shows_the_same_person(path, system, tmp_path):
    checkpoint = checkpoints.load(path)
    halves = {name: value.half() for name, value in checkpoint.tensors.items()}
    checkpoints.save(tmp_path / "half.safetensors", halves, "next3d", checkpoint.config, METADATA)
    half = systems.load(tmp_path / "half.safetensors")
    assert half.config == system.config
    pictures = [one.pose(one.create(4), acting(jawOpen=1.0)).render(CAMERA).image for one in (system, half)]
    assert_close(*pictures, atol=0.02, rtol=0)
