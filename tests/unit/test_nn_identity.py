# SPDX-License-Identifier: Apache-2.0
"""The parts that give our own EG3D weights a face code."""

import numpy as np
import pytest
import torch

from neural_core.human.anny import load_anny_head
from neural_core.nn.identity import (
    LOCKS,
    FiLMDecoder,
    IdentityWarp,
    MeanPlanes,
    TraitPlanes,
    locks,
    sample_grid,
    spread_over_grid,
)

SCALE = 2.0
BOX = 0.72


@pytest.fixture(scope="module")
def face():
    return load_anny_head()


@pytest.fixture(scope="module")
def warp(face):
    vertices, directions = torch.from_numpy(face.v_template) * SCALE, torch.from_numpy(face.shapedirs) * SCALE
    return IdentityWarp.from_face(vertices, directions, 24, BOX)


def test_warp_carries_random_people_to_the_mean_head(face, warp):
    rng = np.random.default_rng(3)
    shapes = rng.standard_normal((6, face.shapedirs.shape[2])).astype(np.float32)
    people = torch.from_numpy(np.stack([face.vertices(shape) for shape in shapes])) * SCALE
    mean = torch.from_numpy(face.v_template) * SCALE
    carried = warp(people, warp.volume(torch.from_numpy(shapes)))
    before, after = ((points - mean).norm(dim=-1).mean() / SCALE * 1000 for points in (people, carried))
    assert before > 2.5, "the people should differ from the mean head, else nothing is tested"
    assert after < 1.1, f"{after:.2f} mm left of {before:.2f} mm"


def test_mean_person_is_not_moved(warp):
    points = (torch.rand(1, 50, 3) - 0.5) * BOX
    moved = warp(points, warp.volume(torch.zeros(1, warp.basis.shape[0])))
    torch.testing.assert_close(moved, points)


def test_spread_values_are_exact_weighted_means():
    positions, values = torch.rand(7, 3) - 0.5, torch.rand(7, 2)
    grid = spread_over_grid(positions, values, 3, 1.0, chunk=5)
    for (z, y, x), node in zip(
        np.ndindex(3, 3, 3),
        [(x, y, z) for z in (-0.5, 0, 0.5) for y in (-0.5, 0, 0.5) for x in (-0.5, 0, 0.5)],
        strict=True,
    ):
        squared = ((positions.numpy() - np.array(node)) ** 2).sum(1) + 0.004**2
        weights = 1 / squared**2
        expected = (weights[:, None] * values.numpy()).sum(0) / weights.sum()
        np.testing.assert_allclose(grid[:, z, y, x].numpy(), expected, rtol=1e-4)


def test_grid_of_a_linear_function_is_read_exactly():
    nodes = torch.linspace(-0.5, 0.5, 5)
    z, y, x = torch.meshgrid(nodes, nodes, nodes, indexing="ij")
    grid = (2 * x - 3 * y + z)[None, None]
    points = torch.rand(1, 20, 3) - 0.5
    expected = points @ torch.tensor([2.0, -3.0, 1.0])
    torch.testing.assert_close(sample_grid(grid, points, 1.0)[..., 0], expected)


def test_decoder_modulation_is_what_changes_with_the_code():
    decoder = FiLMDecoder(4, 8, 5)
    features = torch.rand(2, 3, 4)
    codes = torch.stack([torch.zeros(5), torch.ones(5)])
    density, colour = decoder(features[:1].expand(2, -1, -1), decoder.modulation(codes))
    assert density.shape == (2, 3, 1)
    assert not torch.allclose(density[0], density[1])
    assert colour.min() >= -0.001
    assert colour.max() <= 1.001


