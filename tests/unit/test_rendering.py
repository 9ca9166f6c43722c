# SPDX-License-Identifier: Apache-2.0
"""Volume rendering of fields whose pictures can be computed on paper."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from neural_core.cameras import orbit
from neural_core.rendering.compositing import alpha_weights, composite, composite_midpoints, midpoint_weights
from neural_core.rendering.rays import box_limits, camera_rays, pixel_centres
from neural_core.rendering.sampling import HALF, RandomSampling, importance, inverse_cdf, stratified
from neural_core.rendering.volume import VolumeRenderer

F64 = torch.float64


def raw(density):
    """Return the raw density whose activation, softplus(raw - 1), is the given one."""
    return torch.log(torch.expm1(torch.as_tensor(density, dtype=F64))) + 1


def test_slab_of_constant_density_has_beer_lambert_opacity():
    sigma, length = 3.0, 0.7
    edges = torch.linspace(0, length, 65, dtype=F64)
    found = composite(torch.full((64,), sigma, dtype=F64), torch.full((64, 2), 0.5, dtype=F64), edges)
    opacity = 1 - math.exp(-sigma * length)
    assert found.opacity.item() == pytest.approx(opacity)
    assert found.colour.tolist() == pytest.approx([0.5 * opacity] * 2)
    # mean distance of an exponential that is cut off: 1/sigma - length e^(-sigma length) / opacity
    assert found.depth.item() == pytest.approx(1 / sigma - length * (1 - opacity) / opacity, abs=1e-4)


def test_the_same_slab_by_midpoints():
    sigma, length = 3.0, 0.7
    distances = torch.linspace(0, length, 65, dtype=F64)
    found = composite_midpoints(raw(sigma).expand(65), torch.ones(65, 1, dtype=F64), distances)
    assert found.opacity.item() == pytest.approx(1 - math.exp(-sigma * length))


def test_two_sheets():
    """A half covering sheet of red before an opaque one of green."""
    alpha = torch.tensor([0.0, 0.5, 0.0, 1.0, 1.0])
    assert_close(alpha_weights(alpha), torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]))


def test_midpoints_are_means_of_neighbours():
    density, distances = torch.tensor([1.0, 3.0, -2.0]), torch.tensor([0.0, 0.5, 2.0])
    sigma = torch.nn.functional.softplus(torch.tensor([2.0, 0.5]) - 1)
    alpha = 1 - torch.exp(-sigma * torch.tensor([0.5, 1.5]))
    expected = torch.stack([alpha[0], (1 - alpha[0]) * alpha[1]])
    assert_close(midpoint_weights(density, distances), expected)
    colour = torch.tensor([[1.0], [5.0], [9.0]])
    found = composite_midpoints(density, colour, distances)
    assert_close(found.colour, expected[0] * 3 + expected[1:] * 7)
    assert_close(found.depth, (expected[0] * 0.25 + expected[1] * 1.25) / expected.sum())


def test_order_stands_for_sorting():
    generator = torch.Generator().manual_seed(0)
    distances = torch.rand(2, 5, 9, generator=generator)
    density, colour = torch.randn(2, 5, 9, generator=generator), torch.rand(2, 5, 9, 3, generator=generator)
    ordered, order = distances.sort(dim=-1)
    density = density.gather(-1, order)
    found = composite_midpoints(density, colour, ordered, order)
    expected = composite_midpoints(density, colour.gather(-2, order[..., None].expand_as(colour)), ordered)
    assert_close(found.colour, expected.colour)


def test_nothing_has_no_depth_and_no_broken_gradient():
    density = torch.tensor([[-500.0] * 4, [2.0] * 4], requires_grad=True)
    found = composite_midpoints(density, torch.ones(2, 4, 1), torch.linspace(1, 2, 4).expand(2, 4))
    assert found.depth.isnan().tolist() == [True, False]
    torch.where(found.opacity > 0, found.depth, 0.0).sum().backward()
    assert density.grad.isfinite().all()
    assert density.grad[1].any()


def test_gradients_of_compositing():
    generator = torch.Generator().manual_seed(0)
    density = torch.randn(2, 5, dtype=F64, generator=generator).requires_grad_()
    colour = torch.rand(2, 5, 3, dtype=F64, generator=generator).requires_grad_()
    distances = torch.rand(2, 5, dtype=F64, generator=generator).cumsum(-1)
    assert torch.autograd.gradcheck(lambda d, c: composite_midpoints(d, c, distances), (density, colour))
    edges = torch.linspace(0, 1, 6, dtype=F64).expand(2, 6)
    assert torch.autograd.gradcheck(lambda d, c: composite(d.exp(), c, edges), (density, colour))


def test_coarse_samples_lie_in_the_middle_of_their_steps():
    found = stratified(torch.tensor([[1.0]]), torch.tensor([[2.0]]), 5)
    assert found[0, 0].tolist() == pytest.approx([1.125, 1.375, 1.625, 1.875, 2.125])  # the last step begins at 2


def test_steps_in_disparity():
    near, far = torch.tensor([[1.0]], dtype=F64), torch.tensor([[4.0]], dtype=F64)
    disparity = 1 / stratified(near, far, 4, in_disparity=True)[0, 0]
    assert_close(disparity.diff(), torch.full((3,), -0.25, dtype=F64))


def test_inverse_cdf_equals_walking_up_the_weights():
    generator = np.random.default_rng(0)
    edges, weights = np.sort(generator.random(7)), generator.random(6)
    weights[2] = 0  # 1e-5 of weight still leads through it
    quantiles = np.append(generator.random(50), [0.0, 1.0])
    found = inverse_cdf(*(torch.from_numpy(array)[None] for array in (edges, weights, quantiles)))[0]
    share = (weights + 1e-5) / (weights + 1e-5).sum()
    for quantile, value in zip(quantiles, found.tolist(), strict=True):
        left, step = quantile, 0
        while left > share[step] and step < 5:
            left -= share[step]
            step += 1
        assert value == pytest.approx(edges[step] + left / share[step] * (edges[step + 1] - edges[step]), abs=1e-6)


def test_fine_samples_gather_where_the_weight_is():
    distances = torch.linspace(0, 1, 33)[None, None]
    weights = torch.zeros(1, 1, 32)
    weights[..., 20] = 1.0  # between 0.625 and 0.656
    found = importance(distances, weights, 100)
    near = (found > 0.625 - 1 / 32) & (found < 0.656 + 1 / 32)
    assert near.float().mean() > 0.75
    assert (found.diff() >= 0).all()  # the deterministic policy draws them in order


def test_random_sampling_repeats_with_its_generator():
    like = torch.zeros(1, 2, 8)
    draw = [RandomSampling(torch.Generator().manual_seed(seed)).jitter(like) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert ((draw[0] >= 0) & (draw[0] < 1)).all()
    normal = RandomSampling(torch.Generator().manual_seed(0)).normal(torch.zeros(1, 10_000, 1))
    assert normal.std().item() == pytest.approx(1, abs=0.03)


def test_half_is_half():
    like = torch.zeros(1, 2, 4)
    assert (HALF.jitter(like) == 0.5).all()
    assert HALF.quantiles(like)[0, 1].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert not HALF.normal(torch.ones(1, 2, 1)).any()


def test_box_limits():
    origins = torch.tensor([[[0.0, 0, 2], [0.0, 0.9, 2], [0.0, 0, 0], [2.0, 0, 2]]])
    directions = torch.tensor([[[0.0, 0, -1], [0.0, 0, -1], [0.0, 0, 1], [-math.sqrt(0.5), 0, -math.sqrt(0.5)]]])
    near, far, valid = box_limits(origins, directions, 1.0)
    assert valid.tolist() == [[True, False, True, True]]
    diagonal = math.sqrt(2)
    assert near[0, [0, 2, 3]].tolist() == pytest.approx([1.5, -0.5, 1.5 * diagonal])
    assert far[0, [0, 2, 3]].tolist() == pytest.approx([2.5, 0.5, 2.5 * diagonal])


def sphere(radius, sharpness=1e5):
    """Return the field of a hard ball of colour (0.2, 0.4, 0.6)."""

    def field(points, directions):
        density = (radius - points.norm(dim=-1, keepdim=True)) * sharpness
        return density, torch.tensor([0.2, 0.4, 0.6]).expand_as(points)

    return field


@pytest.mark.parametrize("limits", [(2.0, 3.4), ("auto", "auto")])
def test_a_ball(limits):
    """Its outline, colour and distance are those of the ball, whatever the limits come from."""
    renderer = VolumeRenderer(box=1.0, ray_start=limits[0], ray_end=limits[1], coarse=64, fine=64)
    camera = orbit(25.0, 10.0, 2.7, focal=2.7)
    pixels = pixel_centres(32, 32, camera.intrinsics)
    origins, directions = camera_rays(camera, pixels)
    found = renderer(sphere(0.4), origins, directions)
    along = -(origins * directions).sum(-1)  # distance to the point nearest to the centre
    miss = (origins + along[..., None] * directions).norm(dim=-1)
    hit = miss < 0.35
    surface = along - (0.4**2 - miss.square()).clamp(min=0).sqrt()
    assert_close(found.opacity[hit], torch.ones(int(hit.sum())), atol=1e-3, rtol=0)
    assert (found.opacity[miss > 0.41] < 1e-2).all()
    assert (found.depth - surface)[hit].abs().max() < 0.7 / 63  # half a coarse step
    assert_close(found.colour[hit], torch.tensor([-0.6, -0.2, 0.2]).expand(int(hit.sum()), 3), atol=3e-3, rtol=0)
    corner = found.colour[0, 0]
    assert_close(corner, torch.full((3,), -1.0), atol=1e-2, rtol=0)


def test_white_background():
    renderer = VolumeRenderer(box=1.0, ray_start=1.0, ray_end=2.0, coarse=8, fine=0, white_back=True)
    nothing = renderer(
        lambda points, directions: (torch.full_like(points[..., :1], -99.0), points),
        torch.zeros(1, 2, 3), torch.tensor([[[0.0, 0, 1]] * 2]),
    )  # fmt: skip
    assert_close(nothing.colour, torch.ones(1, 2, 3))
    assert nothing.depth[0, 0].item() == pytest.approx(2 + 0.5 / 7)  # the furthest sample


def test_field_gets_unit_directions_of_its_points():
    seen = []
    renderer = VolumeRenderer(box=1.0, ray_start=1.0, ray_end=2.0, coarse=4, fine=3)

    def field(points, directions):
        seen.append((points, directions))
        return points[..., :1], points

    directions = torch.nn.functional.normalize(torch.tensor([[[0.0, 3, 4], [1.0, 0, 0]]]), dim=-1)
    renderer(field, torch.zeros(1, 2, 3), directions)
    assert [points.shape[1] for points, _ in seen] == [8, 6]
    for points, views in seen:
        assert_close(torch.nn.functional.normalize(points, dim=-1), views)


def test_progress_may_stop_the_rendering():
    class Stop(Exception):
        pass

    def stop(done, total):
        told.append((done, total))
        raise Stop

    told = []
    renderer = VolumeRenderer(box=1.0, ray_start=1.0, ray_end=2.0, coarse=4, fine=0)
    with pytest.raises(Stop):
        renderer(sphere(0.3), torch.zeros(1, 10, 3), torch.ones(1, 10, 3), chunk=4, on_progress=stop)
    assert told == [(4, 10)]


def test_rays_that_all_miss_the_box_see_nothing():
    renderer = VolumeRenderer(box=1.0, ray_start="auto", ray_end="auto", coarse=4, fine=4)
    origins, directions = torch.tensor([[[0.0, 5, 0]]]), torch.tensor([[[1.0, 0, 0]]])
    found = renderer(lambda points, views: (torch.full_like(points[..., :1], -99.0), points), origins, directions)
    assert found.opacity.item() == 0
    assert found.depth.isfinite().all()


def test_density_noise_comes_from_the_policy():
    renderer = VolumeRenderer(box=1.0, ray_start=1.0, ray_end=2.0, coarse=16, fine=0, density_noise=2.0)
    rays = torch.zeros(1, 4, 3), torch.tensor([[[0.0, 0, 1]] * 4])
    field = sphere(3.0, 0.1)
    quiet = renderer(field, *rays)
    noisy = [renderer(field, *rays, RandomSampling(torch.Generator().manual_seed(seed))).opacity for seed in (0, 0, 1)]
    assert_close(noisy[0], noisy[1])
    assert not torch.allclose(noisy[0], noisy[2])
    assert not torch.allclose(noisy[0], quiet.opacity)


def test_points_may_be_warped_outside():
    """A field composed with a shift of points is the shifted ball: the renderer needs to know nothing of it."""
    renderer = VolumeRenderer(box=2.0, ray_start=1.5, ray_end=3.5, coarse=48, fine=48)
    camera = orbit(radius=2.5, focal=2.0)
    rays = camera_rays(camera, pixel_centres(24, 24, camera.intrinsics))
    ball, shift = sphere(0.3), torch.tensor([0.3, 0.0, 0.0])
    found = renderer(lambda points, views: ball(points - shift, views), *rays).opacity.reshape(24, 24)
    columns = (found * torch.arange(24)).sum() / found.sum() + 0.5
    assert columns.item() / 24 == pytest.approx(camera.project(shift[None, None])[0, 0, 0].item(), abs=0.01)
