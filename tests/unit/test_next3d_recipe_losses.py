# SPDX-License-Identifier: Apache-2.0
"""The losses of the adversarial recipe for people who move, and that every part learns from them."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from neural_core.human.posing import FacePoser
from tests.moving_recipe import FACE, Instants, batch_of, config_of, drawn, ours, published, recipe_of, step_of
from training.recipe import Phase
from training.recipes.adversarial_config import LossConfig

PHASES = ("G_main", "G_density", "D_main", "D_r1")


def test_phases():
    assert recipe_of(config_of()).phases() == [
        Phase("G_main", "G"), Phase("G_density", "G", 4), Phase("D_main", "D"), Phase("D_r1", "D", 16)
    ]  # fmt: skip


def test_losses_of_logits_by_hand():
    recipe, logits = recipe_of(config_of()), []
    recipe.discriminator.register_forward_hook(lambda module, arguments, result: logits.append(result.double()))
    found = recipe.losses("G_main", batch_of(), step_of("G_main"))["generator"]
    assert_close(found.double(), (1 + (-logits[0]).exp()).log().mean())
    found = recipe.losses("D_main", batch_of(), step_of("D_main"))["discriminator"]
    _, fake, real = logits
    assert_close(found.double(), ((1 + fake.exp()).log() + (1 + (-real).exp()).log()).mean())
    figures = recipe.figures()
    assert figures["logit_real"] == pytest.approx(real.mean().item())
    assert figures["sign_generated"] == pytest.approx(fake.sign().mean().item())


def test_r1_by_finite_differences():
    """Over every pixel of the pictures and of the driving meshes beside them."""
    recipe = recipe_of(config_of(group=1, loss=LossConfig(r1_gamma=3.0)))
    batch = batch_of(driver_size=6)
    found = recipe.losses("D_r1", batch, step_of("D_r1"))["r1"]
    network, label = recipe.discriminator.double(), batch["label"].double()
    picture, mesh = (batch[name].double() / 127.5 - 1 for name in ("picture", "driver"))
    total, h = 0.0, 1e-5
    with torch.no_grad():
        for sample in range(4):
            parts = [picture[sample], mesh[sample]]
            for which, part in enumerate(parts):
                nudges = h * torch.eye(part.numel(), dtype=torch.float64).reshape(-1, *part.shape)
                slopes = []
                for sign in (1, -1):
                    moved = [p.expand(len(nudges), -1, -1, -1) for p in parts]
                    moved[which] = part + sign * nudges
                    enlarged = F.interpolate(moved[1], (8, 8), mode="bilinear", antialias=True)
                    told = label[sample].expand(len(nudges), -1)
                    slopes.append(sign * network(torch.cat([moved[0], enlarged], 1), told))
                total += ((slopes[0] + slopes[1]) / (2 * h)).square().sum().item()
    assert found.item() == pytest.approx(3 / 2 * total / 4, rel=1e-4)


def test_density_by_hand():
    recipe = recipe_of(
        config_of(loss=LossConfig(density=0.7, density_points=30, density_extent=0.4, density_step=0.01))
    )
    found = recipe.losses("G_density", None, step_of("G_density"))["density"]
    index, z, draws = drawn("G_density", 64)
    points = 0.4 * (2 * draws.uniform(30, 3) - 1)
    beside = points + 0.01 * draws.normal(30, 3)
    generator = recipe.generator
    mesh = FacePoser(FACE)(Instants.actions[index], Instants.joints[index])
    ask = generator.field(generator.instant(generator.person(z), mesh))
    one, other = (ask(where, torch.zeros_like(where))[0].double() for where in (points, beside))
    assert_close(found.double(), 0.7 * (one - other).abs().mean(), rtol=1e-4, atol=1e-7)
    assert found > 0


@pytest.mark.parametrize("model", [ours, published])
def test_every_part_learns(model):
    """In two steps: mouth module and blending of ours begin with adding nothing, so their first layers learn later."""
    recipe = recipe_of(config_of(model()))
    optimisers = {name: torch.optim.Adam(network.parameters(), 1e-2) for name, network in recipe.networks().items()}
    before = {name: value.clone() for name, value in recipe.generator.named_parameters()}
    for _ in range(2):
        for phase in PHASES:
            network = "G" if phase.startswith("G") else "D"
            optimisers[network].zero_grad()
            (loss,) = recipe.losses(phase, batch_of(recipe.model.image_size), step_of(phase)).values()
            assert torch.isfinite(loss)
            loss.backward()
            optimisers[network].step()
    moved = {name.split(".")[0] for name, value in recipe.generator.named_parameters() if not value.equal(before[name])}
    assert {"mouth", "blending", "decoder"} <= moved
    assert ({"static", "texture"} if model is published else {"synthesis", "texture_synthesis"}) <= moved
