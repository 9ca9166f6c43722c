# SPDX-License-Identifier: Apache-2.0
"""Sliders of a person: what they read, and what is changed to give them another value."""

import dataclasses

import numpy as np
import pytest
import torch

from neural_core import checkpoints, people, portraits, systems
from neural_core.cameras import Camera
from neural_core.errors import UsageError
from neural_core.fitting.tunable import PREFIX
from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import APPEARANCE
from neural_core.mixing import Mix, mixed
from neural_core.studio import Studio
from neural_core.systems.common import Portrait
from neural_core.systems.eg3d.generator import EG3DGenerator
from tests.tiny_models import save_tiny, save_tiny_next3d, tiny_config

ESTIMATES = {"age": "age", "gender": "masculinity", "weight": "weight", "african": "african", "asian": "asian"}
"""The face model's name, and the slider's."""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return systems.load(save_tiny_next3d(tmp_path_factory.mktemp("models") / "m.safetensors"))


@pytest.fixture
def somebody(system):
    return system.create(3, 1.0)


@pytest.fixture
def fitted(system, somebody):
    """The same person as inversion leaves them: with offsets and tuned weights."""
    torch.manual_seed(0)
    offset = {name: 0.1 * torch.randn(1, *shape) for name, shape in system.generator.offsets.items()}
    tuned = {f"{PREFIX}decoder.output.bias": torch.full((4,), 0.25).half()}
    tensors = {**somebody.tensors, **{f"offset/{name}": value for name, value in offset.items()}, **tuned}
    return dataclasses.replace(somebody, tensors=tensors)


def published():
    """A portrait of weights that know no code, whose face was fitted."""
    return Portrait("eg3d", "0" * 64, {"w_plus": torch.zeros(1, 14, 512)}, torch.ones(40), {"seed": 3})


def estimate(portrait, attribute):
    """What the face model says of a person's shape."""
    return load_anny_head().attribute(attribute, portrait.shape.numpy())


def code(portrait):
    return portrait.tensors["z"][0].double().numpy()


def test_every_number_of_the_code_has_a_slider_and_the_face_model_six_more(somebody):
    names = [slider.name for slider in people.sliders(somebody)]
    assert len(set(names)) == len(names) == 6 + 40 + 24
    assert set(APPEARANCE) < set(names)
    grouped = {slider.group for slider in people.sliders(somebody)}
    assert grouped == {"Face", "Shape", "Skin", "Eyes and brows", "Hair", "Beard", "Clothes"}


def test_looks_and_shapes_are_read_off_the_code_as_the_seed_drew_it(somebody):
    z = np.random.RandomState(3).randn(64)
    values = people.read(somebody)
    assert [values[f"shape_{number:02d}"] for number in range(1, 41)] == pytest.approx(z[:40], abs=1e-6)
    assert [values[name] for name in APPEARANCE] == pytest.approx(z[40:], abs=1e-6)


def test_over_many_people_every_slider_is_a_standard_normal(system):
    codes = np.random.default_rng(0).standard_normal((4000, 64))
    directions = np.stack([slider.direction for slider in people.sliders(system.create(0))])
    values = codes @ directions.T
    assert np.abs(values.mean(0)).max() < 0.07  # four deviations of the mean of 4000
    assert np.abs(values.std(0) - 1).max() < 0.05
    assert set(people.read(system.create(5, 0.0)).values()) == {0.0}  # the mean person


@pytest.mark.parametrize(("attribute", "name"), ESTIMATES.items())
@pytest.mark.parametrize("value", [-2.0, 0.0, 1.5])
def test_the_face_models_estimate_has_the_asked_value(somebody, attribute, name, value):
    """That value lies so many deviations from the mean, which are found by sampling people."""
    face = load_anny_head()
    shapes = np.random.default_rng(1).standard_normal((20000, 40))
    sampled = shapes @ face.attributes[attribute][:40] + face.attributes[attribute][40]
    changed = people.changed(somebody, {name: value})
    assert estimate(changed, attribute) == pytest.approx(sampled.mean() + value * sampled.std(), abs=0.03)
    assert people.read(changed)[name] == pytest.approx(value, abs=1e-5)


