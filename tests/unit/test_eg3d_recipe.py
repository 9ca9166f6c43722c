# SPDX-License-Identifier: Apache-2.0
"""The adversarial recipe around its losses: what networks are shown and told, and augmentation."""

import dataclasses
import json

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from neural_core.systems.plane_config import SuperResolutionConfig
from tests.still_recipe import SETTINGS, Faces, batch_of, config_of, recipe_of, step_of, watch, with_code
from tests.tiny_models import tiny_config
from training.augment import AugmentConfig
from training.blur import blurred
from training.discriminators import Discriminator
from training.draws import Draws
from training.recipe import Phase
from training.recipes.adversarial_config import check
from training.recipes.eg3d_config import new_generator

# What is shown to the discriminator, and told to the generator.


def test_phases_and_rates():
    recipe = recipe_of(config_of())
    assert recipe.phases() == [
        Phase("G_main", "G"), Phase("G_density", "G", 4), Phase("D_main", "D"), Phase("D_r1", "D", 16)
    ]  # fmt: skip
    assert [phase.name for phase in recipe_of(config_of(loss={"density": 0.0})).phases()] == [
        "G_main",
        "D_main",
        "D_r1",
    ]
    assert [p.name for p in recipe_of(config_of(loss={"r1_gamma": 0.0})).phases()] == ["G_main", "G_density", "D_main"]
    optimisers = recipe.optimisers()
    for name, network, rate in (("G", recipe.generator, 0.0025), ("D", recipe.discriminator, 0.002)):
        (group,) = optimisers[name].groups
        assert (optimisers[name].betas, optimisers[name].eps, group.lr) == ((0.0, 0.99), 1e-8, rate)
        assert {id(p) for p in group.parameters} == {id(p) for p in network.parameters()}


@pytest.mark.parametrize(("images", "probability"), [(0, 1.0), (500, 0.625), (1000, 0.25), (9000, 0.25)])
def test_the_mapping_is_told_swapped_cameras_and_the_discriminator_the_true_ones(images, probability):
    recipe, told, judged = recipe_of(config_of()), [], []
    watch(recipe.generator.mapping_network, told)
    watch(recipe.discriminator, judged)
    recipe.losses("G_main", batch_of(), step_of(images, "G_main"))
    draws = Draws(3, "G_main", range(images, images + 4))
    cameras = Faces.labels[draws.integers(7)]
    z, swaps = draws.normal(5), draws.uniform(1) < probability
    ((found_z, found),) = told
    assert found_z.equal(z)
    assert found.equal(torch.where(swaps, cameras[[3, 0, 1, 2]], cameras))
    assert judged[0][2].equal(cameras)


def test_a_generator_without_pose_conditioning_is_told_nothing():
    """With a label of 0 numbers, with a label that is scaled away, and with a face code."""
    for model in ({"mapping": {"label_dim": 0}}, {"mapping": {"label_scale": 0.0}}):
        recipe = recipe_of(config_of(model={**json.loads(SETTINGS)["model"], **model}))
        told = []
        watch(recipe.generator.mapping_network, told)
        recipe.losses("G_main", batch_of(), step_of(0, "G_main"))
        ((_, found),) = told
        assert found is None or not found.any()
        assert "swap" not in recipe.after_step(step_of(0), {})


def test_real_pictures_are_seen_whole_and_shrunk():
    recipe, judged = recipe_of(config_of(blur={"sigma": 2.0, "fade_kimg": 1.0})), []
    watch(recipe.discriminator, judged)
    recipe.losses("D_main", batch_of(), step_of(500))
    _, (image, raw, label) = judged  # generated ones come first
    picture = batch_of()["picture"] / 127.5 - 1
    assert_close(image, blurred(picture, 1.0))
    # 128 pixels onto 16: bilinear with antialiasing is a tent over 8 pixels to either side; in the middle by hand
    tent = 1 - (torch.arange(16) - 7.5).abs() / 8
    shrunk = torch.einsum("bcyx,y,x->bc", picture[:, :, 52:68, 52:68], tent, tent) / tent.sum() ** 2
    sharp = F.interpolate(picture, (16, 16), mode="bilinear", antialias=True)
    assert_close(sharp[:, :, 7, 7], shrunk)
    assert_close(raw, blurred(sharp, 1.0))
    assert label.equal(batch_of()["label"])


