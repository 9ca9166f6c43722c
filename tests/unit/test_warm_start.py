# SPDX-License-Identifier: Apache-2.0
"""What warm starts compare besides colours: locks of hair, and which material is where."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from neural_core.human.palette import MATERIALS
from training.draws import Draws
from training.losses.reconstruction import texture_distance, texture_filters
from training.recipe import Step
from training.recipes.warm_start import LossConfig, RayComparison, RayConfig

SIDE, SPACING = 12, 4


def comparison(**loss) -> RayComparison:
    patches = SimpleNamespace(side=SIDE)
    return RayComparison(None, patches, RayConfig(), LossConfig(**loss), torch.zeros(1, 3), torch.device("cpu"))


def batch_of(hair: torch.Tensor) -> SimpleNamespace:
    """Two views of one patch of stripes; `hair` [s, s] says where they are hair."""
    torch.manual_seed(0)
    picture = torch.rand(2, 4, SIDE * SPACING, SIDE * SPACING)
    materials = torch.zeros(2, SIDE * SIDE, 3)
    materials[..., 1] = hair.flatten()
    return SimpleNamespace(picture=picture, materials=materials)


def step(progress: float) -> Step:
    return Step(3, 6, progress, Draws(0, "compare", [6, 7]))


def as_rays(picture: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(picture, SPACING).flatten(2).movedim(1, 2)


def test_locks_are_compared_in_rays_and_in_the_shrunk_picture():
    batch = batch_of(torch.ones(SIDE, SIDE))
    truth = batch.picture[:, :3]
    drawn = truth.roll(5, dims=3) * 0.3
    ours = comparison(texture=2.0, texture_from=0.5)
    found = ours._texture_losses(as_rays(0.5 * truth), drawn, batch, step(0.5))["texture"]
    filters = texture_filters(16, 3, 5, step(0.5).draws.generator)
    expected = []
    for image, pool in ((0.5 * truth, 4), (drawn, 4), (drawn, 2)):
        shrunk, wanted = F.avg_pool2d(image, pool), F.avg_pool2d(truth, pool)
        expected.append(texture_distance(shrunk, wanted, filters, torch.ones_like(shrunk[:, :1])))
    torch.testing.assert_close(found, 2 * sum(expected) / 3)
    assert ours._texture_losses(as_rays(truth), drawn, batch, step(0.49)) == {}
    small = F.avg_pool2d(truth, SPACING)  # without a super-resolution rays are the picture
    alone = ours._texture_losses(as_rays(0.5 * truth), 0.5 * small, batch, step(0.5))["texture"]
    torch.testing.assert_close(alone, 2 * expected[0])


def test_skin_may_be_as_smooth_as_it_likes():
    hair = torch.zeros(SIDE, SIDE)
    hair[:, SIDE // 2 :] = 1
    batch = batch_of(hair)
    truth = batch.picture[:, :3]
    smooth = truth.clone()
    smooth[..., : SIDE * SPACING // 2] = 0.5
    ours = comparison(texture=1.0, texture_from=0.0)
    assert ours._texture_losses(as_rays(smooth), smooth, batch, step(0.9))["texture"] < 1e-7
    assert ours._texture_losses(as_rays(1 - smooth.flip(3)), smooth.flip(3), batch, step(0.9))["texture"] > 1e-3


@pytest.mark.parametrize("material", MATERIALS)
def test_every_material_belongs_to_a_region(material):
    shares = torch.zeros(1, 4, 3 + len(MATERIALS))
    shares[..., 3 + MATERIALS.index(material)] = 1
    region = {"hair": 1, "clothes": 2}.get(material, 0)
    ours, module = comparison(materials=0.3), SimpleNamespace(traits=object())
    for seen in range(3):
        batch = SimpleNamespace(materials=torch.eye(3)[seen].expand(1, 4, 3))
        loss = ours._material_losses(module, SimpleNamespace(colour=shares), batch)["materials"]
        assert float(loss) == pytest.approx(0.0 if seen == region else 0.3 * 2 / 3)
    assert ours._material_losses(SimpleNamespace(traits=None), SimpleNamespace(colour=shares), batch) == {}
