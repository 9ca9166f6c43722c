# SPDX-License-Identifier: Apache-2.0
"""Patches against pictures and probabilities in closed form: ramps, mirrors, turns, and Bayes' rule written out."""

import numpy as np
import pytest

from neural_core.capture import patches
from neural_core.capture.fit import fit_face
from neural_core.capture.measured import landmark_model
from neural_core.capture.patches import Evidence, Patches, Reader, Window, eye_features, frame, mouth_features
from neural_core.errors import InputError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from training.synthetic import calibrate_patches
from training.synthetic.views import framed


@pytest.fixture(scope="module")
def model():
    return load_anny_head()


@pytest.fixture(scope="module")
def seen(model):
    """A smooth picture, and landmarks of a face in it."""
    coarse = np.random.default_rng(0).normal(size=(3, 3, 8))
    v, u = np.mgrid[0:256, 0:256] / 256
    waves = [a * np.sin(20 * b * u + 20 * c * v + d) for a, b, c, d, *_ in coarse.reshape(9, 8)]
    grey = np.clip(128 + 30 * np.sum(waves, 0), 0, 255)
    picture = np.repeat(grey[..., None], 3, 2).round().astype(np.uint8)
    points = framed(15, 5).project(model.landmarks(model.v_template, "478"))
    return picture, points


def test_a_patch_of_a_ramp_is_a_ramp():
    v, u = np.mgrid[0:100, 0:100] + 0.5
    picture = np.repeat((u + 0.5 * v)[..., None], 3, 2).astype(np.uint8)
    origin, axes = np.array([0.5, 0.4]), np.array([[0.3, 0.1], [-0.1, 0.2]])
    patch = patches._patch(picture, origin, axes, Window((-0.5, -0.5), (0.5, 1.0), (4, 8)))
    for row, column in ((0, 0), (3, 1), (7, 3)):
        place = 100 * (origin + (-0.5 + (column + 0.5) / 4) * axes[0] + (-0.5 + 1.5 * (row + 0.5) / 8) * axes[1])
        assert patch[row, column] == pytest.approx(place @ [1, 0.5], abs=1)


def test_the_axes_follow_the_face(seen):
    _, points = seen
    across, down = frame(points)
    assert across @ down == pytest.approx(0, abs=1e-12)
    assert across[0] > 0 < down[1]
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for before, after in zip((across, down), frame(3 + 2 * points @ turn.T), strict=True):
        np.testing.assert_allclose(after, 2 * turn @ before, atol=1e-12)


def test_what_is_turned_reads_the_same(seen):
    """A quarter turn of the picture and its landmarks changes no feature."""
    picture, points = seen
    turned = np.stack([1 - points[:, 1], points[:, 0]], 1)
    quarter = np.rot90(picture, -1)
    np.testing.assert_allclose(mouth_features(quarter, turned), mouth_features(picture, points), atol=1e-6)
    np.testing.assert_allclose(eye_features(quarter, turned, "Left"), eye_features(picture, points, "Left"), atol=1e-6)


def test_sides_are_mirrors(seen):
    """A left eye is the right eye of the mirrored picture, point by point; and so with mouths."""
    picture, points = seen
    flipped = points * [-1, 1] + [1, 0]
    swapped = flipped.copy()
    sides = patches._EYE_POINTS["Right"] + patches._RIGHT_LIPS, patches._EYE_POINTS["Left"] + patches._LEFT_LIPS
    for one, other in (sides, sides[::-1]):
        swapped[list(one)] = flipped[list(other)]
    mirror = picture[:, ::-1]
    np.testing.assert_allclose(eye_features(mirror, swapped, "Right"), eye_features(picture, points, "Left"), atol=1e-6)
    np.testing.assert_allclose(
        mouth_features(mirror, swapped), mouth_features(picture, points, mirrored=True), atol=1e-6
    )


def test_points_of_both_sides_belong_together(model):
    """On the face model, whose two sides are nearly alike."""
    places = model.landmarks(model.v_template, "478")
    for right, left in (tuple(patches._EYE_POINTS.values()), (patches._RIGHT_LIPS, patches._LEFT_LIPS)):
        assert np.abs(places[list(right)] * [-1, 1, 1] - places[list(left)]).max() < 0.004


def linear_reader(rng, features=6, readings=3):
    root = rng.normal(size=(readings, readings))
    return Reader(
        mean=rng.normal(size=features),
        scale=rng.uniform(0.5, 2, features),
        weights=rng.normal(size=(features, readings)),
        offset=rng.normal(size=readings),
        response=rng.normal(size=(readings, readings)),
        bias=rng.normal(size=readings),
        covariance=root @ root.T + np.eye(readings),
        usual=np.array(1e9),
    )