@pytest.mark.parametrize(("white", "behind"), [(False, -1.0), (True, 1.0)])
def test_transparent_pictures_lie_over_what_the_model_renders(white, behind):
    model = json.loads(SETTINGS)["model"]
    recipe = recipe_of(config_of(model={**model, "render": {**model["render"], "white_back": white}}))
    judged, batch = [], batch_of(channels=4)
    watch(recipe.discriminator, judged)
    recipe.losses("D_main", batch, step_of(0))
    alpha = batch["picture"][:, 3:].double() / 255
    expected = alpha * (batch["picture"][:, :3].double() / 127.5 - 1) + (1 - alpha) * behind
    assert_close(judged[1][0], expected.float())
    # and what is generated beyond the planes' cube is just that
    assert_close(judged[0][1][:, :, 0, 0].mean(), torch.tensor(behind), atol=0.2, rtol=0)


def test_generated_raw_pictures_are_not_blurred():
    recipes = [recipe_of(config_of(blur={"sigma": sigma})) for sigma in (0.0, 3.0)]
    seen = []
    for recipe in recipes:
        watch(recipe.discriminator, seen)
        recipe.losses("D_main", batch_of(), step_of(0))
    (sharp, raw, _), _, (soft, same_raw, _), _ = seen
    assert raw.equal(same_raw)
    assert_close(soft, blurred(sharp, 3.0))


def test_r1_of_two_pictures_penalises_both():
    recipe = recipe_of(config_of())
    image = (batch_of()["picture"] / 127.5 - 1).requires_grad_()
    raw = F.interpolate(image.detach(), (16, 16), mode="bilinear", antialias=True).requires_grad_()
    recipe.discriminator(image, raw, batch_of()["label"]).sum().backward()
    squares = [picture.grad.square().sum() / 4 for picture in (image, raw)]
    assert squares[1] > 0.01 * squares[0]
    assert_close(recipe.losses("D_r1", batch_of(), step_of(0, "D_r1"))["r1"], sum(squares) / 2, rtol=1e-4, atol=0)


def test_the_mean_w_follows_the_codes_of_the_discriminator_step_alone():
    recipe = recipe_of(config_of())
    network = recipe.generator.mapping_network
    network.w_mean.fill_(2.0)
    for phase in ("G_main", "G_density", "D_r1"):
        recipe.losses(phase, batch_of(), step_of(0, phase))
    assert (network.w_mean == 2).all()
    made = []
    network.register_forward_hook(lambda module, arguments, result: made.append(result.detach()))
    recipe.losses("D_main", batch_of(), step_of(0))
    assert_close(network.w_mean, 0.998 * torch.full((8,), 2.0) + 0.002 * made[0].mean(0))


def test_a_model_without_super_resolution_is_judged_by_one_picture():
    recipe = recipe_of(with_code())
    assert isinstance(recipe.discriminator, Discriminator)
    for phase in ("G_main", "G_density", "D_main", "D_r1"):
        (loss,) = recipe.losses(phase, batch_of(32), step_of(0, phase)).values()
        loss.backward()
    for name, network in recipe.networks().items():
        assert sum(bool(p.grad is not None and p.grad.any()) for p in network.parameters()) > 5, name


def test_density_is_asked_inside_the_cube_that_is_configured():
    recipe = recipe_of(config_of(loss={"density_extent": 0.3, "density_points": 50, "density_step": 1e-6}))
    asked, field = [], recipe.generator.field

    def noted(person):
        ask = field(person)
        return lambda points, directions: (asked.append(points), ask(points, directions))[1]

    recipe.generator.field = noted
    recipe.losses("G_density", None, step_of(0, "G_density"))
    (points,) = asked
    assert points.shape == (4, 100, 3)
    assert 0.28 < points.abs().max() < 0.3 + 1e-4


