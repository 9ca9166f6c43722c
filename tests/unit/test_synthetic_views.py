# SPDX-License-Identifier: Apache-2.0
"""From where people are photographed."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from neural_core.cameras import Camera
from neural_core.records import JOINTS
from training.synthetic.figure import Pose
from training.synthetic.plan import Plan
from training.synthetic.views import FOCAL, RADIUS, View, follow, framed, intrinsics, orbit, sample_views

EIGHT = Plan(views=8, close_ups=2)


def sampled(plan: Plan, people: int = 60) -> list[tuple[View, ...]]:
    return [sample_views(np.random.default_rng([1, person]), plan) for person in range(people)]


def angles(view: View) -> tuple[float, float]:
    """Yaw and pitch in degrees, from the direction in which the camera looks."""
    x, y, z = -view.cam2world[:3, 2]
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(y)))


def test_views_cover_the_head_as_they_should():
    yaw, pitch = [], []
    for views in sampled(EIGHT, 300):
        assert [view.close_up for view in views] == [False] * 6 + [True] * 2
        for view in views:
            assert np.linalg.norm(view.cam2world[:3, 3]) == pytest.approx(RADIUS)
            yaw.append(angles(view)[0])
            pitch.append(angles(view)[1])
    yaw, pitch = np.array(yaw).reshape(300, 8), np.array(pitch)
    assert np.abs(yaw[:, 0]).max() <= 10
    assert np.abs(yaw[:, 6:]).max() <= 45
    assert 0.5 < (np.abs(yaw[:, 1:6]) <= 60).mean() < 0.6
    assert np.abs(yaw).max() > 170
    assert np.abs(pitch).max() <= 25 + 1e-9
    assert pitch.std() == pytest.approx(9.7, abs=0.5)


@pytest.mark.parametrize("plan", [Plan(max_yaw=30, views=4), Plan(max_yaw=30, views=1), Plan(max_yaw=5, views=2)])
def test_limits_of_yaw_are_kept(plan):
    found = np.array([angles(view)[0] for views in sampled(plan, 200) for view in views])
    assert np.abs(found).max() <= plan.max_yaw + 1e-9
    assert np.abs(found).max() > 0.9 * plan.max_yaw


def test_the_frontal_share_is_kept():
    found = np.array([angles(v)[0] for views in sampled(Plan(views=6, frontal_share=0.2), 150) for v in views[1:]])
    assert (np.abs(found) <= 60).mean() == pytest.approx(0.2, abs=0.05)


def test_cameras_are_rigid_and_look_at_the_head_the_right_way_up():
    for views in sampled(EIGHT, 30):
        for view in views:
            rotation = view.cam2world[:3, :3]
            np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
            assert np.linalg.det(rotation) == pytest.approx(1)
            # y runs down in the picture; a plain view has the origin in its middle.
            low, high = view.project(np.array([[0, -0.03, 0], [0, 0.03, 0.0]]))
            assert low[1] > high[1]
            if not view.close_up:
                np.testing.assert_allclose(view.project(np.zeros((1, 3)))[0], 0.5, atol=1e-12)


def test_orbit_turns_towards_the_subjects_left():
    np.testing.assert_allclose(orbit(0, 0)[:3, 3], [0, 0, RADIUS], atol=1e-12)
    np.testing.assert_allclose(orbit(90, 0)[:3, 3], [RADIUS, 0, 0], atol=1e-12)
    np.testing.assert_allclose(orbit(0, 30)[:3, 3], [0, RADIUS / 2, RADIUS * np.sqrt(3) / 2], atol=1e-12)
    left = View(orbit(0, 0), intrinsics(FOCAL)).project(np.array([[0.05, 0.0, 0.0]]))[0]
    np.testing.assert_allclose(left, [0.5 + FOCAL * 0.1 / RADIUS, 0.5])  # the subject's left is right in the picture


def test_labels_and_projections_agree_with_the_librarys():
    points = np.random.default_rng(0).normal(0, 0.05, (9, 3))
    for view in sampled(EIGHT, 1)[0]:
        camera = Camera.from_label(torch.from_numpy(view.label())[None])
        expected = camera.project(torch.from_numpy(2 * points).float()[None])[0]
        np.testing.assert_allclose(view.project(points), expected, atol=1e-5)


def test_close_ups_hold_the_middle_of_the_face():
    face = np.array([[0.0, -0.022, 0.085]])
    for views in sampled(EIGHT, 50):
        for view in views[6:]:
            np.testing.assert_allclose(view.project(face)[0], 0.5, atol=0.45)
            assert view.intrinsics[0, 0] == pytest.approx(2.2 * FOCAL)


def test_a_bust_is_sixty_two_centimetres_wide_with_the_head_in_its_upper_part():
    view = framed(0, 0, "bust")
    left, right = view.project(np.array([[-0.31, 0, 0], [0.31, 0, 0.0]]))
    assert right[0] - left[0] == pytest.approx(1, abs=0.02)
    crown, chin, collar = view.project(np.array([[0, 0.13, 0], [0, -0.11, 0.06], [0, -0.2, 0.0]]))[:, 1]
    assert 0.03 < crown < 0.2
    assert 0.35 < chin < 0.55
    assert 0.5 < collar < 0.7
    for yaw in (0, 40, 120):  # the head stays where it is from all sides
        np.testing.assert_allclose(framed(yaw, 0, "bust").project(np.zeros((1, 3))), [[0.5, 0.299]], atol=0.002)


def test_a_camera_that_stands_still_goes_round_a_head_that_turns():
    """Turning the head by 30 degrees to its left is the same as the camera going 30 degrees to its right."""
    joints = np.zeros((10, 3))
    joints[JOINTS.index("neck")] = [0, np.radians(12), 0]
    joints[JOINTS.index("head")] = [0, np.radians(18), 0]
    np.testing.assert_allclose(follow(framed(0, 0), Pose(joints=joints)).cam2world, orbit(-30, 0), atol=1e-12)
    np.testing.assert_array_equal(follow(framed(20, 5), Pose()).cam2world, orbit(20, 5))


def test_following_is_what_a_picture_of_the_turned_head_is():
    """Points of the head, really turned, before a camera that stands still: the same places in the picture."""
    rng = np.random.default_rng(5)
    joints = np.zeros((10, 3))
    joints[1], joints[2] = rng.normal(0, 0.3, (2, 3))
    turned = Rotation.from_rotvec(joints[1]) * Rotation.from_rotvec(joints[2])
    points, view = rng.normal(0, 0.08, (20, 3)), framed(15, -8)
    np.testing.assert_allclose(
        follow(view, Pose(joints=joints)).project(points), view.project(turned.apply(points)), atol=1e-12
    )