@pytest.mark.parametrize("film_hidden", [0, 7])
def test_modulation_scales_and_shifts_the_first_layer(film_hidden):
    decoder = FiLMDecoder(4, 8, 5, features=6, film_hidden=film_hidden)
    features, code = torch.rand(1, 3, 4), torch.rand(1, 5)
    film, hidden_code = decoder.film, code[0]
    if film_hidden:
        first, _, film = decoder.film
        hidden_code = first.weight @ code[0] + first.bias
        hidden_code = hidden_code * torch.sigmoid(hidden_code)
    scale, shift = (film.weight @ hidden_code + film.bias).chunk(2)
    hidden = (features @ decoder.input.weight.T + decoder.input.bias) * (1 + scale) + shift
    raw = decoder.output(torch.nn.functional.silu(decoder.middle(torch.nn.functional.silu(hidden))))
    density, colour = decoder(features, decoder.modulation(code))
    assert colour.shape == (1, 3, 6)
    torch.testing.assert_close(density, decoder.density_gain * raw[..., :1])
    torch.testing.assert_close(colour, torch.sigmoid(raw[..., 1:]) * 1.002 - 0.001)


def test_colours_are_corrections_of_a_mixture_of_the_palette():
    decoder = FiLMDecoder(4, 8, 5, features=8, materials=3)
    features, code = torch.rand(2, 7, 4), torch.rand(2, 5)
    palette = torch.rand(2, 3, 3) * 0.8 + 0.1
    with torch.no_grad():
        decoder.output.weight.zero_()
        decoder.output.bias[1:4] = torch.tensor([0.0, 0.0, 0.7])
        decoder.output.bias[6:9] = torch.tensor([0.0, torch.tensor(2.0).log(), -60.0])  # shares 1/3, 2/3, 0
        _, colour = decoder(features, decoder.modulation(code, palette))
    mixture = palette[:, 0] / 3 + 2 * palette[:, 1] / 3
    mixture[:, 2] = torch.sigmoid((mixture[:, 2] / (1 - mixture[:, 2])).log() + 0.7)
    torch.testing.assert_close(colour[..., :3], (mixture * 1.002 - 0.001)[:, None].expand(-1, 7, -1))
    torch.testing.assert_close(colour[..., 3:5], torch.full((2, 7, 2), 0.5))
    torch.testing.assert_close(colour[..., 5:], torch.tensor([1 / 3, 2 / 3, 0.0]).expand(2, 7, 3))


def test_locks_run_down_from_the_crown_and_curls_do_not():
    angle, height = torch.linspace(-3, 3, 400), torch.linspace(0.1, -0.2, 60)
    crown = torch.tensor([0.012, 0.23, -0.124])
    around = crown + torch.stack([0.2 * angle.sin(), torch.full_like(angle, -0.2), 0.2 * angle.cos()], dim=-1)
    down = torch.stack([torch.full_like(height, 0.2), height, torch.full_like(height, -0.1)], dim=-1)
    both = locks(torch.cat([around, down])[None])[0]
    assert both.shape == (460, LOCKS)
    assert both.abs().max() < 1.6
    ring, fall = both[:400], both[400:]
    ring_change = ring.diff(dim=0).abs().mean(0) / (0.2 * 6 / 399)  # per model unit
    fall_change = fall.diff(dim=0).abs().mean(0) / (0.3 / 59)
    assert (fall_change[:2] < 0.5 * ring_change[:2]).all()
    assert (fall_change[2:] > 0.5 * ring_change[2:]).all()
    assert torch.equal(locks(around[None]), locks(around[None]))


def test_mean_planes_add_an_enlarged_difference():
    planes = MeanPlanes(3, 2, 8)
    out = planes(torch.full((1, 6, 4, 4), 0.5))
    torch.testing.assert_close(out, planes.features + 0.5)


def test_traits_add_their_planes_in_proportion():
    module = TraitPlanes(2, 3, 2, 4)
    difference = torch.randn(1, 3 * 5, 8, 8)
    assert torch.equal(module(torch.ones(1, 2), difference), difference)  # at first they add nothing
    with torch.no_grad():
        module.basis[0, 1, 1] = 2.0
        module.basis[1, 1, 1] = -1.0
    added = module(torch.tensor([[0.5, 3.0]]), difference) - difference
    expected = torch.zeros(3, 5, 8, 8)
    expected[1, 1] = 0.5 * 2 - 3
    torch.testing.assert_close(added[0], expected.flatten(0, 1))
