# SPDX-License-Identifier: Apache-2.0
"""Where cameras stand and what they see, in numbers that can be checked by hand."""

import math

import pytest
import torch

from neural_core.cameras import (
    EG3D_FOCAL,
    Camera,
    eg3d_cam2world,
    eg3d_focal_from_fov,
    focal_from_fov,
    intrinsics_from_focal,
    look_at,
    orbit,
)
from neural_core.rendering.rays import camera_rays, pixel_centres


def seen(camera, *point):
    """Return (u, v) of a point."""
    return camera.project(torch.tensor([[point]]))[0, 0].tolist()


def test_frontal_camera_looks_down_z():
    camera = orbit(radius=2.0)
    expected = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2], [0, 0, 0, 1]])
    torch.testing.assert_close(camera.cam2world[0], expected)


def test_what_is_left_right_up_and_down():
    """The subject's left (+X) is on the picture's right, up (+Y) is up: a photograph, no mirror."""
    camera = orbit(radius=2.0, focal=2.0)
    assert seen(camera, 0.0, 0.0, 0.0) == pytest.approx([0.5, 0.5])
    assert seen(camera, 0.1, 0.0, 0.0) == pytest.approx([0.6, 0.5])
    assert seen(camera, 0.0, 0.1, 0.0) == pytest.approx([0.5, 0.4])


@pytest.mark.parametrize(
    ("yaw", "pitch", "place"),
    [(0.0, 0.0, (0, 0, 3)), (90.0, 0.0, (3, 0, 0)), (-90.0, 0.0, (-3, 0, 0)), (180.0, 0.0, (0, 0, -3)),
     (0.0, 30.0, (0, 1.5, 3 * math.cos(math.pi / 6))), (45.0, 0.0, (3 * math.sqrt(0.5), 0, 3 * math.sqrt(0.5)))],
)  # fmt: skip
def test_orbit(yaw, pitch, place):
    """Positive yaw goes to the subject's left, positive pitch up."""
    target = (0.1, -0.2, 0.3)
    camera = orbit(yaw, pitch, 3.0, target)
    position = camera.cam2world[0, :3, 3]
    torch.testing.assert_close(position - torch.tensor(target), torch.tensor(place, dtype=torch.float32))
    assert seen(camera, *target) == pytest.approx([0.5, 0.5])


def test_orbit_takes_many_angles():
    camera = orbit(torch.tensor([0.0, 30.0, 60.0]), 10.0)
    assert len(camera) == 3
    torch.testing.assert_close(camera.cam2world[1], orbit(30.0, 10.0).cam2world[0])


def test_look_at_turns_by_a_rotation():
    generator = torch.Generator().manual_seed(0)
    rotation = look_at(torch.randn(9, 3, generator=generator), torch.randn(9, 3, generator=generator))[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(9, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(9))


def test_published_cameras_differ_from_ours_in_two_ways():
    """Their pitch is positive downwards, and linear in the height; yaw agrees."""
    zero = torch.zeros(1)
    yaw = torch.tensor([0.4])
    torch.testing.assert_close(
        eg3d_cam2world(yaw, zero, 2.7), orbit(math.degrees(0.4), radius=2.7).cam2world, atol=1e-6, rtol=0
    )
    assert eg3d_cam2world(zero, torch.tensor([0.2]), 1.0)[0, 1, 3].item() == pytest.approx(-0.4 / math.pi)


def test_published_pivot_turns_the_camera_but_does_not_move_it():
    zero = torch.zeros(1)
    yaw = torch.tensor([0.5])
    plain, turned = eg3d_cam2world(yaw, zero, 2.7), eg3d_cam2world(yaw, zero, 2.7, (0.0, 0.0, 0.2))
    torch.testing.assert_close(plain[:, :3, 3], turned[:, :3, 3])
    assert seen(Camera(turned, intrinsics_from_focal(EG3D_FOCAL)), 0.0, 0.0, 0.2) == pytest.approx([0.5, 0.5], abs=1e-5)


def test_label_is_cam2world_then_intrinsics():
    camera = Camera(torch.arange(16.0).reshape(1, 4, 4), torch.arange(16.0, 25.0).reshape(1, 3, 3))
    assert camera.label()[0].tolist() == list(range(25))


def test_scaling_the_world_keeps_the_picture():
    camera = orbit(20.0, 10.0, 2.7)
    scaled = camera.scaled(0.5, (0.1, 0.2, 0.3))
    point = torch.tensor([0.05, -0.1, 0.2])
    moved = point * 0.5 + torch.tensor([0.1, 0.2, 0.3])
    assert seen(scaled, *moved.tolist()) == pytest.approx(seen(camera, *point.tolist()), abs=1e-5)
    distance = (scaled.cam2world[0, :3, 3] - moved).norm()
    torch.testing.assert_close(distance, (camera.cam2world[0, :3, 3] - point).norm() * 0.5)


def test_scaled_leaves_the_original_alone():
    camera = orbit(radius=2.0)
    camera.scaled(0.5)
    assert camera.cam2world[0, 2, 3] == 2


def test_field_of_view():
    assert focal_from_fov(90.0) == pytest.approx(0.5)
    # EG3D's 18.837 degrees go along the diagonal
    assert eg3d_focal_from_fov(18.837) == pytest.approx(4.26339, abs=1e-5)
    assert eg3d_focal_from_fov(18.837) == pytest.approx(focal_from_fov(18.837) * math.sqrt(2), rel=2e-4)


def test_projection_inverts_rays_with_skew():
    intrinsics = torch.tensor([[[2.0, 0.3, 0.45], [0.0, 1.5, 0.55], [0.0, 0.0, 1.0]]])
    camera = Camera(orbit(33.0, -12.0, 2.0).cam2world, intrinsics)
    pixels = pixel_centres(3, 5, intrinsics)
    origins, directions = camera_rays(camera, pixels)
    torch.testing.assert_close(camera.project(origins + 1.7 * directions)[0], pixels, atol=1e-5, rtol=0)


def test_pixels_come_row_by_row():
    pixels = pixel_centres(2, 4, torch.zeros(()))
    assert pixels[0].tolist() == [0.125, 0.25]
    assert pixels[1].tolist() == [0.375, 0.25]
    assert pixels[4].tolist() == [0.125, 0.75]