def test_nobody_who_is_nearer_has_the_asked_values(somebody):
    """Any other way to the same values is longer."""
    asked = {"age": 2.0, "masculinity": -1.0, "shape_03": 0.5}
    change = code(people.changed(somebody, asked)) - code(somebody)
    directions = np.stack([slider.direction for slider in people.sliders(somebody) if slider.name in asked])
    rng = np.random.default_rng(2)
    for _ in range(20):
        aside = rng.standard_normal(64)
        aside -= directions.T @ np.linalg.solve(directions @ directions.T, directions @ aside)
        assert np.linalg.norm(change + 0.1 * aside) > np.linalg.norm(change)
    assert (change[40:] == 0).all()


def test_what_is_asked_for_holds_although_sliders_overlap(somebody):
    asked = {"age": 1.0, "masculinity": -2.0, "african": 1.5, "shape_01": 0.25, "shape_02": -0.5, "beard": 3.0}
    values = people.read(people.changed(somebody, asked))
    assert {name: values[name] for name in asked} == pytest.approx(asked, abs=1e-5)


def test_wishes_that_contradict_each_other_are_met_half_way(somebody):
    """The three ancestries' estimates sum to 1: nobody is much of all."""
    changed = people.changed(somebody, {"african": 2.0, "asian": 2.0, "european": 2.0})
    assert sum(estimate(changed, name) for name in ("african", "asian", "caucasian")) == pytest.approx(1.0, abs=1e-3)
    values = [people.read(changed)[name] for name in ("african", "asian", "european")]
    assert values == pytest.approx([0.0] * 3, abs=0.2)
    assert np.abs(code(changed)).max() < 5


def test_values_come_back_through_the_portraits_file(somebody):
    changed = people.changed(somebody, {"hair_length": 2.0, "age": 1.0, "shape_40": -1.0})
    again = portraits.from_bytes(portraits.to_bytes(changed), "again")
    assert people.read(again) == people.read(changed)
    np.testing.assert_array_equal(again.shape, again.tensors["z"][0, :40])


def test_asking_for_the_way_back_leads_back(somebody):
    there = people.changed(somebody, {"age": 2.5, "hair_wave": -1.0})
    back = people.changed(there, {name: people.read(somebody)[name] for name in ("age", "hair_wave")})
    np.testing.assert_allclose(code(back), code(somebody), atol=1e-5)


def test_what_inversion_found_stays(fitted):
    changed = people.changed(fitted, {"age": 2.0})
    assert changed.tensors.keys() == fitted.tensors.keys()
    for name in changed.tensors.keys() - {"z"}:
        assert changed.tensors[name] is fitted.tensors[name]
    assert not torch.equal(changed.tensors["z"], fitted.tensors["z"])
    np.testing.assert_array_equal(changed.shape, changed.tensors["z"][0, :40])


def test_a_mix_takes_of_tuned_weights_as_much_as_of_the_person(system, fitted):
    """Half of the offsets, and half of the weights' difference: the picture is that of both put in by hand."""
    half = mixed(system, fitted, system.create(9), 0.5)
    for name in fitted.tensors.keys() - {"z"}:
        torch.testing.assert_close(half.tensors[name], fitted.tensors[name] / 2)
    name = "decoder.output.bias"
    assert half.tensors[PREFIX + name].dtype == torch.float16
    alone = mixed(system, fitted, system.create(9), 1.0)
    assert not [key for key in alone.tensors if key.startswith(PREFIX)]
    camera = system.creation_camera()
    before = system.pose(dataclasses.replace(half, tensors=_without_tuned(half))).render(camera).image
    assert not torch.allclose(system.pose(half).render(camera).image, before)


