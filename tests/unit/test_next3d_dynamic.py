# SPDX-License-Identifier: Apache-2.0
"""The mesh on the planes: what is drawn must be found again at the surface, in the plane that is read there."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from neural_core.planes import CORRECTED_AXES, Triplane
from neural_core.systems.next3d.config import MeshConfig
from neural_core.systems.next3d.dynamic import FRONT, LEFT, RIGHT, TOP, FaceTopology, draw, dynamic_planes, fill_holes

# A box without any symmetry, in metres; its texture holds the place of every point of its surface.
LOW, HIGH = torch.tensor([-0.06, -0.03, -0.07]), torch.tensor([0.09, 0.1, 0.04])
MESH = MeshConfig(scale=5.0, shift=(0.01, 0.02, -0.03), resolution=128, fill_mouth=False)
BOX = 2.0  # a plane from -1 to 1
TILE, INSET = 32, 4  # texels of a side's tile, and between its rim and the side's


def textured_box():
    """Return vertices [1, 24, 3], topology, and a texture [1, 3, 64, 96] of the places in the drawing's coordinates."""
    low, high = ((corner + torch.tensor(MESH.shift)) * MESH.scale for corner in (LOW, HIGH))
    vertices, faces, uv = [], [], []
    texture = torch.zeros(3, 2 * TILE, 3 * TILE)
    for side, (axis, end) in enumerate(itertools.product(range(3), (0, 1))):
        first, second = ((axis + 1) % 3, (axis + 2) % 3)  # first x second = axis
        tile_row, tile_column = divmod(side, 3)
        # texel centres of the tile in shares of the side: 0 at INSET texels from the rim, 1 at TILE - INSET
        share = (torch.arange(TILE) + 0.5 - INSET) / (TILE - 2 * INSET)
        place = torch.zeros(3, TILE, TILE)
        place[first] = (low[first] + (high[first] - low[first]) * share)[None, :]
        place[second] = (low[second] + (high[second] - low[second]) * share)[:, None]
        place[axis] = (low, high)[end][axis]
        rows, columns = (
            slice(tile_row * TILE, (tile_row + 1) * TILE),
            slice(tile_column * TILE, (tile_column + 1) * TILE),
        )
        texture[:, rows, columns] = place
        base = len(vertices)
        for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = torch.empty(3)
            corner[axis] = (LOW, HIGH)[end][axis]
            corner[first], corner[second] = (LOW, HIGH)[a][first], (LOW, HIGH)[b][second]
            vertices.append(corner)
            column, row = (torch.tensor([a, b]) * (TILE - 2 * INSET) + INSET).tolist()
            uv.append([(column + tile_column * TILE) / (3 * TILE) * 2 - 1, (row + tile_row * TILE) / TILE - 1])
        quads = [[0, 1, 2], [0, 2, 3]] if end else [[0, 2, 1], [0, 3, 2]]  # counter-clockwise seen from outside
        faces += [[base + i for i in triangle] for triangle in quads]
    faces = torch.tensor(faces)
    return torch.stack(vertices)[None], FaceTopology(faces, torch.tensor(uv)[faces]), texture[None]


def places_on_the_box(axis, end, count=200):
    """Return places on a side, in the drawing's coordinates, a little away from its rim."""
    generator = torch.Generator().manual_seed(axis * 2 + end)
    low, high = ((corner + torch.tensor(MESH.shift)) * MESH.scale for corner in (LOW, HIGH))
    margin = 3 / MESH.resolution
    places = low + margin + (high - low - 2 * margin) * torch.rand(count, 3, generator=generator)
    places[:, axis] = (low, high)[end][axis]
    return places


@pytest.mark.parametrize("axes", [CORRECTED_AXES, ("xy", "zx", "yz")])
def test_the_surface_is_found_where_it_was_drawn(axes):
    vertices, topology, texture = textured_box()
    drawn = dynamic_planes(texture, vertices, topology, MESH, "correct", axes)
    planes = Triplane(drawn.features, axes, BOX)
    middle = ((LOW + HIGH) / 2 + torch.tensor(MESH.shift)) * MESH.scale
    for slot, axis in ((0, 2), (1, 1), (2, 0)):  # planes of x and y, x and z, y and z see the sides across from them
        places = places_on_the_box(axis, 1)
        found = planes.sample(places[None])[0, slot]
        expected = places.clone()
        if axis == 0:  # both profiles are drawn into one plane: of x the mean is left
            expected[:, 0] = middle[0]
        assert_close(found, expected, atol=2e-5, rtol=0)
    covered = Triplane(drawn.coverage, axes, BOX).sample(places[None])[0, 2]
    assert_close(covered, torch.ones_like(covered))