def test_half_precision_is_for_the_discriminator_alone():
    """Under the trainer's autocast, pictures and densities are bit for bit those of 32 bits."""
    recipe, seen = recipe_of(config_of()), []
    watch(recipe.discriminator, seen)

    def losses(half: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = [recipe.losses(phase.name, batch_of(), step_of(0, phase.name)) for phase in recipe.phases()]
        return [loss for terms in found for loss in terms.values()]

    exact, rounded = losses(False), losses(True)
    shown, again = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(a.equal(b) for one, other in zip(shown, again, strict=True) for a, b in zip(one, other, strict=True))
    density, discriminator = 1, 2
    assert rounded[density] == exact[density]
    # bfloat16 has 8 bits: the discriminator did use it
    assert 0 < (rounded[discriminator] - exact[discriminator]).abs() < 0.02
    for loss, network in zip(rounded, "GGDD", strict=True):
        assert loss.dtype == torch.float32
        loss.backward()
        gradients = [p.grad for p in recipe.networks()[network].parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_micro_batch_of_one_is_enough_where_nothing_is_compared():
    options = {"discriminator": {"group": 1}, "run": {"micro_batch": 1}}
    alone, swapping = config_of(**options, pose={"swap": 0.0, "fade_kimg": 0.0}), config_of(**options)
    check(alone, alone.model)
    assert recipe_of(alone).together() == 1
    assert recipe_of(swapping).together() == 2
    assert recipe_of(config_of()).together() == 4


def test_pictures_are_limited_where_nobody_learns_from_them():
    """A clamped colour has no gradient, so the discriminator sees what lies beyond -1..1, too."""
    model = dataclasses.replace(tiny_config(), superresolution=SuperResolutionConfig(kind="subpixel", channels=(4, 4)))
    generator = new_generator(model)
    with torch.no_grad():
        generator.superresolution.layers[-2].bias.fill_(3.0)  # added to every pixel
        person = generator.person(torch.randn(1, 64))
        free = generator.train().render(person, model.frontal_camera(), 16)
        limited = generator.eval().render(person, model.frontal_camera(), 16)
    assert free.image.max() > 1
    assert_close(limited.image, free.image.clamp(-1, 1))
    assert_close(limited.opacity, free.opacity.clamp(0, 1))


# Augmentation.


def test_augmentation_moves_both_pictures_alike_and_its_probability_adapts():
    config = config_of(augment={"mode": "adaptive", "kimg": 0.016, "every": 2, "groups": ["blit"]})
    recipe, seen = recipe_of(config), []
    watch(recipe.discriminator, seen)
    blots = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(5)) * 255
    batch = {**batch_of(), "picture": F.interpolate(blots, (128, 128), mode="bicubic").clamp(0, 255).byte()}
    before = recipe.losses("D_main", batch, step_of(0))["discriminator"]
    for _ in range(8):  # 8 of 16 pictures between two adjustments: p rises by a half each, up to 1
        found = recipe.after_step(step_of(0), {"sign_real": 1.0})["augment"]
    assert found == recipe.adaptive.value == 1
    after = recipe.losses("D_main", batch, step_of(0))["discriminator"]
    assert after != before
    _, (plain, *_), _, (image, raw, _) = seen
    assert not torch.allclose(image, plain, atol=0.1)

    def likeness(a: torch.Tensor, b: torch.Tensor) -> float:
        a, b = (x[:, :, 32:96, 32:96] - x[:, :, 32:96, 32:96].mean() for x in (a, b))
        return ((a * b).sum() / (a.norm() * b.norm())).item()

    assert likeness(raw, image) > 0.95  # it is the shrunk picture, moved in the same way
    assert likeness(raw, plain) < 0.5

    other = recipe_of(config)
    other.load_state(json.loads(json.dumps(recipe.state())))
    assert (other.adaptive.value, other.images) == (1, recipe.images)
    assert other.losses("D_main", batch, step_of(0))["discriminator"] == after


def test_a_fixed_probability_stays():
    recipe = recipe_of(config_of(augment={"mode": "fixed", "probability": 1.0, "groups": ["blit"]}))
    plain = recipe_of(config_of())
    assert "augment" not in recipe.after_step(step_of(0), {"sign_real": 1.0})
    losses = [r.losses("D_r1", batch_of(), step_of(0, "D_r1"))["r1"] for r in (recipe, plain)]
    assert losses[0] != losses[1]
    assert AugmentConfig().mode == "none"
