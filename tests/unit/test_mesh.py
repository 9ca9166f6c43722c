# SPDX-License-Identifier: Apache-2.0
"""Surfaces of fields whose shape is known on paper."""

import json
import math
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import trimesh

from neural_core import mesh
from neural_core.errors import PortraitError, UsageError

LEVEL = mesh.DENSITY_LEVEL


@dataclass
class Balls:
    """Density falls off linearly across the surface of balls; colour is the position."""

    balls: tuple = (((0.0, 0.0, 0.0), 0.15),)
    box: tuple = ((-0.25, -0.3, -0.25), (0.25, 0.25, 0.25))
    asked: list = field(default_factory=list)

    def density(self, points):
        self.asked.append(len(points))
        depth = [radius - (points - torch.tensor(centre)).norm(dim=1) for centre, radius in self.balls]
        return torch.relu(torch.stack(depth).amax(0) * 4000 + LEVEL)

    def colour(self, points):
        return (points + 0.5).clamp(0, 1)


def as_trimesh(surface):
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def test_a_ball_has_the_volume_and_area_of_a_ball():
    surface = mesh.extract(Balls(), 64)
    found = as_trimesh(surface)
    assert found.is_watertight
    assert found.volume == pytest.approx(4 / 3 * math.pi * 0.15**3, rel=0.005)  # positive: faces look outwards
    assert found.area == pytest.approx(4 * math.pi * 0.15**2, rel=0.005)
    assert np.abs(np.linalg.norm(surface.vertices, axis=1) - 0.15).max() < 0.001


def test_a_ball_off_the_centre_is_where_it_is():
    surface = mesh.extract(Balls((((0.05, -0.1, 0.08), 0.1),)), 64)
    assert as_trimesh(surface).center_mass == pytest.approx([0.05, -0.1, 0.08], abs=0.0005)


def test_types_and_colours():
    surface = mesh.extract(Balls(), 32)
    assert (surface.vertices.dtype, surface.faces.dtype, surface.colours.dtype) == (np.float32, np.int32, np.float32)
    assert np.allclose(surface.colours, surface.vertices + 0.5, atol=1e-6)


def test_floating_specks_are_dropped():
    balls = (((0.0, 0.0, 0.0), 0.1), ((0.2, 0.2, 0.2), 0.03))
    assert as_trimesh(mesh.extract(Balls(balls[:1]), 32)).volume == pytest.approx(
        as_trimesh(mesh.extract(Balls(balls), 32)).volume
    )


def test_a_surface_that_leaves_the_box_is_closed_by_its_side():
    surface = mesh.extract(Balls((((0.0, -0.3, 0.0), 0.15),)), 64)
    found = as_trimesh(surface)
    assert found.is_watertight
    assert surface.vertices[:, 1].min() == pytest.approx(-0.3, abs=1e-6)
    assert found.volume == pytest.approx(2 / 3 * math.pi * 0.15**3, rel=0.02)


def test_refining_near_the_surface_changes_nothing_but_the_work():
    """Against brute force: the density on the whole fine grid."""
    lazy, full = Balls((((0.03, 0.01, -0.02), 0.17),)), Balls((((0.03, 0.01, -0.02), 0.17),))
    density, corner, cell = mesh.sample_density(lazy, 64, LEVEL)
    points = corner + cell * np.stack(np.meshgrid(*map(np.arange, density.shape), indexing="ij"), -1).reshape(-1, 3)
    exact = full.density(torch.from_numpy(points.astype(np.float32))).numpy().reshape(density.shape)
    assert np.array_equal(density > LEVEL, exact > LEVEL)
    neighbours = np.zeros_like(exact, bool)
    for axis in range(3):
        a, b = (np.moveaxis(exact > LEVEL, axis, 0)[part] for part in (slice(1, None), slice(None, -1)))
        crossing = np.moveaxis(neighbours, axis, 0)
        crossing[1:] |= a != b
        crossing[:-1] |= a != b
    assert np.abs(density - exact)[neighbours].max() < 1e-3  # exact wherever marching cubes interpolates
    assert sum(lazy.asked) < sum(full.asked) / 3


def test_a_bump_that_touches_no_coarse_point_is_found_beside_the_surface():
    """An ear, say. Against brute force again: no point of the grids of 1/16 and 1/32 m lies inside the bump."""
    balls = (((0.0, 0.0, 0.0), 0.06), ((0.075, 0.0156, 0.0156), 0.025))
    density, corner, cell = mesh.sample_density(Balls(balls, box=((-0.25,) * 3, (0.25,) * 3)), 32, LEVEL)
    points = corner + cell * np.stack(np.meshgrid(*map(np.arange, density.shape), indexing="ij"), -1)
    inside = [np.linalg.norm(points - centre, axis=-1) < radius for centre, radius in balls]
    assert (inside[1] & ~inside[0]).any()
    assert not (inside[1] & ~inside[0])[::2, ::2, ::2].any()
    assert np.array_equal(density > LEVEL, inside[0] | inside[1])


def test_the_grid_covers_a_box_that_is_no_cube():
    density, corner, cell = mesh.sample_density(Balls(box=((0.0, 0.0, 0.0), (0.1, 0.2, 0.3))), 30, LEVEL)
    assert corner == pytest.approx([0, 0, 0])
    assert cell == pytest.approx(0.3 / 32)
    assert all((n - 1) * cell >= side - 1e-9 for n, side in zip(density.shape, (0.1, 0.2, 0.3), strict=True))


def test_nothing_there_is_a_sentence():
    with pytest.raises(PortraitError, match="no surface"):
        mesh.extract(Balls((((2.0, 0.0, 0.0), 0.1),)), 32)


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