def _without_tuned(portrait):
    return {name: value for name, value in portrait.tensors.items() if not name.startswith(PREFIX)}


def test_published_people_have_no_sliders_and_say_so():
    assert people.sliders(published()) == ()
    assert people.described(published()) == []
    with pytest.raises(UsageError, match="have no sliders"):
        people.changed(published(), {"age": 1.0})
    portrait = published()
    assert people.changed(portrait, {}) is portrait


def test_published_people_are_mixed_and_their_faces_fitted_anew(tmp_path):
    """Whoever was fitted to the first is not the mix: with no shape, the rig is fitted to pictures again."""
    published = dataclasses.replace(tiny_config(), identity=None)
    generator = EG3DGenerator(published)
    metadata = {"licence": "none", "use": "any"}
    path = tmp_path / "published.safetensors"
    checkpoints.save(path, generator.state_dict(), "eg3d", dataclasses.asdict(published), metadata)
    studio = Studio("cpu")
    loaded, first = studio.create(str(path), 1)
    fitted = dataclasses.replace(first, shape=torch.ones(40))
    between = studio.change(loaded, fitted, {}, Mix(2, 0.25))
    other = studio.create(str(path), 2)[1]
    expected = 0.75 * first.tensors["w_plus"] + 0.25 * other.tensors["w_plus"]
    torch.testing.assert_close(between.tensors["w_plus"], expected)
    assert between.shape is None
    assert between.provenance["changes"] == [{"mix_seed": 2, "mix": 0.25}]
    with pytest.raises(UsageError, match="have no sliders"):
        studio.change(loaded, fitted, {"age": 1.0}, Mix(2, 0.25))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"hairlength": 1.0}, r'no slider "hairlength"\. Did you mean "hair_length"'),
        ({"age": 6.0}, r'"age" cannot be 6\.0\. Sliders go from -5 to 5'),
        ({"age": float("nan")}, '"age" cannot be nan'),
        ({"age": "old"}, '"age" cannot be old'),
        ({"age": True}, '"age" cannot be True'),
    ],
)
def test_nonsense_is_a_sentence(somebody, asked, sentence):
    with pytest.raises(UsageError, match=sentence):
        people.changed(somebody, asked)


def test_the_studio_says_what_was_changed_and_mixes_before_it_changes(tmp_path):
    path = str(save_tiny(tmp_path / "m.safetensors"))
    studio = Studio("cpu")
    loaded, first = studio.create(path, 1, 0.5)
    once = studio.change(loaded, first, {"beard": 2.0}, Mix(2, 0.25))
    twice = studio.change(loaded, once, {"age": -1.0})
    assert twice.provenance["changes"] == [
        {"mix_seed": 2, "mix": 0.25, "sliders": {"beard": 2.0}},
        {"sliders": {"age": -1.0}},
    ]
    assert twice.provenance["seed"] == 1
    assert twice.checkpoint_hash == first.checkpoint_hash
    other = code(studio.create(path, 2, 0.5)[1])
    expected = 0.75 * code(first) + 0.25 * other
    expected[40 + list(APPEARANCE).index("beard")] = 2.0
    np.testing.assert_allclose(code(once), expected, atol=1e-6)
    assert studio.change(loaded, first, {}).provenance == first.provenance


def test_another_face_is_another_picture(system, somebody):
    """Sliders reach the network: a picture of a person with other looks differs, one with the same does not."""
    camera: Camera = system.creation_camera()
    own = system.pose(somebody).render(camera).image
    same = people.changed(somebody, {"beard": people.read(somebody)["beard"]})
    other = people.changed(somebody, {"skin_tone": 3.0, "shape_01": 3.0})
    torch.testing.assert_close(system.pose(same).render(camera).image, own)
    assert not torch.allclose(system.pose(other).render(camera).image, own, atol=1e-3)
