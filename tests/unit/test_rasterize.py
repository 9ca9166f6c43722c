# SPDX-License-Identifier: Apache-2.0
"""The rasteriser against hand-counted pictures, a per-pixel oracle in exact arithmetic, and closed forms."""

import inspect
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from neural_core.ops import backends
from neural_core.ops import rasterize as module
from neural_core.ops.rasterize import Fragments, interpolate, rasterize

BACK_ENDS = ["reference", "native"]


@pytest.fixture(params=BACK_ENDS)
def back_end(request, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, request.param)
    return request.param


def mesh(rows, faces):
    return torch.tensor([rows], dtype=torch.float32), torch.tensor(faces)


def drawn(fragments):
    """The triangles of the first picture as rows of text, a dot where there is none."""
    return ["".join("." if t < 0 else str(t) for t in row) for row in fragments.triangle[0].tolist()]


def random_scene(seed, vertices=60, faces=80, grid=None, perspective=False):
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(2, vertices, 3, generator=generator) * 2.4 - 1.2
    if grid is not None:  # corners and edges on pixel centres, equal depths: ties everywhere
        places = (places * grid).round() / grid
    if perspective:
        places[..., 2] = places[..., 2].abs() + 0.25
    return places, torch.randint(0, vertices, (faces, 3), generator=generator)


def test_a_triangle_counted_by_hand(back_end):
    # In units of pixels of a 4 x 4 picture: corners (0, 0), (4, 0), (0, 4); centres lie at halves.
    vertices, faces = mesh([[-1, -1, 1], [1, -1, 1], [-1, 1, 1]], [[0, 1, 2]])
    # The long edge runs through the centres (3.5, 0.5) ... (0.5, 3.5): it is a right edge, which has none of them.
    assert drawn(rasterize(vertices, faces, 4)) == ["000.", "00..", "0...", "...."]
    other = torch.tensor([[1, 1, 1.0]])[None]
    both = rasterize(torch.cat([vertices, other], 1), torch.tensor([[0, 1, 2], [3, 2, 1]]), 4)
    assert drawn(both) == ["0001", "0011", "0111", "1111"]
    never = rasterize(torch.cat([vertices, other], 1), torch.tensor([[0, 1, 2], [3, 2, 1]]), 4, edges="never")
    assert drawn(never) == ["000.", "00.1", "0.11", ".111"]


def test_barycentric_coordinates_and_depth_by_hand(back_end):
    vertices, faces = mesh([[-1, -1, 1], [1, -1, 3], [-1, 1, 5]], [[0, 1, 2]])
    seen = rasterize(vertices, faces, 4)
    # The centre (1.5, 0.5) in pixels: 1.5 / 4 of the way to the second corner, 0.5 / 4 to the third.
    torch.testing.assert_close(seen.barycentric[0, 0, 1], torch.tensor([0.5, 0.375, 0.125]))
    assert seen.depth[0, 0, 1] == pytest.approx(1 + 2 * 0.375 + 4 * 0.125)
    assert (seen.barycentric[~seen.covered] == 0).all()
    assert (seen.depth[~seen.covered] == 0).all()


def test_culling_keeps_what_appears_counter_clockwise(back_end):
    vertices, faces = mesh([[-1, -1, 1], [1, -1, 1], [-1, 1, 1]], [[0, 1, 2], [0, 2, 1]])
    assert drawn(rasterize(vertices, faces[:1], 2, cull=True)) == ["..", ".."]
    assert drawn(rasterize(vertices, faces[1:], 2, cull=True)) == ["0.", ".."]


def test_the_nearest_wins_and_of_equals_the_first(back_end):
    corners = [[-1, -1], [3, -1], [-1, 3]]
    rows = [[x, y, z] for z in (2, 1, 1, 3) for x, y in corners]
    vertices, faces = mesh(rows, [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(4)])
    assert (rasterize(vertices, faces, 5).triangle == 1).all()
    assert (rasterize(vertices, faces[[0, 3, 2, 1]], 5).triangle == 2).all()
    assert (rasterize(vertices, faces[[0, 3]], 5).triangle == 0).all()


def test_what_cannot_be_drawn_is_left_out(back_end):
    rows = [[-1, -1, 1], [3, -1, 1], [-1, 3, 1], [0, 0, 1], [float("nan"), 0, 1], [0, float("inf"), 1], [3, 3, -1]]
    vertices, faces = mesh(rows, [[0, 3, 3], [0, 1, 4], [0, 1, 5], [0, 1, 6], [0, 1, 2]])
    assert (rasterize(vertices, faces, 3, perspective=True).triangle == 4).all()
    assert (rasterize(vertices, faces[:3], 3).triangle == -1).all()
    assert (rasterize(vertices, faces[:0], (2, 3)).triangle == -1).all()
    assert rasterize(vertices[:0], faces, (2, 3)).triangle.shape == (0, 2, 3)


