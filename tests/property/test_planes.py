# SPDX-License-Identifier: Apache-2.0
"""Reading planes, for any planes and points."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from neural_core.planes import Triplane

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

pairs = st.permutations("xyz").map(lambda letters: "".join(letters[:2]))
axes = st.lists(pairs, min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**31)


def example(seed, axes, height, width, box):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, len(axes), 3, height, width, generator=generator, dtype=torch.float64)
    points = (torch.rand(2, 20, 3, generator=generator, dtype=torch.float64) - 0.5) * box * 1.4
    return Triplane(features, axes, box), points


@patient
@given(seeds, axes, st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 10))
def test_gather_equals_grid_sample(seed, axes, height, width, box):
    planes, points = example(seed, axes, height, width, box)
    assert_close(planes.sample_mean(points), planes.sample(points).mean(dim=1))


@patient
@given(seeds, axes, st.floats(0.1, 10), st.floats(0.1, 10))
def test_points_and_box_scale_together(seed, axes, box, factor):
    planes, points = example(seed, axes, 5, 6, box)
    larger = Triplane(planes.features, axes, box * factor)
    assert_close(larger.sample_mean(points * factor), planes.sample_mean(points))


@patient
@given(seeds, pairs, st.floats(0.1, 10))
def test_swapping_letters_transposes_the_plane(seed, pair, box):
    planes, points = example(seed, (pair,), 5, 6, box)
    swapped = Triplane(planes.features.transpose(3, 4), (pair[::-1],), box)
    assert_close(swapped.sample_mean(points), planes.sample_mean(points))


@patient
@given(seeds, axes)
def test_values_lie_between_those_of_the_pixels_and_zero(seed, axes):
    planes, points = example(seed, axes, 5, 6, 1.0)
    found = planes.sample(points)
    low = planes.features.flatten(3).amin(3).clamp(max=0)[:, :, None]
    high = planes.features.flatten(3).amax(3).clamp(min=0)[:, :, None]
    assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all()
