# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe for people who move: what is asked for, shown and told; and what can be left out."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from neural_core.cameras import Camera
from neural_core.errors import UsageError
from neural_core.human.driver import driver
from neural_core.human.face_atlas import FaceAtlas
from neural_core.human.posing import FacePoser
from neural_core.rendering.sampling import RandomSampling
from tests.moving_recipe import (
    FACE,
    Instants,
    batch_of,
    config_of,
    drawn,
    ours,
    published,
    recipe_of,
    step_of,
    with_two_pictures,
)
from tests.still_recipe import watch
from training.draws import Draws
from training.recipe import Step
from training.recipes.next3d_config import face_of, new_generator, reduced

# What is asked for, and what is shown.


@pytest.mark.parametrize("model", [ours, with_two_pictures])
def test_people_do_what_an_instant_of_the_data_does(model):
    recipe, shown = recipe_of(config_of(model())), []
    watch(recipe.discriminator, shown)
    recipe.losses("G_main", batch_of(), step_of("G_main"))
    index, z, draws = drawn("G_main", 64)
    camera = Camera.from_label(Instants.labels[index])
    generator = recipe.generator
    mesh = FacePoser(FACE)(Instants.actions[index], Instants.joints[index])
    person = generator.instant(generator.person(z), mesh)
    expected = generator.render(person, camera, 8, RandomSampling(draws.generator))
    own = FacePoser(FACE)(Instants.actions[index], Instants.joints[index], z[:, :40])
    code = (driver(FACE, own, camera, 24) * 255).round() / 127.5 - 1
    if model is ours:
        ((pictures, label),) = shown
        assert_close(pictures[:, :3], expected.image)
        assert_close(pictures[:, 3:], F.interpolate(code, (8, 8), mode="bilinear", antialias=True))
    else:
        ((image, raw, label, mesh_picture),) = shown
        assert image.shape[-1] == 32
        assert_close(image, expected.image)
        assert_close(raw, expected.image_raw)
        assert mesh_picture.equal(code)
    assert label.equal(Instants.labels[index])


def test_real_pictures_come_with_their_own_drivers():
    recipe, shown = recipe_of(config_of(with_two_pictures())), []
    watch(recipe.discriminator, shown)
    batch = batch_of(32)
    recipe.losses("D_main", batch, step_of("D_main"))
    _, (image, raw, label, mesh_picture) = shown  # generated ones come first
    assert_close(image, batch["picture"].double().div(127.5).sub(1).float())
    assert_close(raw, F.interpolate(image, (8, 8), mode="bilinear", antialias=True))
    assert_close(mesh_picture, batch["driver"].double().div(127.5).sub(1).float())
    assert label.equal(batch["label"])


def test_generated_drivers_are_what_records_would_have():
    """Were a generated person real, both would look the same: equal numbers for equal meshes."""
    recipe = recipe_of(config_of())
    z, wish = torch.randn(1, 64), dataclasses.replace(recipe.wish(step_of("D_main")))
    one = dataclasses.replace(wish, **{name: getattr(wish, name)[:1] for name in ("labels", "actions", "joints")})
    vertices = FacePoser(FACE)(one.actions, one.joints, z[:, :40])
    kept = (driver(FACE, vertices, Camera.from_label(one.labels), 24) * 255).round().to(torch.uint8)
    found = recipe.drawn_driver(z, one)
    assert found.equal(recipe.driver_of({"driver": kept}))
    assert found.std() > 0.3


def test_a_picture_beside_another_mesh_is_judged_otherwise():
    recipe, generator = recipe_of(config_of()), torch.Generator().manual_seed(0)
    picture, mesh, other = torch.rand(3, 4, 3, 8, 8, generator=generator)
    logits = [recipe.discriminator(torch.cat([picture, beside], 1), Instants.labels[:4]) for beside in (mesh, other)]
    assert (logits[0] - logits[1]).abs().min() > 1e-4


@pytest.mark.parametrize(("expression", "numbers", "apart"), [("none", 25, 0), ("together", 77, 0), ("apart", 25, 52)])
def test_what_the_discriminator_is_told(expression, numbers, apart):
    recipe, shown = recipe_of(config_of(expression=expression)), []
    network = recipe.discriminator
    assert network.mapping_network.embed.weight.shape[1] == numbers
    assert (network.expression_network is None) == (apart == 0)
    watch(network, shown)
    recipe.losses("D_main", batch_of(), step_of("D_main"))
    index, _, _ = drawn("D_main", 64)
    for (_, label), rows in zip(shown, (index, slice(4)), strict=True):
        told = [Instants.labels[rows], Instants.actions[rows]]
        assert label.equal(torch.cat(told[: 1 if expression == "none" else 2], 1))