def test_the_published_side_and_top_are_found_nowhere():
    """What the published code draws from the side is not what its plane reads; from the front it is."""
    vertices, topology, texture = textured_box()
    mesh = MeshConfig(scale=MESH.scale, shift=(0.0, 0.0, 0.0), resolution=MESH.resolution, fill_mouth=False)
    texture = texture - (torch.tensor(MESH.shift) * MESH.scale)[:, None, None]
    drawn = dynamic_planes(texture, vertices, topology, mesh, "repo", CORRECTED_AXES)
    planes = Triplane(drawn.features, CORRECTED_AXES, BOX)
    for slot, axis, right in ((0, 2, True), (1, 1, False), (2, 0, False)):
        places = places_on_the_box(axis, 1) - torch.tensor(MESH.shift) * MESH.scale
        found = planes.sample(places[None])[0, slot]
        seen = [i for i in range(3) if i != axis]
        assert torch.allclose(found[:, seen], places[:, seen], atol=1e-2) == right


def test_each_profile_is_drawn_as_the_plane_is_read():
    vertices, topology, texture = textured_box()
    places = (vertices + torch.tensor(MESH.shift)) * MESH.scale
    for view, end in ((LEFT, 1), (RIGHT, 0)):
        drawing = draw(texture, view.turn(places), topology, view, MESH.resolution)
        on_side = places_on_the_box(0, end)
        plane = Triplane(drawing.features[:, None], ("zy",), BOX)
        assert_close(plane.sample(on_side[None])[0, 0], on_side, atol=2e-5, rtol=0)
    assert (LEFT.mirrored, RIGHT.mirrored, FRONT.mirrored, TOP.mirrored) == (False, True, True, False)


def ball(count=48):
    """Return an ellipsoid's vertices [1, v, 3] and topology, half axes (0.1, 0.15, 0.12), all at one texel."""
    up = torch.linspace(0, torch.pi, count)
    around = torch.linspace(0, 2 * torch.pi, 2 * count)
    up, around = torch.meshgrid(up, around, indexing="ij")
    places = torch.stack([up.sin() * around.sin() * 0.1, up.cos() * 0.15, up.sin() * around.cos() * 0.12], -1)
    index = torch.arange(up.numel()).reshape(up.shape)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    return places.reshape(1, -1, 3), FaceTopology(faces, torch.zeros(len(faces), 3, 2))


def test_coverage_is_the_silhouette():
    vertices, topology = ball()
    mesh = MeshConfig(shift=(0.0, 0.0, 0.0), resolution=96, fill_mouth=False)
    drawn = dynamic_planes(torch.ones(1, 1, 4, 4), vertices, topology, mesh, "correct", CORRECTED_AXES)
    half = torch.tensor([0.1, 0.15, 0.12]) * mesh.scale
    pixels = (2 * torch.arange(96) + 1) / 96 - 1
    for slot, pair in enumerate(CORRECTED_AXES):
        column, row = ("xyz".index(letter) for letter in pair)
        inside = (pixels[None, :] / half[column]) ** 2 + (pixels[:, None] / half[row]) ** 2
        found = drawn.coverage[0, slot, 0]
        assert (found[inside < 0.9] == 1).all()
        assert (found[inside > 1] == 0).all()


def test_a_mask_decides_what_counts_and_profiles_are_weighed_by_it():
    """On the box a mask of 1 on one profile, 0.25 on the other: the side is their weighted mean."""
    vertices, topology, texture = textured_box()
    mask = torch.ones(1, 1, 2 * TILE, 3 * TILE)
    mask[..., :TILE, :TILE] = 0.25  # the tile of the side towards -x
    masked = FaceTopology(topology.faces, topology.corner_uv, mask)
    drawn = dynamic_planes(texture, vertices, masked, MESH, "correct", CORRECTED_AXES)
    places = places_on_the_box(0, 1)
    found = Triplane(drawn.features, CORRECTED_AXES, BOX).sample(places[None])[0, 2, :, 0]
    low, high = ((LOW, HIGH)[end][0] + MESH.shift[0] for end in (0, 1))
    assert_close(found, ((low * 0.25 + high) / 1.25 * MESH.scale).expand(len(found)), atol=2e-5, rtol=0)
    assert drawn.coverage[:, 2].max() == 1


