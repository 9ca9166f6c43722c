# SPDX-License-Identifier: Apache-2.0
"""SSIM, PSNR and L1 against scikit-image and numbers that can be worked out by hand."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from training.metrics.pictures import l1, psnr, ssim


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Three pictures [3, 3, 40, 33] of smooth waves, and the same with noise, with less contrast, and blurred."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :33]
    waves = [0.5 + 0.4 * np.sin(rows / a + phase) * np.cos(columns / b) for a, b, phase in rng.uniform(1, 6, (9, 3))]
    truth = np.stack(waves).reshape(3, 3, 40, 33)
    other = truth.copy()
    other[0] = np.clip(other[0] + rng.normal(0, 0.1, other[0].shape), 0, 1)
    other[1] = 0.3 + 0.4 * other[1]
    other[2] = (other[2] + np.roll(other[2], 2, -1)) / 2
    return other, truth


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_ssim_is_scikit_images(pairs, dtype, tolerance):
    expected = [
        structural_similarity(
            picture, truth, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for picture, truth in zip(*pairs, strict=True)
    ]
    found = ssim(*(torch.from_numpy(part).to(dtype) for part in pairs))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance)
    assert np.ptp(expected) > 0.1  # the three kinds of damage are told apart


def test_ssim_of_even_pictures_is_the_luminance_term_alone():
    white, grey = torch.ones(1, 3, 12, 12), torch.full((1, 3, 12, 12), 0.5)
    assert ssim(white, grey).item() == pytest.approx((2 * 0.5 + 1e-4) / (1 + 0.25 + 1e-4), abs=1e-4)
    assert ssim(grey, grey).item() == pytest.approx(1)


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(torch.zeros(1, 3, 10, 64), torch.zeros(1, 3, 10, 64))


def test_psnr_is_scikit_images(pairs):
    expected = [peak_signal_noise_ratio(truth, picture, data_range=1) for picture, truth in zip(*pairs, strict=True)]
    found = psnr(*(torch.from_numpy(part) for part in pairs))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_l1_is_the_mean_absolute_difference_of_each_picture():
    truth = torch.zeros(2, 3, 2, 2)
    picture = truth.clone()
    picture[0, 0] = -0.3  # a third of the values
    picture[1, :, 0, 0] = 0.8  # a quarter
    torch.testing.assert_close(l1(picture, truth), torch.tensor([0.1, 0.2]))
