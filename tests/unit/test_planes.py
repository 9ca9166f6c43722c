# SPDX-License-Identifier: Apache-2.0
"""Which coordinates each plane sees, and what is read between and beyond its pixels."""

import pytest
import torch

from neural_core.planes import CORRECTED_AXES, PUBLISHED_AXES, Triplane, gather, project


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("axes", [PUBLISHED_AXES, CORRECTED_AXES])
def test_each_plane_sees_its_two_coordinates_and_not_the_third(axes):
    planes = Triplane(random(1, 3, 2, 8, 8), axes, 2.0)
    here = torch.tensor([[[0.1, -0.2, 0.3]]], dtype=torch.float64)
    for axis, letter in enumerate("xyz"):
        moved = here.clone()
        moved[..., axis] += 0.4
        changed = (planes.sample(moved) - planes.sample(here)).abs().amax(dim=(0, 2, 3)) > 1e-6
        assert changed.tolist() == [letter in pair for pair in axes]


def test_no_published_plane_sees_y_and_z():
    assert not any(set(pair) == {"y", "z"} for pair in PUBLISHED_AXES)
    assert {frozenset(pair) for pair in CORRECTED_AXES} == {frozenset("xy"), frozenset("xz"), frozenset("yz")}


def test_letters_are_column_then_row():
    point = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert project(point, ("xy", "zx", "zy")).tolist() == [[[[1.0, 2.0], [3.0, 1.0], [3.0, 2.0]]]]


def test_pixel_centres_hold_the_pixels():
    """On a cube of side 4 with 4 pixels, pixel (column 2, row 0) lies at u = 0.5, v = -1.5."""
    features = torch.arange(16.0).reshape(1, 1, 1, 4, 4)
    planes = Triplane(features, ("xy",), 4.0)
    at = torch.tensor([[[0.5, -1.5, 9.0], [1.0, -1.5, 9.0], [0.5, -1.0, 9.0]]])
    assert planes.sample_mean(at)[0, :, 0].tolist() == pytest.approx([2.0, 2.5, 4.0])


def test_outside_is_zero_and_the_edge_fades():
    planes = Triplane(torch.ones(1, 1, 1, 4, 4), ("xy",), 4.0)
    at = torch.tensor([[[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 0.0, 0.0], [2.5, 0.0, 0.0], [1e9, -1e9, 0.0]]])
    assert planes.sample_mean(at)[0, :, 0].tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("channels_last", [False, True])
def test_mean_of_planes_by_gather_equals_grid_sample(channels_last):
    """Values and gradients; the points reach beyond the cube."""
    features, points = random(2, 3, 5, 7, 9), random(2, 200, 3, seed=1) * 0.5
    cotangent = random(2, 200, 5, seed=2)
    results = []
    for fast in (True, False):
        leaves = features.clone().requires_grad_(), points.clone().requires_grad_()
        planes = Triplane(leaves[0], CORRECTED_AXES, 1.3)
        planes = planes.channels_last() if channels_last else planes
        mean = planes.sample_mean(leaves[1]) if fast else planes.sample(leaves[1]).mean(dim=1)
        results.append((mean, *torch.autograd.grad((mean * cotangent).sum(), leaves)))
    assert (points.abs() > 0.65).any()
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_sample_is_twice_differentiable():
    features, points = random(1, 1, 2, 4, 4).requires_grad_(), (random(1, 5, 3, seed=1) * 0.2).requires_grad_()

    def read(features, points):
        return Triplane(features, ("xz",), 1.0).sample(points)

    assert torch.autograd.gradgradcheck(read, (features, points))


def test_blend():
    first, second = (
        Triplane(torch.zeros(1, 1, 2, 4, 4), ("xy",), 1.0),
        Triplane(torch.ones(1, 1, 2, 4, 4), ("xy",), 1.0),
    )
    torch.testing.assert_close(first.blend(second, 0.25).features, torch.full((1, 1, 2, 4, 4), 0.25))
    with pytest.raises(ValueError, match="different axes"):
        first.blend(Triplane(second.features, ("xz",), 1.0), 0.5)


def test_planes_need_their_axes():
    with pytest.raises(ValueError, match="2 planes need as many axes"):
        Triplane(torch.zeros(1, 2, 1, 4, 4), ("xy",), 1.0)


def test_single_places_are_gathered_as_grid_sample_does():
    pictures, where = random(3, 5, 6, 7), 1.2 * (2 * torch.rand(40, 2, generator=torch.Generator().manual_seed(1)) - 1)
    number = torch.arange(40) % 3
    expected = [
        torch.nn.functional.grid_sample(pictures[n, None].movedim(-1, 1), w[None, None, None], align_corners=False)
        for n, w in zip(number, where.to(pictures.dtype), strict=True)
    ]
    expected = torch.stack(expected)[:, 0, :, 0, 0]
    torch.testing.assert_close(gather(pictures, number, where), expected, atol=1e-5, rtol=1e-5)
    less = torch.arange(40) * 2
    found = gather(pictures, number, where, less)
    torch.testing.assert_close(found, expected - pictures.reshape(-1, 7)[less], atol=1e-5, rtol=1e-5)
