# SPDX-License-Identifier: Apache-2.0
"""The face fit against faces whose truth is in closed form: projected landmarks of known people in known cameras."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from neural_core.capture.bounded import minimise
from neural_core.capture.fit import fit_face, gaze, view_angles
from neural_core.capture.landmark_problem import Frame, Problem, tukey
from neural_core.capture.measured import Calibration, landmark_model
from neural_core.capture.patches import Patches
from neural_core.errors import InputError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from training.synthetic.expressions import sample_expression
from training.synthetic.views import framed


@pytest.fixture(scope="module")
def model():
    return load_anny_head()


@pytest.fixture(scope="module")
def exact(model):
    """Landmarks as geometry has them, trusted to a tenth of a millimetre."""
    return replace(landmark_model(model), deviation=np.full(478, 1e-4))


def person(model, seed, yaw=0.0, pitch=0.0, shape=None):
    """Shape, actions, view and exact landmarks of somebody."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=40)
    shape = drawn if shape is None else shape
    actions = sample_expression(rng).actions
    actions[ACTIONS.index("tongueOut")] = 0
    view = framed(yaw, pitch)
    return shape, actions, view, view.project(model.landmarks(model.vertices(shape, actions), "478"))


def angle_between(label, view):
    """Degrees of the rotation between a fitted and a true camera, by its quaternion."""
    fitted = Rotation.from_matrix(label[:16].reshape(4, 4)[:3, :3].astype(float))
    return np.degrees((fitted.inv() * Rotation.from_matrix(view.cam2world[:3, :3])).magnitude())


@pytest.mark.parametrize(("seed", "yaw", "pitch"), [(0, 0, 0), (1, 25, -10), (2, -45, 12), (3, 60, 5)])
def test_a_person_is_found_again(model, exact, seed, yaw, pitch):
    shape, actions, view, points = person(model, seed, yaw, pitch)
    fit = fit_face(model, points[None], landmarks=exact)
    assert angle_between(fit.cameras[0], view) < 0.2
    np.testing.assert_allclose(fit.angles[0], [yaw, pitch, 0], atol=0.2)
    np.testing.assert_allclose(fit.points_478[0], points, atol=4e-4)
    assert np.corrcoef(fit.shape, shape)[0, 1] > 0.95
    assert np.corrcoef(fit.actions[0], actions)[0, 1] > 0.97
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight"):
        index = ACTIONS.index(name)
        assert fit.actions[0, index] == pytest.approx(actions[index], abs=0.08), name
    neutral, acted = model.vertices(shape), model.vertices(shape, actions)
    np.testing.assert_allclose(fit.gaze[0], gaze(model, neutral, acted), atol=np.radians(2))
    assert np.abs(fit.landmarks_478[0] - model.landmarks(acted, "478")).max() < 0.004
    assert np.abs(fit.joints).max() == 0


@pytest.mark.parametrize(
    ("action", "eye", "axis", "sign"),
    [
        ("eyeLookOutLeft", 0, 0, 1),
        ("eyeLookInLeft", 0, 0, -1),
        ("eyeLookOutRight", 1, 0, -1),
        ("eyeLookInRight", 1, 0, 1),
        ("eyeLookUpLeft", 0, 1, 1),
        ("eyeLookUpRight", 1, 1, 1),
        ("eyeLookDownLeft", 0, 1, -1),
        ("eyeLookDownRight", 1, 1, -1),
    ],
)
def test_gaze_is_positive_to_the_subjects_left_and_up(model, action, eye, axis, sign):
    acted = model.vertices(np.zeros(40), np.eye(52)[ACTIONS.index(action)])
    turned = gaze(model, model.v_template, acted)
    assert 5 < sign * np.degrees(turned[eye, axis]) < 40
    assert abs(turned[eye, 1 - axis]) < 0.05
    assert np.abs(turned[1 - eye]).max() < 0.02


