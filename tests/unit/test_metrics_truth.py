# SPDX-License-Identifier: Apache-2.0
"""Distances of what capture reads to exact truth: known differences, and rendered people whose records say it all."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from neural_core.cameras import EG3D_FOCAL
from neural_core.human.anny import load_anny_head
from neural_core.records import Record
from training.metrics.truth import (
    Truth,
    distances_to_truth,
    expression_distance,
    identity_distance,
    pose_distance,
    recognised,
    through_usual_lens,
)
from training.synthetic.views import framed

PEOPLE = Path(__file__).parents[1] / "fixtures" / "held_out"


@pytest.fixture(scope="module")
def model():
    return load_anny_head()


def test_identity_is_scipys_procrustes_disparity_in_millimetres(model):
    one, other = np.random.default_rng(0).normal(size=(2, 40))
    faces = [model.landmarks(model.vertices(shape), "478").astype(float) for shape in (one, other)]
    *_, disparity = procrustes(faces[1], faces[0])  # of faces[1] scaled to the norm 1
    size = np.linalg.norm(faces[1] - faces[1].mean(0))
    expected = 1e3 * size * np.sqrt(disparity / 478)
    assert identity_distance(model, one, other) == pytest.approx(expected, rel=1e-6)
    assert expected > 1
    assert identity_distance(model, one, one) < 1e-6


def test_people_are_recognised_by_the_nearest_truth(model):
    rng = np.random.default_rng(1)
    truths = rng.normal(size=(4, 40))
    shapes = truths + rng.normal(0, 0.1, truths.shape)
    assert recognised(model, shapes, truths).all()
    assert recognised(model, shapes[[1, 0, 2, 3]], truths).tolist() == [False, False, True, True]


def test_expressions_differ_by_their_mean_absolute_difference():
    truth = np.zeros((2, 52))
    actions = truth.copy()
    actions[0, :13], actions[1, 0] = 0.4, 0.52
    assert expression_distance(actions, truth) == pytest.approx([0.1, 0.01])


def test_poses_differ_by_the_angle_between_them():
    base = framed(20.0, -10.0).label()
    angles = np.array([0.0, 1e-4, 5.0, 90.0, 179.0])
    labels = np.repeat(base[None].astype(np.float64), len(angles), 0)
    truth = labels.copy()
    axis = np.array([1.0, 2.0, -2.0]) / 3
    for label, angle in zip(labels, angles, strict=True):
        pose = label[:16].reshape(4, 4)
        turn = Rotation.from_rotvec(np.radians(angle) * axis).as_matrix()
        label[:16].reshape(4, 4)[:3, :3] = turn @ pose[:3, :3]
    assert pose_distance(labels, truth) == pytest.approx(angles, abs=1e-5)


def test_another_lens_at_the_same_place_shows_the_same_points():
    camera = framed(25.0, 5.0).label().astype(np.float64)
    near = camera.copy()
    near[16:] = [6.0, 0, 0.45, 0, 5.0, 0.6, 0, 0, 1]
    rays = np.random.default_rng(2).uniform(-0.1, 0.1, (10, 2))
    np.testing.assert_allclose(
        through_usual_lens(rays * [6.0, 5.0] + [0.45, 0.6], near), rays * EG3D_FOCAL + 0.5, atol=1e-12
    )


@pytest.fixture(scope="module")
def finder():
    pytest.importorskip("mediapipe", reason="finding faces needs the capture extra")
    from neural_core.capture.detect import FaceFinder

    with FaceFinder() as finder:
        yield finder


def person(number):
    """A rendered person of the fixtures: the frontal picture over grey, and what it shows."""
    record = Record.load(PEOPLE / "records" / f"{number:06d}.npz")
    image = Image.open(PEOPLE / record.images[0]).convert("RGBA")
    grey = Image.new("RGBA", image.size, (128, 128, 128, 255))
    grey.alpha_composite(image)
    return np.asarray(grey.convert("RGB"))[None], Truth(record.shape, record.actions[:1], record.cameras[:1])


def test_a_rendered_person_is_read_as_what_the_record_says(model, finder):
    pictures, truth = person(3)
    blank = np.full_like(pictures, 128)
    found = distances_to_truth(
        finder,
        model,
        np.concatenate([pictures, blank]),
        Truth(truth.shape, truth.actions.repeat(2, 0), truth.cameras.repeat(2, 0)),
    )
    assert found.pose[0] < 6  # what the fit was calibrated to: half of all below 3 degrees, nine in ten below 5.5
    assert found.expression[0] < 0.08
    assert np.isnan([found.pose[1], found.expression[1]]).all()
    assert found.identity == pytest.approx(identity_distance(model, found.shape, truth.shape))
    turned = dataclasses.replace(truth, cameras=framed(40.0, 0.0).label()[None], actions=1 - truth.actions)
    wrong = distances_to_truth(finder, model, pictures, turned)
    assert wrong.pose[0] > 30
    assert wrong.expression[0] > 0.8


def test_a_picture_of_nobody_says_nothing(model, finder):
    pictures, truth = person(0)
    found = distances_to_truth(finder, model, np.full_like(pictures, 128), truth)
    assert np.isnan([found.identity, *found.pose, *found.expression]).all()
    assert found.identity_of_mean == pytest.approx(identity_distance(model, 0 * truth.shape, truth.shape))
