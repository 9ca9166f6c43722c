# SPDX-License-Identifier: Apache-2.0
"""Chamfer distance and warping error of two views of a sphere, whose every pixel is known on paper.

The sphere is rendered here, in numpy, from the quadratic equation; nothing of the project's rays is used.
"""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from neural_core.cameras import Camera, orbit
from training.metrics.depth_chamfer import depth_chamfer
from training.metrics.views import Views
from training.metrics.warping import warping_error

RADIUS = 0.1
DISTANCE, FOCAL = 1.35, 4.2647  # the sphere is 0.63 picture widths wide


def first_hit(origin, directions, radius=RADIUS):
    """Distances to the sphere about the origin along unit directions [..., 3]; nan where they miss it."""
    along = directions @ origin
    under = along**2 - origin @ origin + radius**2
    return -along - np.sqrt(np.where(under > 0, under, np.nan))


def seen_colour(origin, directions, radius=RADIUS):
    """Colour [..., 3] in 0..1 along rays: bands on the sphere, different for each channel.

    Past its rim the bands go on, where the ray is nearest to the sphere: no pixel mixes the sphere with anything else.
    """
    depth = first_hit(origin, directions, radius)
    points = origin + np.where(np.isnan(depth), -(directions @ origin), depth)[..., None] * directions
    return texture(points)


def texture(points):
    """Colour of points [..., 3] by their direction from the middle of the sphere."""
    unit = points / np.linalg.norm(points, axis=-1, keepdims=True)
    return 0.5 + 0.3 * np.sin(3 * unit + [0.0, 1.0, 2.0])


def rays(camera, size):
    """Origin [3] and unit directions [size, size, 3] of one camera, float64."""
    pose, intrinsics = (t[0].double().numpy() for t in (camera.cam2world, camera.intrinsics))
    steps = (np.arange(size) + 0.5) / size
    pixels = np.stack([*np.meshgrid(steps, steps), np.ones((size, size))], -1)
    directions = pixels @ np.linalg.inv(intrinsics).T @ pose[:3, :3].T
    return pose[:3, 3], directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def look(yaw, size, radius=RADIUS, focal=FOCAL):
    """One view of the sphere, float64."""
    camera = orbit(float(yaw), radius=DISTANCE, focal=focal).to(torch.float64)
    origin, directions = rays(camera, size)
    depth = first_hit(origin, directions, radius)
    depth = torch.from_numpy(depth)[None]
    colour = seen_colour(origin, directions, radius)
    return Views(camera, depth, ~depth.isnan(), torch.from_numpy(colour).movedim(-1, 0)[None])


def points_of(camera, depth):
    """The points [p, 3] of a depth map that has nan for holes."""
    origin, directions = rays(camera, depth.shape[-1])
    points = origin + depth[0].numpy()[..., None] * directions
    return points[~np.isnan(points[..., 0])]


def test_concentric_spheres_are_their_difference_apart():
    apart = 0.2 * RADIUS  # four pixels of 64; along the surface no point is further than one from the nearest
    found = depth_chamfer(look(0, 64), look(30, 64, RADIUS + apart), unit=1.0)
    assert found.item() == pytest.approx(2 * apart**2, rel=0.03)
    assert found.item() > 2 * apart**2


def test_chamfer_distance_of_one_surface_is_below_the_spacing_of_its_points():
    coarse, fine = (depth_chamfer(look(0, size), look(30, size), unit=1.0, size=size).item() for size in (32, 64))
    spacing = DISTANCE / FOCAL / 32
    assert 0 < coarse < spacing**2 / 2  # nobody in a square grid is further than half its diagonal from a point
    assert 0 < fine < spacing**2 / 8


def test_chamfer_distance_is_that_of_a_search_tree():
    first, second = look(0, 48), look(50, 48, 0.9 * RADIUS)
    a, b = points_of(first.camera, first.depth), points_of(second.camera, second.depth)
    expected = sum(np.median(KDTree(one).query(other)[0] ** 2) for one, other in ((a, b), (b, a)))
    found = depth_chamfer(first, second, unit=0.05, size=48)
    assert found.item() == pytest.approx(expected / 0.05**2, rel=1e-9)
    single = [Views(v.camera.to(torch.float32), v.depth.float(), v.solid, v.picture.float()) for v in (first, second)]
    assert depth_chamfer(*single, unit=0.05, size=48).item() == pytest.approx(found.item(), rel=1e-3)


