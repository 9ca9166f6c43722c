# SPDX-License-Identifier: Apache-2.0
"""Weights, samples and filters, for any densities and sizes."""

from itertools import pairwise

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from neural_core.ops.upfirdn2d import BINOMIAL, downsample2d, make_filter, upfirdn2d, upsample2d
from neural_core.rendering.compositing import alpha_weights, composite, composite_midpoints
from neural_core.rendering.sampling import RandomSampling, importance, stratified

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

seeds = st.integers(0, 2**31)


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@patient
@given(seeds, st.integers(1, 30), st.floats(0.01, 1000))
def test_weights_share_out_what_is_covered(seed, count, scale):
    alpha = 1 - torch.exp(-random(seed, 4, count).abs() * scale)
    weights = alpha_weights(alpha)
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), 1 - (1 - alpha).prod(-1), atol=1e-7, rtol=0)


@patient
@given(seeds, st.integers(2, 20), st.integers(1, 4))
def test_splitting_an_interval_changes_nothing(seed, count, parts):
    density, colour = random(seed, count).abs(), random(seed + 1, count, 3)
    edges = torch.cat([torch.zeros(1), random(seed + 2, count).abs().cumsum(0)]).double()
    fine = torch.cat([a + (b - a) * torch.arange(parts) / parts for a, b in pairwise(edges)])
    fine = torch.cat([fine, edges[-1:]])
    whole = composite(density, colour, edges)
    split = composite(density.repeat_interleave(parts), colour.repeat_interleave(parts, 0), fine)
    assert_close(split.colour, whole.colour, atol=1e-7, rtol=0)
    assert_close(split.opacity, whole.opacity, atol=1e-7, rtol=0)


@patient
@given(seeds, st.integers(2, 20))
def test_colour_and_depth_lie_within_the_samples(seed, count):
    distances = random(seed, 3, count).abs().cumsum(-1)
    colour = random(seed + 1, 3, count, 2)
    found = composite_midpoints(random(seed + 2, 3, count) * 5, colour, distances)
    assert ((found.opacity >= 0) & (found.opacity <= 1 + 1e-6)).all()
    seen = found.opacity > 0
    assert (found.depth[seen] >= distances[:, 0][seen] - 1e-9).all()
    assert (found.depth[seen] <= distances[:, -1][seen] + 1e-9).all()
    assert (found.colour.abs() <= colour.abs().amax(1) + 1e-9).all()


@patient
@given(seeds, st.integers(4, 30), st.integers(1, 30), st.booleans())
def test_samples_lie_in_their_places(seed, coarse, fine, in_disparity):
    sampling = RandomSampling(torch.Generator().manual_seed(seed))
    near, far = torch.full((1, 3), 1.5), torch.full((1, 3), 3.0)
    distances = stratified(near, far, coarse, sampling, in_disparity=in_disparity)
    assert (distances.diff() >= 0).all()
    assert (distances >= 1.5 - 1e-6).all()
    weights = random(seed, 1, 3, coarse - 1).abs().float()
    more = importance(distances, weights, fine, sampling)
    assert (more >= distances[..., :1]).all()
    assert (more <= distances[..., -1:]).all()


@patient
@given(seeds, st.integers(2, 9), st.integers(2, 9))
def test_downsampling_is_the_transpose_of_upsampling(seed, height, width):
    """<up(x), y> = 4 <x, down(y)>: the symmetric filter is its own mirror image."""
    kernel = make_filter(BINOMIAL).double()
    x, y = random(seed, 1, 2, height, width), random(seed + 1, 1, 2, 2 * height, 2 * width)
    left = (upsample2d(x, kernel) * y).sum()
    right = 4 * (x * downsample2d(y, kernel)).sum()
    assert_close(left, right)


@patient
@given(seeds, st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_upfirdn2d_is_linear(seed, up, down, padding):
    kernel = random(seed, 2, 3)
    x, y = random(seed + 1, 1, 1, 6, 7), random(seed + 2, 1, 1, 6, 7)

    def resample(value):
        return upfirdn2d(value, kernel, up=up, down=down, padding=padding)

    assert_close(resample(2 * x - 3 * y), 2 * resample(x) - 3 * resample(y))
