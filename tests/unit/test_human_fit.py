# SPDX-License-Identifier: Apache-2.0
"""Identity from renderings: a known person is drawn by a z-buffer of the test's own, and must be found again."""

import dataclasses

import numpy as np
import pytest
import torch

from neural_core.cameras import Camera, orbit
from neural_core.human import fit
from neural_core.human.anny import load_anny_head
from neural_core.systems.common import Rendering

RADIUS = 1.35  # metres


@pytest.fixture(scope="module")
def model():
    return load_anny_head()


def draw(vertices: np.ndarray, faces: np.ndarray, camera: Camera, size: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """Distance along the ray and opacity of a mesh, by a z-buffer: a loop over triangles that face the camera."""
    matrix, inner = camera.cam2world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    local = (vertices - matrix[:3, 3]) @ matrix[:3, :3]
    pixels = (local[:, :2] / local[:, 2:] * inner[[0, 1], [0, 1]] + inner[:2, 2]) * size - 0.5
    nearest = np.full((size, size), np.inf)
    first, second = pixels[faces[:, 1]] - pixels[faces[:, 0]], pixels[faces[:, 2]] - pixels[faces[:, 0]]
    for triangle in faces[first[:, 0] * second[:, 1] < first[:, 1] * second[:, 0]]:  # y runs down the picture
        (ax, ay), (bx, by), (cx, cy) = pixels[triangle]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        left, right = max(0, int(np.ceil(min(ax, bx, cx)))), min(size - 1, int(max(ax, bx, cx)))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy)))), min(size - 1, int(max(ay, by, cy)))
        if left > right or top > bottom:
            continue
        y, x = np.mgrid[top : bottom + 1, left : right + 1]
        v = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        w = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        inverse = np.stack([1 - v - w, v, w], -1) @ (1 / local[triangle, 2])  # 1/z is linear in the picture
        window = nearest[top : bottom + 1, left : right + 1]
        inside = (v >= 0) & (w >= 0) & (v + w <= 1)
        window[inside] = np.minimum(window[inside], 1 / inverse[inside])
    opacity = np.isfinite(nearest).astype(float)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    slope = np.hypot((x - inner[0, 2]) / inner[0, 0], (y - inner[1, 2]) / inner[1, 1])
    return np.where(opacity > 0, nearest, 0) * np.sqrt(1 + slope**2), opacity


def views_of(model, vertices, landmarks=None):
    cameras = [orbit(yaw, pitch, radius=RADIUS) for yaw, pitch in fit.VIEWS]
    views = []
    for camera in cameras:
        depth, opacity = draw(vertices, model.faces, camera)
        views.append(fit.View(camera, depth, opacity, None if landmarks is None else landmarks(camera)))
    return views


def face_error(model, fitted, truth):
    """Mean distance in metres over the face, and over the head."""
    distance = np.linalg.norm(fitted - truth, axis=1)
    face = (model.v_template[:, 2] > 0.02) & (np.abs(model.v_template[:, 1] + 0.03) < 0.08)
    return distance[face].mean(), distance.mean()


def person(model, seed):
    """A person, larger than the model and beside the origin."""
    shape = np.random.default_rng(seed).normal(size=model.shapedirs.shape[2])
    return shape, (1.08 * model.vertices(shape) + [0.004, -0.011, 0.009]).astype(np.float32)


def mean_person(model):
    return 1.08 * model.v_template + [0.004, -0.011, 0.009]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_person_is_found_again_from_depth(model, seed):
    shape, truth = person(model, seed)
    found = fit.fit_shape(model, views_of(model, truth))
    face, head = face_error(model, found.vertices(model), truth)
    assert face < 0.0008
    assert head < 0.002
    assert face < 0.4 * face_error(model, mean_person(model), truth)[0]
    assert np.corrcoef(found.shape, shape)[0, 1] > 0.8
    assert found.scale == pytest.approx(1.08, abs=0.03)
    assert found.distance < 0.0005