def test_derivatives(model):
    generator = np.random.default_rng(0)
    landmarks = replace(landmark_model(model), errors=generator.normal(0, 1e-3, (478, 3, 4)))
    shape, actions, _, points = person(model, 4, 20, 5)
    problem = Problem(landmarks, (points - 0.5)[None], 4.2647)
    frame = replace(problem.begin(0), actions=actions, mistakes=generator.normal(size=4))
    _, local, shared = problem.equations(frame, shape, 0)
    # The scale to metres and the deviations count as constant in a step.
    deviation, ahead = problem.deviations(frame)[:, None], np.exp(frame.place[2])

    def image(step, shape):
        moved = Frame(
            Rotation.from_rotvec(step[:3]).as_matrix() @ frame.rotation,
            frame.place + step[3:6],
            frame.actions + step[6:58],
            frame.mistakes + step[58:],
        )
        inside = landmarks.points(frame.towards(4.2647), shape, moved.actions, moved.mistakes) @ moved.rotation.T
        inside += moved.translation(4.2647)
        return inside[:, :2] / inside[:, 2:] * ahead / deviation

    for column in range(62):
        step = np.zeros(62)
        step[column] = 1e-5
        expected = (image(step, shape) - image(-step, shape)) / 2e-5
        np.testing.assert_allclose(local[..., column], expected, rtol=1e-4, atol=1e-4)
    for column in (0, 7, 39):
        step = np.zeros(40)
        step[column] = 1e-4
        expected = (image(np.zeros(62), shape + step) - image(np.zeros(62), shape - step)) / 2e-4
        np.testing.assert_allclose(shared[..., column], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_quadratic_with_bounds(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(12, 8))
    hessian, gradient = root.T @ root + 0.1 * np.eye(8), 4 * rng.normal(size=8)
    low, high = -rng.uniform(0, 0.5, 8), rng.uniform(0, 0.5, 8)
    low[0], high[1] = -np.inf, np.inf
    found, free = minimise(hessian, gradient, low, high)
    other = minimize(
        lambda x: 0.5 * x @ hessian @ x + gradient @ x,
        np.zeros(8),
        jac=lambda x: hessian @ x + gradient,
        bounds=list(zip(low, high, strict=True)),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    np.testing.assert_allclose(found, other.x, atol=1e-6)
    np.testing.assert_array_equal(free, (found > low + 1e-9) & (found < high - 1e-9))


def test_actions_stay_in_their_bounds(model, exact):
    shape, _, view, _ = person(model, 5)
    impossible = np.zeros(52)
    impossible[ACTIONS.index("jawOpen")] = 1.6
    impossible[ACTIONS.index("mouthSmileLeft")] = -0.5
    points = view.project(model.landmarks(model.vertices(shape, impossible), "478"))
    fit = fit_face(model, points[None], landmarks=exact)
    assert fit.actions.min() >= 0
    assert fit.actions.max() <= 1
    assert fit.actions[0, ACTIONS.index("jawOpen")] == 1


def test_frames_share_the_person(model):
    """Noise differs from picture to picture, the person does not."""
    rng = np.random.default_rng(6)
    shape = rng.normal(size=40)
    views = [(0, 0), (30, 5), (-35, -8), (15, 12), (-20, 0)]
    points = np.stack([person(model, 10 + i, *view, shape=shape)[3] for i, view in enumerate(views)])
    points += rng.normal(0, 0.006, points.shape)
    landmarks = landmark_model(model)
    together = fit_face(model, points, landmarks=landmarks)
    alone = [fit_face(model, one[None], landmarks=landmarks).shape for one in points]

    def distance(found):
        return np.linalg.norm(model.vertices(found) - model.vertices(shape), axis=1)[
            model.v_template[:, 2] > 0.03
        ].mean()

    assert together.shape.shape == (40,)
    assert distance(together.shape) < 0.8 * np.mean([distance(found) for found in alone])
    known = fit_face(model, points[:1], landmarks=landmarks, shape=shape)
    np.testing.assert_array_equal(known.shape, shape.astype(np.float32))


def test_the_lens_may_be_unknown(model, exact):
    """Without a focal length the head is put where EG3D's cameras see it, and the angles stay right."""
    _, _, view, points = person(model, 7, 20, 5)
    small = 0.5 + 0.4 * (points - 0.5) * [1.0, 4 / 3]  # in a wide photo of 4 : 3
    fit = fit_face(model, small[None], size=(4, 3), focal=None, landmarks=exact)
    assert fit.cameras[0, 16] == pytest.approx(0.4 * 4.2647, rel=0.05)
    assert fit.cameras[0, 20] == pytest.approx(fit.cameras[0, 16] * 4 / 3)
    assert np.linalg.norm(fit.cameras[0, [3, 7, 11]]) == pytest.approx(2.7, rel=0.05)
    assert angle_between(fit.cameras[0], view) < 1
    np.testing.assert_allclose(fit.points_478[0], small, atol=4e-4)


def test_hidden_landmarks_lose_their_say(model, exact):
    """A tenth of the landmarks is somewhere else, as if a hand were before the cheek."""
    _, _, view, points = person(model, 8, 10, 0)
    points[np.random.default_rng(8).choice(468, 47, replace=False)] += [0.05, 0.03]
    fit = fit_face(model, points[None], landmarks=exact)
    assert angle_between(fit.cameras[0], view) < 0.5


def test_a_calibration_takes_bias_and_damping_out(model, tmp_path):
    """FaceMesh's mistakes, known, cost nothing: it is off everywhere, and opens mouths half."""
    rng = np.random.default_rng(9)
    plain = landmark_model(model)
    nothing = {name: np.zeros_like(getattr(plain, name)) for name in ("template", "views", "identity", "actions")}
    bias = rng.normal(0, 0.002, (478, 3))
    known = Calibration(
        **{**nothing, "template": bias, "actions": -0.5 * plain.actions},
        errors=np.zeros((478, 3, 0)),
        deviation=np.full(478, 2e-4),
        action_mean=plain.action_mean,
        action_covariance=np.linalg.inv(plain.action_precision),
    )
    known.save(tmp_path / "known.npz")
    shape, actions, view, _ = person(model, 11, 15, -5)
    seen = plain.template + bias + plain.identity @ shape + 0.5 * plain.actions @ actions
    known = Calibration.load(tmp_path / "known.npz")
    fits = [fit_face(model, view.project(seen)[None], landmarks=each) for each in (landmark_model(model, known), plain)]
    assert angle_between(fits[0].cameras[0], view) < 0.3
    errors = [np.abs(fit.actions[0] - actions).mean() for fit in fits]
    assert errors[0] < min(0.04, 0.6 * errors[1])
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(InputError, match="no calibration"):
        Calibration.load(tmp_path / "text.npz")


def test_angles_of_a_rolled_camera():
    view = framed(30, -20)
    roll = Rotation.from_euler("z", 12, degrees=True).as_matrix()
    rotation = (view.cam2world[:3, :3] @ roll).T
    np.testing.assert_allclose(view_angles(rotation, -rotation @ view.cam2world[:3, 3]), [30, -20, 12], atol=1e-9)


def test_outliers_weigh_nothing():
    np.testing.assert_allclose(tukey(np.array([0.0, 1.0, 100.0])), [1, (1 - (1 / 4.685) ** 2) ** 2, 0])


def test_what_cannot_be_fitted_is_said(model, exact):
    _, _, _, profile = person(model, 12, 82, 0)
    with pytest.raises(InputError, match=r'"side.jpg" is turned 8\d degrees to the side'):
        fit_face(model, profile[None], landmarks=exact, names=["side.jpg"])
    noise = np.random.default_rng(0).uniform(0.3, 0.7, (1, 478, 2))
    with pytest.raises(InputError, match=r"cannot be fitted|degrees to the side"):
        fit_face(model, noise, landmarks=exact)
    with pytest.raises(InputError, match="478"):
        fit_face(model, profile[None, :68])
    with pytest.raises(InputError, match="finite"):
        fit_face(model, np.full((1, 478, 2), np.nan))
    with pytest.raises(InputError, match="no MediaPipe landmarks"):
        landmark_model(replace(model, landmarks_478=None))


@pytest.mark.parametrize("reader", [Calibration, Patches])
@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"no archive at all"])
def test_a_damaged_calibration_is_one_sentence(reader, damage: bytes, tmp_path) -> None:
    file = tmp_path / "damaged.npz"
    file.write_bytes(damage)
    with pytest.raises(InputError, match="is no calibration"):
        reader.load(file)
