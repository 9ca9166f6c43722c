# SPDX-License-Identifier: Apache-2.0
"""The sliced Wasserstein distance against the same definition written out in numpy and scipy, and against theory."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from scipy.stats import wasserstein_distance

from neural_core.errors import InputError
from training.metrics.sliced_wasserstein import (
    draw_corners,
    draw_directions,
    laplacian_pyramid,
    sliced_distance,
    sliced_wasserstein,
)


def textures(seed, count, size, roughness):
    """Pictures [count, 3, size, size] of noise whose spectrum falls with a power of the frequency, float64."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]) + 1 / size
    noise = np.fft.fft2(rng.normal(size=(count, 3, size, size))) / frequency**roughness
    waves = np.fft.ifft2(noise).real
    return torch.from_numpy(0.5 + 0.2 * waves / waves.std())


KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def levels_by_hand(picture):
    """Laplacian pyramid of one channel, from the finest level to 16 x 16."""
    levels = []
    while len(picture) > 16:
        small = convolve(picture, KERNEL, mode="mirror")[::2, ::2]
        spread = np.kron(small, [[4, 0], [0, 0]])
        levels.append(picture - convolve(spread, KERNEL, mode="mirror"))
        picture = small
    return [*levels, picture]


def by_hand(first, second, seed):
    """The whole distance for small sets; random numbers alone are the project's."""
    generator = torch.Generator().manual_seed(seed)
    clouds = {}
    for name, pictures in (("first", first), ("second", second)):
        clouds[name] = [[levels_by_hand(channel) for channel in picture] for picture in pictures.numpy()]
    found = {}
    for level in range(len(clouds["first"][0][0])):
        size = len(clouds["first"][0][0][level])
        corners = draw_corners(len(first), size, generator).numpy()
        axes = draw_directions(147, generator).double().numpy()
        rows = []
        for name in ("first", "second"):
            cut = [
                [clouds[name][i][c][level][y : y + 7, x : x + 7] for c in range(3)]
                for i in range(len(first))
                for y, x in corners[i]
            ]
            cut = np.array(cut)
            for channel in range(3):
                cut[:, channel] = (cut[:, channel] - cut[:, channel].mean()) / cut[:, channel].std()
            rows.append(cut.reshape(len(cut), 147) @ axes)
        found[size] = 1e3 * np.mean([wasserstein_distance(*line) for line in zip(rows[0].T, rows[1].T, strict=True)])
    return found


def test_distance_is_the_definition_written_out():
    first, second = textures(0, 3, 64, 1.0), textures(1, 3, 64, 1.6)
    expected = by_hand(first, second, seed=5)
    found = sliced_wasserstein(first, second, seed=5)
    assert list(found) == [64, 32, 16]
    assert found == pytest.approx(expected, rel=1e-9)
    assert sliced_wasserstein(first.float(), second.float(), seed=5) == pytest.approx(expected, rel=1e-4)


def test_a_set_is_at_no_distance_from_itself_nor_from_its_copy_in_other_light():
    pictures = textures(2, 2, 32, 1.2)
    assert sliced_wasserstein(pictures, pictures) == {32: 0, 16: 0}
    brighter = pictures * torch.tensor([0.5, 2.0, 1.0])[:, None, None] + 0.1
    assert sliced_wasserstein(pictures, brighter) == pytest.approx({32: 0, 16: 0}, abs=1e-9)


def test_stripes_show_at_their_own_scale_alone():
    truth, other = textures(3, 8, 64, 1.2).float(), textures(4, 8, 64, 1.2).float()
    usual = sliced_wasserstein(truth, other)
    stripes = 0.2 * (1 - 2 * (torch.arange(64) % 2))  # 1 4 6 4 1 sums to nothing over them
    changed = sliced_wasserstein(truth, other + stripes)
    assert changed[64] > 3 * usual[64]
    assert (changed[32], changed[16]) == pytest.approx((usual[32], usual[16]), rel=1e-3)


def test_the_pyramid_of_a_ramp_has_nothing_but_its_top():
    ramp = torch.arange(64, dtype=torch.float64).expand(1, 3, 64, 64)
    fine, middle, top = laplacian_pyramid(ramp)
    inside = slice(8, -8)
    assert fine[..., inside].abs().max() < 1e-12
    assert middle[..., inside].abs().max() < 1e-12
    torch.testing.assert_close(top[..., 4:-4], ramp[..., ::4, ::4][..., 4:-4])


def test_distance_of_a_shifted_normal_distribution_grows_as_theory_says():
    """W1 of N(0, 1) and N(m, 1) is |m|; over directions, |shift| times the mean |cosine| between two unit vectors."""
    generator = torch.Generator().manual_seed(0)
    dimension, count = 20, 2000
    a, b = (torch.randn(count, dimension, generator=generator, dtype=torch.float64) for _ in range(2))
    axes = draw_directions(dimension, generator)
    cosine = math.gamma(dimension / 2) / (math.sqrt(math.pi) * math.gamma((dimension + 1) / 2))
    for length in (2.0, 8.0):
        shift = torch.full((dimension,), length / math.sqrt(dimension), dtype=torch.float64)
        # Of 512 directions, the mean |cosine| is off by 3.3 % (one deviation); two samples differ by 0.03 or so.
        assert sliced_distance(a, b + shift, axes) == pytest.approx(length * cosine, rel=0.1)
        exact = (shift @ axes.double()).abs().mean().item()
        assert sliced_distance(a, a + shift, axes) == pytest.approx(exact, rel=1e-9)
    # Two samples of one distribution: close, and closer the larger they are.
    few, many = (sliced_distance(a[:n], b[:n], axes) for n in (60, 2000))
    assert 0 < many < few / 3


def test_distance_of_a_wider_normal_distribution_is_the_difference_of_mean_sizes():
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(5000, 5, generator=generator, dtype=torch.float64)
    # Monotone transport x -> 1.5 x moves by |x| / 2: E|x| / 2 = sqrt(2 / pi) / 2.
    expected = 0.5 * math.sqrt(2 / math.pi)
    assert sliced_distance(a, 1.5 * a, draw_directions(5, generator)) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((2, 3, 32, 32), (3, 3, 32, 32)),
        ((2, 3, 32, 32), (2, 3, 64, 64)),
        ((0, 3, 32, 32), (0, 3, 32, 32)),
        ((2, 3, 48, 48), (2, 3, 48, 48)),
        ((2, 3, 8, 8), (2, 3, 8, 8)),
        ((2, 3, 32, 64), (2, 3, 32, 64)),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(first, second):
    with pytest.raises(InputError, match="sliced Wasserstein"):
        sliced_wasserstein(torch.zeros(first), torch.zeros(second))


def test_even_pictures_are_at_distance_nought():
    assert sliced_wasserstein(torch.zeros(2, 3, 16, 16), torch.ones(2, 3, 16, 16)) == {16: 0}