def test_every_person_is_compared_alone_and_nothing_has_no_distance():
    views = [look(0, 32), look(30, 32), look(30, 32, 0.8 * RADIUS)]
    nothing = dataclasses.replace(views[0], solid=torch.zeros_like(views[0].solid))
    together = depth_chamfer(stacked(views[0], views[0], nothing), stacked(views[1], views[2], views[1]), 1.0, 32)
    alone = [depth_chamfer(views[0], other, 1.0, 32).item() for other in views[1:]]
    assert together[:2].tolist() == pytest.approx(alone)
    assert together[2].isnan()


def stacked(*views):
    """One batch of several views."""
    camera = Camera(*(torch.cat([getattr(v.camera, name) for v in views]) for name in ("cam2world", "intrinsics")))
    return Views(camera, *(torch.cat([getattr(v, name) for v in views]) for name in ("depth", "solid", "picture")))


def test_points_are_not_mixed_with_holes():
    view = look(20, 96)
    points, solid = view.surface(64)
    on_sphere = points[solid].norm(dim=1)
    assert on_sphere.max() < RADIUS * (1 + 1e-9)  # a mixture of points of a sphere lies within it
    assert on_sphere.min() > 0.98 * RADIUS
    silhouette = np.pi * RADIUS**2 / (1 - (RADIUS / DISTANCE) ** 2) * (FOCAL / DISTANCE) ** 2
    assert solid.double().mean().item() == pytest.approx(silhouette, rel=0.06)  # the rim is lost


def warped_by_hand(front, side, lift, visible_only=False):
    """WE from the formulas: the front picture's value is that of the ray, not of a pixel; the texture is exact."""
    origin, directions = rays(side.camera, 256)
    depth = side.depth[0].numpy()
    points = (origin + lift * depth[..., None] * directions)[~np.isnan(depth)]
    colour = texture((origin + depth[..., None] * directions)[~np.isnan(depth)])
    pose, intrinsics = (t[0].double().numpy() for t in (front.camera.cam2world, front.camera.intrinsics))
    in_picture = (points - pose[:3, 3]) @ pose[:3, :3] @ intrinsics.T
    inside = (np.abs(in_picture[:, :2] / in_picture[:, 2:] - 0.5) <= 0.5).all(1)
    towards = points - pose[:3, 3]
    reach = np.linalg.norm(towards, axis=1, keepdims=True)
    towards /= reach
    counted = inside & ~(visible_only & (reach[:, 0] > first_hit(pose[:3, 3], towards) + 1e-9))
    return 255 * np.abs(seen_colour(pose[:3, 3], towards) - colour)[counted].mean()


def test_a_sphere_warped_by_its_true_depth_errs_only_where_the_front_does_not_see():
    front, side = look(0, 256), look(30, 256)
    assert warped_by_hand(front, side, 1.0, visible_only=True) < 1e-9
    expected = warped_by_hand(front, side, 1.0)
    assert expected > 0.9
    assert warping_error(front, side).item() == pytest.approx(expected, abs=0.1)  # bands are blurred at the rim


def test_wrong_depth_costs_what_the_texture_moves():
    front, side = look(0, 256), look(30, 256)
    for lift in (0.98, 1.03):
        wrong = dataclasses.replace(side, depth=lift * side.depth)
        expected = warped_by_hand(front, side, lift)
        assert expected > 5
        assert warping_error(front, wrong).item() == pytest.approx(expected, rel=2e-3)


def test_what_falls_outside_the_front_picture_does_not_count():
    near = look(0, 256, focal=2.2 * FOCAL)  # shows the middle of the sphere
    side = look(30, 256)
    expected = warped_by_hand(near, side, 1.03)
    wrong = dataclasses.replace(side, depth=1.03 * side.depth)
    assert warping_error(near, wrong).item() == pytest.approx(expected, rel=2e-3)
    away = dataclasses.replace(near, camera=orbit(0.0, radius=DISTANCE, target=(1.0, 0.0, 0.0)).to(torch.float64))
    assert warping_error(away, side).isnan().all()


def test_a_change_of_colour_is_counted_in_levels():
    front, side = look(0, 64), look(30, 64)
    front, side = (
        dataclasses.replace(v, picture=torch.full_like(v.picture, c)) for v, c in ((front, 0.3), (side, 0.5))
    )
    assert warping_error(front, side).item() == pytest.approx(51)