def test_faces_and_sizes_that_make_no_sense_are_refused(back_end):
    vertices, _ = mesh([[0, 0, 0]] * 3, [[0, 1, 2]])
    with pytest.raises(ValueError, match="vertices 0 to 3 of 3"):
        rasterize(vertices, torch.tensor([[0, 1, 3]]), 4)
    with pytest.raises(ValueError, match="vertices -1"):
        rasterize(vertices, torch.tensor([[0, 1, -1]]), 4)
    with pytest.raises(ValueError, match="0 x 3"):
        rasterize(vertices, torch.tensor([[0, 1, 2]]), (0, 3))


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [((3, 3), (1, 3)), ((1, 3, 4), (1, 3)), ((1, 3, 2), (1, 3)), ((1, 3, 3), (3,)), ((1, 3, 3), (1, 4))],
)
def test_shapes_that_do_not_fit_are_refused(back_end, vertices, faces):
    """The back end would read what lies beside them in memory; what checks types in tests is not there for users."""
    with pytest.raises(ValueError, match=r"not \[b, v, 3\] and \[f, 3\]"):
        inspect.unwrap(rasterize)(torch.zeros(vertices), torch.zeros(faces, dtype=torch.int64), 4)


def test_devices_that_do_not_fit_are_refused(back_end):
    with pytest.raises(ValueError, match="vertices on cpu and faces on meta"):
        rasterize(torch.zeros(1, 3, 3), torch.zeros(1, 3, dtype=torch.int64, device="meta"), 4)


def oracle(vertices, faces, height, width, edges):
    """Triangle of each pixel in rational arithmetic, one pixel and one triangle at a time."""

    def cross(p, q, s):
        return (q[0] - p[0]) * (s[1] - p[1]) - (q[1] - p[1]) * (s[0] - p[0])

    exact = [[Fraction(float(x)) for x in row] for row in vertices]
    found = np.full((height, width), -1)
    for row in range(height):
        for column in range(width):
            centre = Fraction(2 * column + 1, width) - 1, Fraction(2 * row + 1, height) - 1
            best = None
            for number, face in enumerate(faces.tolist()):
                a, b, c = (exact[corner] for corner in face)
                area = cross(a, b, c)
                if area == 0:
                    continue
                if area < 0:
                    b, c = c, b
                values = [cross(b, c, centre), cross(c, a, centre), cross(a, b, centre)]
                directions = [(c[0] - b[0], c[1] - b[1]), (a[0] - c[0], a[1] - c[1]), (b[0] - a[0], b[1] - a[1])]
                kept = [v > 0 or (v == 0 and edges == "once" and (dy < 0 or (dy == 0 and dx > 0)))
                        for v, (dx, dy) in zip(values, directions, strict=True)]  # fmt: skip
                if not all(kept):
                    continue
                depth = sum(v * corner[2] for v, corner in zip(values, (a, b, c), strict=True)) / abs(area)
                if best is None or depth < best:
                    best, found[row, column] = depth, number
    return found


@pytest.mark.parametrize("edges", ["once", "never"])
@pytest.mark.parametrize("grid", [None, 8, 3])
def test_equals_an_oracle_in_exact_arithmetic(back_end, edges, grid):
    places, _ = random_scene(seed=3, vertices=36, grid=grid)
    faces = torch.arange(36).reshape(12, 3)
    if grid == 8:  # corners and edges on pixel centres, but every surface at a depth of its own
        places[..., 2] += torch.arange(36) * 0.0123
    elif grid == 3:  # every overlap is a tie; 1 / 3 is no binary fraction, so edges miss centres barely
        places[..., 2] = 0.0
    found = rasterize(places, faces, (8, 16), edges=edges).triangle
    for sample in range(2):
        np.testing.assert_array_equal(found[sample], oracle(places[sample], faces, 8, 16, edges))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(BACK_ENDS))
