# SPDX-License-Identifier: Apache-2.0
"""Distances of landmarks: points whose distances are known, faces made of points that cameras project exactly."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from neural_core.cameras import Camera, orbit
from neural_core.human.landmarks import LEFT_EYE_CORNERS, MEDIAPIPE_OF_68, RIGHT_EYE_CORNERS
from training.metrics.faces import STABLE_POINTS
from training.metrics.landmarks import average_keypoint_distance, multiview_landmark_consistency

SIZE = 200
YAWS = (-30.0, 0.0, 30.0)
EYES = 0.064


def face() -> np.ndarray:
    """478 points in space, metres, whose eyes' middles are 64 mm apart."""
    points = np.random.default_rng(0).uniform(-0.06, 0.06, (478, 3))
    points[[*RIGHT_EYE_CORNERS, *LEFT_EYE_CORNERS]] = [[-0.048, 0, 0], [-0.016, 0, 0], [0.016, 0, 0], [0.048, 0, 0]]
    return points


def cameras(yaws=YAWS) -> Camera:
    camera = orbit(torch.tensor(yaws), radius=1.35)
    return Camera(camera.cam2world.double(), camera.intrinsics.double())


def pictures_of(points, camera) -> list[np.ndarray]:
    """Where one face [478, 3], or one for each camera [v, 478, 3], appears, in pixels."""
    places = torch.from_numpy(np.broadcast_to(points, (len(camera), 478, 3)).copy())
    return list(SIZE * camera.project(places).numpy())


def test_keypoints_are_counted_in_pixels_of_256():
    truth = np.random.default_rng(1).uniform(0, 512, (478, 2))
    found = truth.copy()
    found[MEDIAPIPE_OF_68[30]] += [30, 40]  # the tip of the nose by 50 pixels: 25 of 256, one point of 68
    moved = truth + np.array([6, 8])
    distances = average_keypoint_distance([found, moved, None, truth], [truth, truth, truth, None], size=512)
    assert distances[:2] == pytest.approx([25 / 68, 5])
    assert np.isnan(distances[2:]).all()


def test_points_in_space_are_consistent():
    camera = cameras()
    assert multiview_landmark_consistency(pictures_of(face(), camera), camera, SIZE) < 1e-7  # cameras are float32


def test_a_feature_that_stays_in_the_picture_is_off_by_what_theory_says():
    """Two views, 60 degrees apart: one sees a feature e above where it is. Each ray misses the middle by e / 2."""
    camera = cameras((-30.0, 30.0))
    lifted = np.stack([face(), face()])
    lifted[0, STABLE_POINTS[4], 1] += 0.002
    found = multiview_landmark_consistency(pictures_of(lifted, camera), camera, SIZE)
    expected = np.sqrt(0.001**2 / len(STABLE_POINTS)) / EYES  # 2 rays of 2 n miss by e / 2
    assert found == pytest.approx(expected, rel=0.01)


def test_rays_that_miss_each_other_are_measured_from_the_best_point():
    """The same minimum by a general optimiser, with noise on every landmark and one view without a face."""
    camera = cameras((-40.0, -10.0, 25.0, 0.0))
    noise = np.random.default_rng(2).normal(0, 0.8, (4, 478, 2))
    found: list = [places + extra for places, extra in zip(pictures_of(face(), camera), noise, strict=True)]
    found[3] = None
    poses, lens = camera.cam2world.numpy(), np.linalg.inv(camera.intrinsics.numpy())

    def misses(point, landmark):
        """The vectors [3, 3] from a point to the three rays of one landmark."""
        vectors = []
        for view in range(3):
            ray = poses[view, :3, :3] @ lens[view] @ [*found[view][landmark] / SIZE, 1]
            ray = ray / np.linalg.norm(ray)
            towards = point - poses[view, :3, 3]
            vectors.append(towards - ray * (ray @ towards))
        return np.stack(vectors)

    best = {
        landmark: least_squares(lambda p, n=landmark: misses(p, n).ravel(), np.zeros(3)).x
        for landmark in {*STABLE_POINTS, *RIGHT_EYE_CORNERS, *LEFT_EYE_CORNERS}
    }
    eyes = [np.mean([best[c] for c in corners], axis=0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    squares = [(misses(best[landmark], landmark) ** 2).sum(1) for landmark in STABLE_POINTS]
    expected = np.sqrt(np.mean(squares)) / np.linalg.norm(eyes[0] - eyes[1])
    assert multiview_landmark_consistency(found, camera, SIZE) == pytest.approx(expected, rel=1e-6)


def test_one_view_says_nothing_and_one_side_cannot():
    camera = cameras((0.0, 0.0))
    found = pictures_of(face(), camera)
    assert np.isnan(multiview_landmark_consistency([found[0], None], camera, SIZE))
    with pytest.raises(ValueError, match="same side"):
        multiview_landmark_consistency(found, camera, SIZE)
