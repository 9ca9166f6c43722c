# SPDX-License-Identifier: Apache-2.0
"""What a camera sees of balls, boards and strands, against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from neural_core.records import BACKGROUND, CLOTH, GLASSES, HAIR, HEAD_TO_MODEL, SKIN
from tests.figures import BALL, ball, board, figure_of, tuft
from training.synthetic.sight import SAMPLES, Sight, camera_rays, ribbons, see, simplified, strand_directions, visible
from training.synthetic.views import View, framed, intrinsics, orbit

FRONT = framed(0.0, 0.0)
SIZE = 64


def covered(sight: Sight) -> np.ndarray:
    """Share of each pixel's 3 x 3 samples that show something."""
    side = len(sight.triangle) // 3
    return (sight.triangle >= 0).reshape(side, 3, side, 3).mean((1, 3))


def ray_ball(view, size):
    """Distance [size, size] from the camera to the ball along each pixel's ray, model units; infinite past it."""
    directions = camera_rays(view, size) @ view.cam2world[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origin, radius = view.cam2world[:3, 3], BALL * HEAD_TO_MODEL
    along = directions @ origin
    inside = along**2 - (origin @ origin - radius**2)
    return np.where(inside > 0, -along - np.sqrt(np.maximum(inside, 0)), np.inf)


@pytest.mark.parametrize("view", [FRONT, framed(50.0, 15.0), View(orbit(-30, 5), intrinsics(8.0, 0.3, 0.6))])
def test_depth_along_the_rays_of_a_ball(view):
    sight = see(figure_of(ball()), view, SIZE)
    expected = ray_ball(view, SIZE)
    assert ((sight.ray_depth > 0) == np.isfinite(expected)).mean() > 0.995  # the ball is made of flat triangles
    both = (sight.ray_depth > 0) & np.isfinite(expected)
    assert both.sum() > 500
    assert np.abs(sight.ray_depth - expected)[both].max() < 0.012
    assert np.median(np.abs(sight.ray_depth - expected)[both]) < 2e-4


def test_a_point_is_drawn_where_the_view_projects_it():
    view = framed(25.0, -8.0)
    place = np.array([0.03, -0.05, 0.06])
    sight = see(figure_of(ball(place, 0.004)), view, 128)
    rows, columns = np.nonzero(covered(sight) > 0.5)
    u, v = view.project(place[None])[0]
    assert abs((columns.mean() + 0.5) / 128 - u) < 0.002
    assert abs((rows.mean() + 0.5) / 128 - v) < 0.002


def test_alpha_is_the_share_of_a_pixel_that_is_covered():
    # A board whose right edge is a third of a pixel past a pixel's left border.
    width = 1 / FRONT.intrinsics[0, 0] * 2.7 / HEAD_TO_MODEL  # metres that the picture shows at depth 0
    edge = (40 + 1 / 3 + 0.01) / SIZE - 0.5
    sight = see(figure_of(board(-1.0, edge * width, -1.0, 1.0, 0.0)), FRONT, SIZE)
    np.testing.assert_allclose(covered(sight)[:, 39:42], np.tile([1.0, 1 / 3, 0.0], (SIZE, 1)), atol=1e-6)
    assert (sight.regions[:, 39] == SKIN).all()
    assert (sight.regions[:, 40] == BACKGROUND).all()  # more than half of it shows nothing


def test_regions_by_majority_and_by_face():
    near, far = board(-0.05, 0.0, -0.05, 0.05, 0.1, CLOTH), board(-0.1, 0.1, -0.1, 0.1, 0.0, SKIN)
    mixed = replace(far, region=np.array([SKIN, HAIR], np.uint8))
    sight = see(figure_of(near, mixed), FRONT, SIZE)
    found = sight.regions
    for point, expected in (([-0.02, 0.0, 0.1], CLOTH), ([0.05, -0.08, 0], SKIN), ([0.05, 0.08, 0], HAIR)):
        u, v = FRONT.project(np.array([point]))[0]
        assert found[int(v * SIZE), int(u * SIZE)] == expected
    assert found[0, 0] == BACKGROUND
    assert ((found == BACKGROUND) == (covered(sight) < 0.5)).all()


def test_what_is_in_front_of_a_point_hides_it():
    front, back, side = np.array([[0.0, 0.0, BALL], [0.0, 0.0, -BALL], [0.05, 0.0, np.sqrt(BALL**2 - 0.05**2)]])
    points = np.stack([front, back, side])

    def seen(*things):
        return visible(figure_of(ball(), *things), FRONT, points).tolist()

    cover = (-0.02, 0.02, -0.02, 0.02, 0.1)
    assert seen() == [True, False, True]
    assert seen(board(*cover, GLASSES, "frame")) == [False, False, True]
    assert seen(board(*cover, GLASSES, "lens")) == [True, False, True]
    assert seen(board(*cover, CLOTH, "cloth")) == [False, False, True]
    assert seen(tuft(*cover, region=HAIR)) == [False, False, True]
    assert seen(tuft(*cover, region=SKIN)) == [True, False, True]  # brows and lashes
    assert seen(board(*cover[:4], -0.2, GLASSES, "frame")) == [True, False, True]  # behind the head
    assert visible(figure_of(ball()), framed(180.0, 0.0), points).tolist() == [False, True, False]
    aside = View(FRONT.cam2world, intrinsics(4.2647, 2.0, 0.5))
    assert not visible(figure_of(ball()), aside, points).any()


def test_points_just_on_a_slanted_surface_are_visible():
    """Every point that faces the camera at all, up to 80 degrees."""
    view = framed(0.0, 0.0)
    eye = view.cam2world[:3, 3] / HEAD_TO_MODEL
    rng = np.random.default_rng(0)
    points = rng.standard_normal((500, 3))
    points *= BALL / np.linalg.norm(points, axis=1, keepdims=True)
    towards = (eye - points) / np.linalg.norm(eye - points, axis=1, keepdims=True)
    cosine = (points * towards).sum(1) / BALL
    found = visible(figure_of(ball()), view, points)
    assert found[cosine > 0.17].all()
    assert not found[cosine < -0.17].any()


def test_clear_things_are_looked_through():
    lens = board(-0.02, 0.02, -0.02, 0.02, 0.12, GLASSES, "lens")
    with_lens, without = see(figure_of(ball(), lens), FRONT, SIZE), see(figure_of(ball()), FRONT, SIZE)
    np.testing.assert_array_equal(with_lens.ray_depth, without.ray_depth)
    np.testing.assert_array_equal(with_lens.regions, without.regions)
    assert with_lens.through is not None
    assert (with_lens.through.triangle >= 0).sum() > 100
    assert without.through is None


def test_ribbons_face_the_eye_and_are_as_wide_as_the_strand():
    rng = np.random.default_rng(1)
    fibres = tuft(-0.1, 0.1, -0.1, 0.1, 0.0)
    points = fibres.points + 0.01 * rng.standard_normal(fibres.points.shape)
    fibres, eye = replace(fibres, points=points), np.array([0.3, 0.2, 1.3])
    vertices, faces = ribbons(fibres, eye)
    count, length = fibres.radii.shape
    assert faces.shape == (count * (length - 1) * 2, 3)
    sides = vertices.reshape(count, length, 2, 3)
    across = sides[:, :, 1] - sides[:, :, 0]
    np.testing.assert_allclose(sides.mean(2), points, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(across, axis=-1), 2 * fibres.radii, rtol=1e-6)
    np.testing.assert_allclose((across * strand_directions(points)).sum(-1), 0, atol=1e-12)
    np.testing.assert_allclose((across * (eye - points)).sum(-1), 0, atol=1e-12)
    # Two triangles a segment: each of the four sides' ends is used, the inner ones by three triangles on average.
    assert np.bincount(faces.ravel(), minlength=len(vertices)).min() >= 1


def test_simplified_strands_stay_where_they_are():
    """Arcs of 30 degrees: n chords of an arc of radius r are off by r (1 - cos(15 degrees / n))."""
    radius, angles = 0.2, np.linspace(0, np.pi / 6, 36)
    arc = np.stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles], 1)
    points = np.tile(arc, (60, 1, 1)) + np.arange(60)[:, None, None] * [0, 0, 0.001]
    fibres = replace(tuft(0, 1, 0, 1, 0.0), points=points, radii=np.full((60, 36), 1e-4), root_colour=points[:, 0])
    for tolerance in (0.003, 0.0005, 0.0001):
        found = simplified(fibres, tolerance)
        segments = found.points.shape[1] - 1
        assert radius * (1 - np.cos(np.pi / 12 / segments)) <= 1.2 * tolerance
        assert segments <= 2.5 * np.sqrt(radius * (np.pi / 12) ** 2 / 2 / tolerance) + 2
        np.testing.assert_array_equal(found.points[:, [0, -1]], points[:, [0, -1]])
    fewer = simplified(fibres, 0.003, every=3)
    assert len(fewer.points) == len(fewer.root_colour) == 20
    assert fewer.radii.max() == pytest.approx(3e-4)
    assert simplified(fibres, 0.0).points.shape == points.shape


def test_nobody_there():
    sight = see(figure_of(), FRONT, 8)
    assert sight.triangle.shape == (8 * SAMPLES, 8 * SAMPLES)
    assert (covered(sight) == 0).all()
    assert (sight.regions == BACKGROUND).all()
    assert (sight.ray_depth == 0).all()
