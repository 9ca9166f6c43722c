# SPDX-License-Identifier: Apache-2.0
"""How alike two pictures are, against arithmetic and scikit-image."""

import pytest
import torch

from neural_core.fitting import likeness


@pytest.fixture
def pictures():
    torch.manual_seed(0)
    return torch.rand(2, 3, 40, 40), torch.rand(2, 3, 40, 40)


def test_equal_pictures_are_not_unlike(pictures):
    picture = pictures[0].requires_grad_()
    loss = likeness.unlikeness(picture, picture.detach().clone(), torch.ones(2, 1, 40, 40))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert picture.grad.abs().max() < 1e-6


def test_a_difference_everywhere_counts_as_it_is():
    # No edges; every size has the same mean; SSIM of flat pictures is (2ab + c1) / (a^2 + b^2 + c1).
    a, b = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), 0.7)
    structure = (2 * 0.35 + 1e-4) / (0.25 + 0.49 + 1e-4)
    expected = 0.2 + likeness.STRUCTURE * (1 - structure)
    assert likeness.unlikeness(a, b, torch.ones(1, 1, 32, 32)).item() == pytest.approx(expected, abs=2e-3)


def test_what_does_not_matter_does_not_count(pictures):
    first, second = pictures
    weight = torch.zeros(2, 1, 40, 40)
    weight[..., :16] = 1
    other = second.clone()
    other[..., 24:] = 0  # further than SSIM's window and the coarsest pixels reach
    assert likeness.unlikeness(first, second, weight).item() == pytest.approx(
        likeness.unlikeness(first, other, weight).item(), abs=1e-6
    )


def test_edges_are_missed_where_a_picture_is_blurred():
    stripes = (torch.arange(64) // 2 % 2).float().expand(1, 1, 64, 64).clone()
    grey = torch.full_like(stripes, 0.5)
    faint = 0.5 + 0.5 * (stripes - 0.5)
    weight = torch.ones(1, 1, 64, 64)
    assert likeness.unlikeness(grey, stripes, weight) > 1.5 * likeness.unlikeness(faint, stripes, weight)


def test_structure_is_scikit_images(pictures):
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is in the extra dev")
    first, second = pictures
    second = 0.5 * first + 0.5 * second
    found = likeness.similarity(first, second)[0, 0].numpy()
    _, expected = metrics.structural_similarity(
        first[0, 0].numpy(), second[0, 0].numpy(), data_range=1.0, win_size=7, use_sample_covariance=False, full=True
    )
    assert abs(found - expected)[3:-3, 3:-3].max() < 1e-4


def test_psnr_is_of_the_weighted_pixels():
    found, wanted, weight = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    wanted[..., 0], wanted[..., 3] = 0.1, 0.9
    weight[..., :2] = 1
    assert likeness.psnr(found, wanted, weight) == pytest.approx(23.0103, abs=1e-3)  # half of 0.1^2: 20 + 3.01 dB