def test_hair_and_noise_do_not_become_face(model):
    _, truth = person(model, 3)
    hair = truth.copy()
    # A bob of uneven thickness above the brows, beside the face and behind.
    far = (model.v_template[:, 1] > 0.05) | (model.v_template[:, 2] < 0.02)
    outward = truth - truth.mean(0)
    hair[far] += outward[far] / np.linalg.norm(outward[far], axis=1, keepdims=True) * 0.03
    generator = np.random.default_rng(4)
    views = [
        fit.View(v.camera, v.depth + 0.001 * generator.normal(size=v.depth.shape), v.opacity)
        for v in views_of(model, hair)
    ]
    found = fit.fit_shape(model, views)
    face, _ = face_error(model, found.vertices(model), truth)
    assert face < 0.002


def with_landmarks(model):
    """The model with 478 landmarks of the test's own: points of triangles of the face."""
    generator = np.random.default_rng(0)
    centres = model.v_template[model.faces].mean(1)
    face = np.flatnonzero(
        ((centres > [-0.06, -0.1, 0.03]) & (centres < [0.06, 0.04, 0.2])).all(1) & model.parts["skin"]
    )
    weights = generator.dirichlet(np.ones(3), 478).astype(np.float32)
    return dataclasses.replace(model, landmarks_478=(generator.choice(face, 478).astype(np.int32), weights))


def test_landmarks_hold_the_face_where_depth_cannot(model):
    model = with_landmarks(model)
    _, truth = person(model, 5)
    truth = truth + np.array([0.0, -0.06, 0.0], np.float32)  # so low that depth alone begins at the wrong place

    def detect(camera):
        points = model.landmarks(truth, "478").astype(np.float64)
        matrix, inner = camera.cam2world[0].double().numpy(), camera.intrinsics[0].double().numpy()
        local = (points - matrix[:3, 3]) @ matrix[:3, :3]
        return local[:, :2] / local[:, 2:] * inner[[0, 1], [0, 1]] + inner[:2, 2]

    blind, found = (fit.fit_shape(model, views_of(model, truth, marks)) for marks in (None, detect))
    assert face_error(model, found.vertices(model), truth)[0] < 0.0008
    assert face_error(model, blind.vertices(model), truth)[0] > 0.01


class Statue:
    """A field that is a mesh: only what the fit asks for."""

    def __init__(self, model, vertices):
        self.model, self.vertices, self.cameras = model, vertices, []

    def render(self, camera, size=None, on_progress=None):
        self.cameras.append(camera)
        depth, opacity = (
            torch.from_numpy(a).float()[None, None] for a in draw(self.vertices, self.model.faces, camera)
        )
        grey = (2 * opacity - 1).expand(-1, 3, -1, -1)
        return Rendering(grey, grey, grey, depth, opacity)


def test_a_field_is_rendered_from_its_own_distance_and_fitted(model, monkeypatch):
    _, truth = person(model, 6)
    creation = orbit(radius=1.5, focal=4.5)
    monkeypatch.setattr(fit.detect, "available", lambda: False)
    statue, seen = Statue(model, truth), []
    found = fit.fit_shape_of_field(statue, model, creation, lambda done, total: seen.append((done, total)))
    assert face_error(model, found.vertices(model), truth)[0] < 0.0008
    assert "mediapipe is not installed" in found.notes[0]
    assert seen == [(i + 1, 6) for i in range(5)]
    for camera in statue.cameras:
        assert camera.cam2world[0, :3, 3].norm().item() == pytest.approx(1.5, abs=1e-5)
        assert camera.intrinsics[0, 0, 0].item() == pytest.approx(4.5)


def test_a_field_without_a_recognisable_face_is_fitted_to_depth(model, monkeypatch):
    _, truth = person(model, 6)
    monkeypatch.setattr(fit.detect, "available", lambda: True)
    monkeypatch.setattr(fit.detect, "face_landmarks", lambda pictures: [None] * len(pictures))
    found = fit.fit_shape_of_field(Statue(model, truth), model, orbit(radius=RADIUS))
    assert found.notes == ("No face was recognised; the fit uses depth alone.",)
    assert face_error(model, found.vertices(model), truth)[0] < 0.0008


def test_an_empty_picture_is_refused(model):
    camera = orbit(radius=RADIUS)
    empty = np.zeros((32, 32))
    with pytest.raises(ValueError, match="no surface"):
        fit.fit_shape(model, [fit.View(camera, empty, empty)])
