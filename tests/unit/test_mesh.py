# SPDX-License-Identifier: Apache-2.0
"""Surfaces of fields whose shape is known on paper."""

import json
import math
import struct
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import trimesh

from neural_core import mesh
from neural_core.density_grid import EMPTY, DensityGrid, sample_density
from neural_core.errors import PortraitError, UsageError

SLOPE = 5000.0
"""How fast density rises below the surface, 1/m^2; it is EMPTY on the balls' own surface."""


@dataclass
class Balls:
    """Density falls off linearly across the surface of balls; colour is the position."""

    balls: tuple = (((0.0, 0.0, 0.0), 0.15),)
    box: tuple = ((-0.25, -0.3, -0.25), (0.25, 0.25, 0.25))
    hollow: float = 0.0
    asked: list = field(default_factory=list)

    def density(self, points):
        self.asked.append(len(points))
        depth = [radius - (points - torch.tensor(centre)).norm(dim=1) for centre, radius in self.balls]
        density = torch.relu(torch.stack(depth).amax(0) * SLOPE + EMPTY)
        return torch.where(points.norm(dim=1) < self.hollow, 0.0, density)

    def colour(self, points):
        return (points + 0.5).clamp(0, 1)


def as_trimesh(surface):
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def test_half_of_the_light_is_stopped_at_the_surface():
    """By quadrature from vertices to the outside, along the axes."""
    field = Balls()
    surface = mesh.extract(field, 128)
    way, step = torch.linspace(0, 0.3, 3001), 0.3 / 3000
    for vertex in torch.from_numpy(surface.vertices[:: len(surface.vertices) // 40]):
        ways = [vertex + sign * way[:, None] * axis for axis in torch.eye(3) for sign in (1, -1)]
        depth = min(float(torch.trapezoid(field.density(points), dx=step)) for points in ways)
        assert math.exp(-depth) == pytest.approx(0.5, abs=0.03)


def test_a_ball_is_a_closed_ball_that_looks_outwards():
    surface = mesh.extract(Balls(), 64)
    found = as_trimesh(surface)
    assert found.is_watertight
    assert found.body_count == 1
    # Light from the axes comes in straight or aslant: 4 ln 2 / 5000 = d^2 + 2 d EMPTY / SLOPE + ..., about 14 mm deep
    radii = np.linalg.norm(surface.vertices, axis=1)
    assert radii.min() > 0.15 - 0.015
    assert radii.max() < 0.15 - 0.008
    assert found.volume == pytest.approx(4 / 3 * math.pi * (radii**3).mean(), rel=0.01)  # positive: outwards
    assert found.center_mass == pytest.approx([0, 0, 0], abs=0.0005)


def test_a_ball_off_the_centre_is_where_it_is():
    surface = mesh.extract(Balls((((0.05, -0.1, 0.08), 0.1),)), 64)
    assert as_trimesh(surface).center_mass == pytest.approx([0.05, -0.1, 0.08], abs=0.0005)


def test_what_is_hidden_inside_makes_no_surface():
    solid, hollow = mesh.extract(Balls(), 64), mesh.extract(Balls(hollow=0.1), 64)
    assert as_trimesh(hollow).volume == pytest.approx(as_trimesh(solid).volume, rel=1e-3)
    assert np.linalg.norm(hollow.vertices, axis=1).min() > 0.12


def test_types_and_colours():
    surface = mesh.extract(Balls(), 32)
    assert (surface.vertices.dtype, surface.faces.dtype, surface.colours.dtype) == (np.float32, np.int32, np.float32)
    assert np.allclose(surface.colours, surface.vertices + 0.5, atol=1e-6)


def test_floating_specks_are_dropped():
    balls = (((0.0, 0.0, 0.0), 0.1), ((0.2, 0.2, 0.2), 0.04))
    both, one = mesh.extract(Balls(balls), 64), mesh.extract(Balls(balls[:1]), 64)
    assert as_trimesh(both).body_count == 1
    assert as_trimesh(both).volume == pytest.approx(as_trimesh(one).volume, rel=1e-6)
    speck = mesh.extract(Balls(balls[1:]), 64)  # alone it is kept
    assert as_trimesh(speck).center_mass == pytest.approx([0.2, 0.2, 0.2], abs=0.002)


def test_a_surface_that_leaves_the_box_is_closed_by_its_side():
    surface = mesh.extract(Balls((((0.0, -0.3, 0.0), 0.15),)), 64)
    assert as_trimesh(surface).is_watertight
    assert -0.3 <= surface.vertices[:, 1].min() < -0.3 + 0.55 / 64


def all_points(grid: DensityGrid) -> np.ndarray:
    """The positions of a grid's points, [nx, ny, nz, 3]."""
    return grid.corner + grid.cell * np.stack(np.meshgrid(*map(np.arange, grid.density.shape), indexing="ij"), -1)


def test_refining_near_the_surface_changes_nothing_but_the_work():
    """Against brute force: the density on the whole fine grid."""
    lazy, full = Balls((((0.03, 0.01, -0.02), 0.17),)), Balls((((0.03, 0.01, -0.02), 0.17),))
    grid = sample_density(lazy, 64)
    points = torch.from_numpy(all_points(grid).astype(np.float32)).reshape(-1, 3)
    exact = replace(grid, density=full.density(points).numpy().reshape(grid.density.shape))
    assert np.array_equal(grid.density > EMPTY, exact.density > EMPTY)
    ours, theirs = grid.optical_depth(), exact.optical_depth()
    around = (theirs > 0.2) & (theirs < 1.5)
    assert np.abs(ours - theirs)[around].max() < 0.01
    assert sum(lazy.asked) < sum(full.asked) / 2


def test_a_bump_that_touches_no_coarse_point_is_found_beside_the_surface():
    """An ear, say. Against brute force again: no point of the grids of 1/16 and 1/32 m lies inside the bump."""
    balls = (((0.0, 0.0, 0.0), 0.06), ((0.075, 0.0156, 0.0156), 0.025))
    grid = sample_density(Balls(balls, box=((-0.25,) * 3, (0.25,) * 3)), 32)
    inside = [np.linalg.norm(all_points(grid) - centre, axis=-1) < radius for centre, radius in balls]
    assert (inside[1] & ~inside[0]).any()
    assert not (inside[1] & ~inside[0])[::2, ::2, ::2].any()
    assert np.array_equal(grid.density > EMPTY, inside[0] | inside[1])


def test_optical_depth_is_that_of_a_slab():
    """Beer and Lambert: 3 cells of density 10 are in the way at most, from the nearer side."""
    density = np.zeros((9, 30, 30), np.float32)
    density[2:7] = 10.0
    depth = DensityGrid(density, np.zeros(3), 0.1).optical_depth()
    expected = [0.0, 0.0, 0.5, 1.5, 2.5, 1.5, 0.5, 0.0, 0.0]  # trapezoids: half a cell at the edge
    assert depth[:, 15, 15] == pytest.approx(expected, abs=1e-6)


def test_the_grid_covers_a_box_that_is_no_cube():
    grid = sample_density(Balls(box=((0.0, 0.0, 0.0), (0.1, 0.2, 0.3))), 30)
    assert grid.corner == pytest.approx([0, 0, 0])
    assert grid.cell == pytest.approx(0.3 / 32)
    assert all((n - 1) * grid.cell >= side - 1e-9 for n, side in zip(grid.density.shape, (0.1, 0.2, 0.3), strict=True))


def test_nothing_there_is_a_sentence():
    with pytest.raises(PortraitError, match="no surface"):
        mesh.extract(Balls((((2.0, 0.0, 0.0), 0.1),)), 32)


def test_a_python_without_pymcubes_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcubes", None)  # `import mcubes` raises ImportError from here on
    with pytest.raises(PortraitError, match="This Python has no PyMCubes") as caught:
        mesh.extract(Balls(), 32)
    assert caught.value.kind == "engine"


@pytest.mark.parametrize("detail", [0, 15, 513, -4])
def test_detail_has_limits(detail):
    with pytest.raises(UsageError, match="detail"):
        mesh.extract(Balls(), detail)


def test_progress_is_told_and_may_stop_the_work():
    told = []
    mesh.extract(Balls(), 32, report=lambda *step: told.append(step))
    assert {stage for stage, _, _ in told} > {"Finding the surface", "Colouring the surface"}
    assert all(0 <= done <= total for _, done, total in told)

    class Stop(Exception):
        pass

    def stop(stage, done, total):
        raise Stop

    with pytest.raises(Stop):
        mesh.extract(Balls(), 32, report=stop)


# Binding ------------------------------------------------------------------------------------------------------------


def icosphere(radius=0.1, subdivisions=3):
    ball = trimesh.creation.icosphere(subdivisions, radius)
    return ball.vertices.astype(np.float32), ball.faces.astype(np.int32)


def test_points_are_bound_to_the_nearest_point_of_the_surface():
    """Against brute force over all triangles."""
    vertices, faces = icosphere()
    points = np.random.default_rng(0).normal(0, 0.1, (200, 3)).astype(np.float32)
    index, weight = mesh.bind(points, vertices, faces)
    assert index.dtype == np.int32
    assert weight.dtype == np.float32
    assert index.shape == weight.shape == (200, 4)
    bound = (vertices[index] * weight[..., None]).sum(1)
    triangles = vertices[faces].astype(np.float64)
    for point, found in zip(points, bound, strict=True):
        closest = trimesh.triangles.closest_point(triangles, np.repeat(point[None], len(faces), 0))
        assert np.linalg.norm(found - point) == pytest.approx(np.linalg.norm(closest - point, axis=1).min(), abs=1e-6)


def test_weights_sum_to_one_and_a_driver_vertex_is_bound_to_itself():
    vertices, faces = icosphere()
    index, weight = mesh.bind(vertices, vertices, faces)
    assert weight.min() >= 0
    assert np.allclose(weight.sum(1), 1, atol=1e-6)
    assert np.allclose((vertices[index] * weight[..., None]).sum(1), vertices, atol=1e-6)


def test_a_bound_surface_follows_a_moved_driver():
    """Linear precision: an affine motion of the driver moves points of its surface by the same motion."""
    vertices, faces = icosphere()
    on_surface = vertices[faces].mean(1)
    index, weight = mesh.bind(on_surface, vertices, faces)
    motion, shift = np.array([[1, 0.2, 0], [0, 0.9, 0.1], [0.3, 0, 1.1]]), np.array([0.1, -0.2, 0.3])
    moved = ((vertices @ motion.T + shift)[index] * weight[..., None]).sum(1)
    assert np.allclose(moved, on_surface @ motion.T + shift, atol=1e-6)


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def triangle():
    vertices = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.2, 0]], np.float32)
    colours = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0, 0, 1]], np.float32)
    return mesh.ColouredMesh(vertices, np.array([[0, 1, 2]], np.int32), colours)


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_files_keep_geometry_and_colours(tmp_path, triangle, kind):
    path = tmp_path / f"x.{kind}"
    mesh.export(triangle, path)
    read = trimesh.load(path, force="mesh", process=False)
    assert np.allclose(read.vertices, triangle.vertices, atol=1e-6)
    assert read.faces.tolist() == [[0, 1, 2]]
    assert read.visual.vertex_colors[:, :3].tolist() == [[255, 0, 0], [128] * 3, [0, 0, 255]]


def test_a_glb_has_linear_colours_and_is_no_metal(tmp_path, triangle):
    """Read by hand, from the glTF 2.0 specification."""
    path = tmp_path / "x.glb"
    mesh.export(triangle, path)
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    tree, binary = json.loads(data[20 : 20 + length]), data[28 + length :]

    def values(name, dtype, width):
        accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][name]]
        view = tree["bufferViews"][accessor["bufferView"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        return np.frombuffer(binary, dtype, accessor["count"] * width, start).reshape(-1, width)

    assert values("POSITION", "<f4", 3) == pytest.approx(triangle.vertices)
    # 0.5 in sRGB is ((0.5 + 0.055) / 1.055)^2.4 = 0.21404 of the light: 54.58 of 255
    assert values("COLOR_0", "u1", 4).tolist() == [[255, 0, 0, 255], [55, 55, 55, 255], [0, 0, 255, 255]]
    assert tree["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_other_kinds_are_refused(tmp_path, triangle):
    with pytest.raises(UsageError, match="stl"):
        mesh.export(triangle, tmp_path / "x.stl")
    assert list(tmp_path.iterdir()) == []