def test_noise_on_what_it_is_told_is_in_proportion_to_the_data():
    quiet, noisy = (
        recipe_of(config_of(expression="together")),
        recipe_of(config_of(expression="together", label_noise=2.0)),
    )
    wish, found = quiet.asked(batch_of()), []
    for images in range(100):
        step = Step(0, images, 0.0, Draws(3, "D_main", range(4 * images, 4 * images + 4)))
        assert quiet.label(wish, step).equal(torch.cat([wish.labels, wish.actions], 1))
        found.append(noisy.label(wish, step) - quiet.label(wish, step))
    spread = torch.cat([Instants.labels, Instants.actions], 1).double().std(0, correction=0)
    noise = torch.cat(found)
    assert_close(noise.std(0).double(), 2 * spread, rtol=0.15, atol=1e-6)
    assert noise.mean(0).abs().max() < 0.3
    batch_label_before = Instants.labels[:4].clone()
    noisy.losses("D_main", batch_of(), step_of("D_main"))
    assert Instants.labels[:4].equal(batch_label_before)  # the published code adds to the caller's labels


# The paper's network.


def test_the_papers_network_is_posed_with_the_persons_shape():
    recipe, shown, placed = recipe_of(config_of(published())), [], []
    watch(recipe.discriminator, shown)
    instant = recipe.generator.instant
    recipe.generator.instant = lambda *arguments: (placed.append(arguments), instant(*arguments))[1]
    recipe.losses("G_main", batch_of(), step_of("G_main"))
    index, _, _ = drawn("G_main", 5)
    mesh = FacePoser(FACE)(Instants.actions[index], Instants.joints[index], Instants.shapes[index])
    ((_, vertices, landmarks, _),) = placed
    assert_close(vertices, mesh)
    for found, posed in zip(landmarks, mesh, strict=True):
        assert_close(found, torch.from_numpy(FACE.landmarks(posed.numpy(), "68")))
    code = driver(FACE, mesh, Camera.from_label(Instants.labels[index]), 24) * 2 - 1
    code = F.interpolate(code, (8, 8), mode="bilinear", antialias=True)
    assert_close(shown[0][0][:, 3:], code, atol=1 / 255 + 1e-6, rtol=0)


def test_its_mean_w_follows_the_codes_of_the_discriminator_step_alone():
    recipe = recipe_of(config_of(published()))
    network = recipe.generator.mapping_network
    network.w_mean.fill_(2.0)
    for phase in ("G_main", "G_density", "D_r1"):
        recipe.losses(phase, batch_of(), step_of(phase))
    assert (network.w_mean == 2).all()
    recipe.losses("D_main", batch_of(), step_of("D_main"))
    assert (network.w_mean != 2).any()


def test_its_mesh_is_the_heads_moving_part():
    topology = new_generator(published(), FACE).topology
    atlas = FaceAtlas.of(FACE)
    assert topology.faces.equal(atlas.faces)
    assert topology.corner_uv.equal(atlas.corner_uv)
    assert (topology.mask == 1).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"face": "flame"}, 'how "anny-head" moves, but the model is driven by "flame"'),
        ({"triangles": 9976}, "has 5356 triangles, not 9976"),
        ({"resolution": 32}, "cannot be built"),
    ],
)
def test_meshes_that_do_not_fit_are_a_sentence(changes, words):
    base = published()
    unets = {} if "resolution" not in changes else {"mouth": None, "blending": None}
    model = dataclasses.replace(base, mesh=dataclasses.replace(base.mesh, **changes), **unets)
    with pytest.raises(UsageError, match=words) as caught:
        new_generator(model, face_of(model))
    assert caught.value.hint


# Switches: the rows of table 2.


def test_parts_can_be_left_out():
    whole = config_of(with_two_pictures())
    for part, gone in {"static_planes": "synthesis", "mouth": "mouth", "synthetic_rendering": ""}.items():
        config = reduced(dataclasses.replace(whole, without=(part,)))
        assert config.without == ()
        assert config.model.static_planes == (part != "static_planes")
        assert (config.model.mouth is None) == (config.model.blending is None) == (part == "mouth")
        recipe, shown = recipe_of(config), []
        channels = recipe.discriminator.network.from_rgb.weight.shape[1]
        assert channels == (6 if part == "synthetic_rendering" else 9)
        watch(recipe.discriminator, shown)
        recipe.losses("G_main", batch_of(), step_of("G_main"))["generator"].backward()
        assert len(shown[0]) == (3 if part == "synthetic_rendering" else 4)
        penalty = recipe.losses("D_r1", batch_of(32), step_of("D_r1"))["r1"]
        assert penalty > 0
        learning = {name.split(".")[0] for name, p in recipe.generator.named_parameters() if p.grad is not None}
        assert not gone or gone not in learning
        assert "texture_synthesis" in learning
    assert reduced(dataclasses.replace(whole, without=("mouth", "static_planes"))).model.mouth is None
    assert reduced(whole) == whole