def test_evidence_is_bayes_rule():
    """Actions given a reading, by conditioning their joint normal distribution."""
    rng = np.random.default_rng(1)
    reader, prior, mean = linear_reader(rng), np.diag([0.5, 1.0, 2.0]), np.array([0.1, 0.2, 0.3])
    features = rng.normal(size=6)
    reading = (features - reader.mean) / reader.scale @ reader.weights + reader.offset
    gain = prior @ reader.response.T @ np.linalg.inv(reader.response @ prior @ reader.response.T + reader.covariance)
    expected = mean + gain @ (reading - reader.response @ mean - reader.bias)
    precision, information = reader.evidence(features)
    found = np.linalg.solve(np.linalg.inv(prior) + precision, np.linalg.solve(prior, mean) + information)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_what_looks_strange_is_trusted_less():
    rng = np.random.default_rng(2)
    reader = linear_reader(rng)
    usual = Reader(**{**vars(reader), "usual": np.array(4.0)})
    strange = usual.mean + 4 * usual.scale  # mean square 16: four times the usual
    np.testing.assert_allclose(usual.evidence(strange)[0], reader.evidence(strange)[0] / 16)
    np.testing.assert_allclose(usual.evidence(usual.mean + usual.scale)[0], reader.evidence(usual.mean)[0])


def test_learning_says_how_far_readings_err():
    """Features that show the actions and noise: the evidence of new ones finds the actions, and as well as it says."""
    rng = np.random.default_rng(3)
    shows, people = rng.normal(size=(2, 40)), np.repeat(np.arange(300), 4)

    def draw(count):
        actions = rng.normal(0, [0.3, 0.2], (count, 2))
        return actions, actions @ shows + rng.normal(0, 0.8, (count, 40))

    actions, features = draw(1200)
    reader = calibrate_patches.learn(features, actions, people)
    actions, features = draw(300)
    errors, promised = [], []
    for truth, one in zip(actions, features, strict=True):
        precision, information = reader.evidence(one)
        errors.append(np.linalg.solve(precision, information) - truth)
        promised.append(np.linalg.inv(precision).diagonal())
    ideal = np.linalg.inv(shows @ shows.T / 0.8**2).diagonal()
    deviation = np.std(errors, axis=0)
    np.testing.assert_allclose(deviation, np.sqrt(ideal), rtol=0.25)
    np.testing.assert_allclose(np.sqrt(np.median(promised, 0)), deviation, rtol=0.25)


def test_the_fit_weighs_evidence(model):
    """Pixels that say that an eye is shut shut it; the camera hardly moves. None says nothing."""
    landmarks = landmark_model(model)
    points = framed(10, 0).project(model.landmarks(model.v_template, "478"))[None]
    plain = fit_face(model, points, landmarks=landmarks)
    blink = ACTIONS.index("eyeBlinkLeft")
    precision, information = np.zeros((52, 52)), np.zeros(52)
    precision[blink, blink] = 1e6
    information[blink] = 0.8e6
    told = fit_face(model, points, landmarks=landmarks, evidence=[Evidence(precision, information)])
    assert plain.actions[0, blink] < 0.3
    assert told.actions[0, blink] == pytest.approx(0.8, abs=0.01)
    np.testing.assert_allclose(told.angles, plain.angles, atol=0.5)
    nothing = fit_face(model, points, landmarks=landmarks, evidence=[None])
    np.testing.assert_array_equal(nothing.actions, plain.actions)


def test_small_faces_and_files(seen, tmp_path):
    picture, points = seen
    rng = np.random.default_rng(4)
    eye = linear_reader(rng, len(eye_features(picture, points, "Left")), len(patches.EYE_ACTIONS))
    mouth = linear_reader(rng, len(mouth_features(picture, points)), len(patches.MOUTH_ACTIONS))
    both = Patches(eye, mouth)
    assert both.evidence(picture, 0.5 + 0.3 * (points - 0.5)) is None
    said = both.evidence(picture, points)
    assert said is not None
    outside = [ACTIONS.index("browInnerUp"), ACTIONS.index("tongueOut")]
    assert not said.precision[outside].any()
    both.save(tmp_path / "patches.npz")
    again = Patches.load(tmp_path / "patches.npz").evidence(picture, points)
    assert again is not None
    np.testing.assert_allclose(again.precision, said.precision, rtol=1e-3, atol=1e-3 * np.abs(said.precision).max())
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(InputError, match="no calibration of patches"):
        Patches.load(tmp_path / "text.npz")