def test_the_texture_learns_and_places_are_constants():
    vertices, topology, texture = textured_box()
    texture, vertices = texture.requires_grad_(), vertices.requires_grad_()
    drawn = dynamic_planes(texture, vertices, topology, MESH, "correct", CORRECTED_AXES)
    (drawn.features * drawn.coverage).sum().backward()
    assert vertices.grad is None
    learned = texture.grad[0, 0].abs() > 0
    middles = learned[TILE // 2 :: TILE, TILE // 2 :: TILE]
    # sides in the order -x, +x, -y / +y, -z, +z: nobody sees the box from below or behind
    assert middles.tolist() == [[True, True, False], [True, False, True]]


def walk(coverage):
    """Fill holes by walking from pixel to pixel."""
    size = len(coverage)
    reached, todo = set(), [(0, 0)]
    while todo:
        row, column = todo.pop()
        inside = 0 <= row < size and 0 <= column < size
        if inside and (row, column) not in reached and coverage[row, column] < 1:
            reached.add((row, column))
            todo += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    filled = torch.ones_like(coverage)
    for row, column in reached:
        filled[row, column] = coverage[row, column]
    return filled


def test_holes_are_what_no_walk_reaches():
    generator = torch.Generator().manual_seed(1)
    pictures = [(torch.rand(20, 20, generator=generator) < share).float() for share in (0.2, 0.35, 0.45, 0.6)]
    for picture in pictures:
        picture[0, 0] = 0
        half = torch.rand(20, 20, generator=generator)
        picture[(picture == 0) & (half < 0.3)] = 0.4  # partly covered pixels do not stop the walk
    maze = torch.zeros(20, 20)  # a long way round many bends
    maze[2::4, :-1], maze[4::4, 1:] = 1, 1
    pictures.append(maze)
    found = fill_holes(torch.stack(pictures)[:, None])
    for picture, result in zip(pictures, found[:, 0], strict=True):
        assert torch.equal(result, walk(picture))
    assert (found > 0).sum() > (torch.stack(pictures) > 0).sum()


def test_a_first_pixel_that_is_covered_fills_everything():
    assert (fill_holes(torch.ones(1, 1, 8, 8)) == 1).all()


def test_only_the_front_is_filled():
    """A tube along z has a hole in the front view; from the side there is none, and from above neither."""
    around = torch.linspace(0, 2 * torch.pi, 33)[:-1]
    ring = torch.stack([around.cos(), around.sin()], -1)
    outer, inner = 0.12 * ring, 0.06 * ring
    corners = [torch.cat([part, torch.full((32, 1), z)], 1) for part, z in ((outer, 0.1), (inner, 0.1), (outer, -0.1))]
    vertices = torch.cat(corners)[None]
    i, j = torch.arange(32), (torch.arange(32) + 1) % 32
    front = [torch.stack([i, j, j + 32], 1), torch.stack([i, j + 32, i + 32], 1)]
    mantle = [torch.stack([i, i + 64, j + 64], 1), torch.stack([i, j + 64, j], 1)]
    faces = torch.cat(front + mantle)
    topology = FaceTopology(faces, torch.zeros(len(faces), 3, 2))
    texture = torch.ones(1, 1, 4, 4)
    coverages = {}
    for fill in (False, True):
        mesh = MeshConfig(shift=(0.0, 0.0, 0.0), resolution=64, fill_mouth=fill)
        coverages[fill] = dynamic_planes(texture, vertices, topology, mesh, "correct", CORRECTED_AXES).coverage[0, :, 0]
    middle = slice(30, 34)
    assert (coverages[False][0, middle, middle] == 0).all()
    assert (coverages[True][0, middle, middle] == 1).all()
    assert torch.equal(coverages[False][1:], coverages[True][1:])
    assert coverages[False][1:].any()