def test_a_tiling_covers_every_pixel_exactly_once(seed, cells, back_end):
    """A jittered grid over the picture, cut into triangles along random diagonals: no gap, no pixel twice."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, cells + 1), np.linspace(-1.5, 1.5, cells + 1))
    jitter = rng.integers(-1, 2, (2, cells + 1, cells + 1)) / 16
    jitter[:, [0, -1]] = jitter[:, :, [0, -1]] = 0
    places = np.stack([np.round((x + jitter[0]) * 16) / 16, np.round((y + jitter[1]) * 16) / 16, x * 0], -1)
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    faces = []
    for i in range(cells):
        for j in range(cells):
            a, b, c, d = index[i, j], index[i, j + 1], index[i + 1, j + 1], index[i + 1, j]
            faces += [[a, b, c], [a, c, d]] if rng.random() < 0.5 else [[a, b, d], [b, c, d]]
    vertices, faces = torch.from_numpy(places.reshape(1, -1, 3)).float(), torch.tensor(faces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(backends.VARIABLE, back_end)
        times = sum((rasterize(vertices, face[None], 16).covered).int() for face in faces)
    assert (times == 1).all()


def test_a_centre_within_rounding_of_a_common_edge_is_covered_once(back_end):
    """Edges through the centre of the only pixel but for rounding, with a triangle on either side of each."""
    generator = torch.Generator().manual_seed(2)
    direction = torch.rand(150, 2, generator=generator, dtype=torch.float64) - 0.5
    start = direction * (0.1 + torch.rand(150, 1, generator=generator, dtype=torch.float64))
    end = -direction * (0.1 + torch.rand(150, 1, generator=generator, dtype=torch.float64))
    aside = torch.stack([-direction[:, 1], direction[:, 0]], 1) + 0.1 * direction
    places = torch.stack([start, end, aside, -aside], 1)
    vertices = torch.cat([places, torch.ones(150, 4, 1)], 2)
    times = sum(rasterize(vertices, torch.tensor([face]), 1).covered.int() for face in ([0, 1, 2], [1, 0, 3]))
    assert (times == 1).all()


@pytest.mark.parametrize("edges", ["once", "never"])
@pytest.mark.parametrize("cull", [False, True])
@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("grid", [None, 6])
def test_native_equals_the_reference_ties_included(monkeypatch, edges, cull, perspective, grid):
    vertices, faces = random_scene(7, 40, 50, grid, perspective)
    results = []
    for name in BACK_ENDS:
        monkeypatch.setenv(backends.VARIABLE, name)
        results.append(rasterize(vertices, faces, (16, 24), perspective=perspective, cull=cull, edges=edges))
    reference, native = results
    assert reference.covered.float().mean() > 0.5
    torch.testing.assert_close(native.triangle, reference.triangle, rtol=0, atol=0)
    torch.testing.assert_close(native.barycentric, reference.barycentric, rtol=0, atol=1e-5)
    torch.testing.assert_close(native.depth, reference.depth, rtol=1e-6, atol=0)


def test_the_reference_gives_the_same_in_small_pieces(monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "reference")
    vertices, faces = random_scene(11, faces=30, grid=6)
    whole = rasterize(vertices, faces, 12)
    monkeypatch.setattr(module, "_PAIRS", 50)
    pieces = rasterize(vertices, faces, 12)
    assert torch.equal(pieces.triangle, whole.triangle)
    assert torch.equal(pieces.barycentric, whole.barycentric)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "native")
    vertices, faces = random_scene(12, grid=6)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(rasterize(vertices, faces, (25, 31)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(other.triangle, results[0].triangle)
        assert torch.equal(other.depth, results[0].depth)


def test_a_tilted_plane_in_perspective_has_the_closed_form(back_end):
    """Depth and attributes of the plane depth = 4 + x_world, of which a pinhole camera sees depth = 4 / (1 - x)."""
    corners = torch.tensor([[-0.9, -0.9], [0.5, -0.9], [0.5, 0.9], [-0.9, 0.9]], dtype=torch.float64)
    depth = 4 / (1 - corners[:, 0])
    world = torch.cat([corners * depth[:, None], depth[:, None]], 1)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    vertices = torch.cat([corners, depth[:, None]], 1)[None]
    seen = rasterize(vertices, faces, 32, perspective=True)
    x = (2 * torch.arange(32) + 1) / 32 - 1
    expected = (4 / (1 - x)).expand(32, 32)
    here = seen.covered[0]
    assert here.sum() > 300
    torch.testing.assert_close(seen.depth[0][here], expected[here], rtol=1e-6, atol=0)
    found = interpolate(seen, world[None, faces])[0]
    torch.testing.assert_close(found[..., 0][here], (expected * x)[here].double(), rtol=1e-6, atol=1e-6)
    flat = rasterize(vertices, faces, 32)  # without perspective the depth is linear in the picture instead
    assert (flat.depth[0] - expected)[here].abs().max() > 0.1


def test_interpolation_is_zero_where_nothing_is_and_follows_the_corners(back_end):
    vertices, faces = random_scene(5)
    seen = rasterize(vertices, faces, 16)
    values = torch.randn(2, 60, 4, generator=torch.Generator().manual_seed(0))
    found = interpolate(seen, values[:, faces])
    for sample, row, column in ((0, 8, 8), (1, 3, 9), (1, 15, 0)):
        triangle = int(seen.triangle[sample, row, column])
        expected = torch.zeros(4)
        if triangle >= 0:
            for corner in range(3):
                weight = seen.barycentric[sample, row, column, corner]
                expected += weight * values[sample, faces[triangle, corner]]
        torch.testing.assert_close(found[sample, row, column], expected)
    assert (found[~seen.covered] == 0).all()
    shared = interpolate(seen, values[:1, faces])
    torch.testing.assert_close(shared[0], found[0])
    nothing = rasterize(vertices, faces[:0], 4)
    assert interpolate(nothing, values[:, faces[:0]]).abs().max() == 0


def test_gradients_flow_into_the_attributes_alone(monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "reference")
    vertices, faces = random_scene(5, vertices=9, faces=6)
    vertices.requires_grad_()
    seen = rasterize(vertices, faces, 5)
    assert not seen.barycentric.requires_grad
    seen = Fragments(seen.triangle, seen.barycentric.double(), seen.depth)
    values = torch.randn(2, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert gradcheck(lambda v: interpolate(seen, v[:, faces]), (values,))
    assert gradgradcheck(lambda v: interpolate(seen, v[:, faces]) ** 2, (values,))
