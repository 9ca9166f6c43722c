# SPDX-License-Identifier: Apache-2.0
"""What is behind a person, how edges guide a mask, and which part of a person is what, against slow or drawn truth."""

import numpy as np
import pytest
import torch

from neural_core.cameras import orbit
from neural_core.capture.colours import Colours, opponent, unlike
from neural_core.capture.inpaint import inpaint_background, nearest_mean
from neural_core.capture.labels import _visible
from neural_core.capture.matting import guided_filter
from neural_core.capture.overlay import overlay, see
from neural_core.capture.regions import find_regions
from neural_core.human.anny import load_anny_head
from neural_core.records import BACKGROUND, CLOTH, HAIR, SKIN, TORSO


def test_unknown_pixels_are_the_mean_of_their_nearest_known_ones():
    """Against all distances to all known pixels; neighbours at the same distance may be swapped, so none are."""
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 255, (23, 31, 3), np.uint8)
    known = np.ones((23, 31), bool)
    known[6:17, 9:22] = False
    filled = nearest_mean(picture, known, 4)
    np.testing.assert_array_equal(filled[known], picture[known])
    sources = np.argwhere(known)
    checked = 0
    for row, column in np.argwhere(~known):
        distance = np.hypot(*(sources - [row, column]).T)
        order = np.argsort(distance)
        if distance[order[4]] - distance[order[3]] < 1e-9:
            continue
        nearest = order[:4]
        weight = distance[nearest] ** -2.0
        expected = (picture[tuple(sources[nearest].T)] * weight[:, None]).sum(0) / weight.sum()
        np.testing.assert_allclose(filled[row, column], expected)
        checked += 1
    assert checked > 30


def test_few_known_pixels_are_enough():
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[2, 3] = 90
    known = np.zeros((8, 8), bool)
    known[2, 3] = True
    np.testing.assert_allclose(nearest_mean(picture, known, 4), 90)


def test_the_background_keeps_what_is_known_and_has_nothing_of_the_person():
    columns = np.broadcast_to(np.linspace(60, 120, 100), (100, 100))
    picture = np.repeat(columns[..., None], 3, 2).astype(np.uint8)
    alpha = np.zeros((100, 100), np.uint8)
    alpha[40:, 30:70] = 255
    picture[alpha > 0] = [255, 0, 0]
    behind = inpaint_background(picture, alpha)
    far = np.ones((100, 100), bool)
    far[36:, 26:74] = False
    np.testing.assert_array_equal(behind[far], picture[far])
    np.testing.assert_allclose(behind.astype(float), columns[..., None] + np.zeros(3), atol=22)
    assert (np.ptp(behind.astype(int), axis=2) == 0).all()  # grey like the wall, nothing red
    assert (inpaint_background(picture, np.full((100, 100), 255, np.uint8)) == 128).all()


def test_the_guided_filter_is_a_least_squares_fit_in_every_window():
    rng = np.random.default_rng(1)
    guide, mask = rng.random((9, 11, 3)), rng.random((9, 11, 2))
    slopes, offsets = np.zeros((9, 11, 3, 2)), np.zeros((9, 11, 2))
    for row in range(2, 7):
        for column in range(2, 9):
            window = (slice(row - 2, row + 3), slice(column - 2, column + 3))
            colours = np.hstack([guide[window].reshape(25, 3), np.ones((25, 1))])
            # Ridge regression: 25 eps |a|^2, none on the offset.
            normal = colours.T @ colours + np.diag([25 * 2e-4] * 3 + [0])
            solved = np.linalg.solve(normal, colours.T @ mask[window].reshape(25, 2))
            slopes[row, column], offsets[row, column] = solved[:3], solved[3]
    filtered = guided_filter(guide, mask, 2)
    around = (slice(2, 7), slice(3, 8))  # all windows of the pixel in the middle
    expected = guide[4, 5] @ slopes[around].mean((0, 1)) + offsets[around].mean((0, 1))
    np.testing.assert_allclose(filtered[4, 5], expected, rtol=1e-6)


def test_colours_are_told_apart_by_what_they_were_learned_from():
    rng = np.random.default_rng(0)
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[:, :30] = [200, 150, 120]
    picture[:, 30:] = [60, 40, 30]
    noisy = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    colours = opponent(noisy)
    left = np.zeros((60, 60), bool)
    left[10:50, 5:25] = True
    light, dark = Colours.of(colours, left), Colours.of(colours, left[:, ::-1])
    lighter = light.log_density(colours) > dark.log_density(colours)
    assert lighter[:, :30].mean() > 0.99
    assert lighter[:, 30:].mean() < 0.01
    nothing = Colours.of(colours, np.zeros((60, 60), bool))
    assert np.ptp(nothing.log_density(colours)) == 0


def test_shade_is_like_skin_and_hair_is_not():
    """Half the light changes no hue; black, yellow and white are no skin in any light."""
    skin = np.array([200.0, 150, 120])
    squares = [skin, skin / 2, skin * 1.2, [30, 25, 20], [200, 170, 70], [250, 250, 250]]
    picture = np.repeat(np.array(squares)[None], 4, 0).astype(np.uint8)
    reference = np.zeros((4, 6), bool)
    reference[:, 0] = True
    assert unlike(picture, reference)[0].tolist() == [False, False, False, True, True, True]
    assert unlike(picture, np.zeros((4, 6), bool)).all()


SIZE = 192


@pytest.fixture(scope="module")
def drawn():
    """A face in skin colour, hair round the upper head, a neck and a shirt, drawn with noise: picture, alpha, truth."""
    model = load_anny_head()
    label = orbit(0.0, 0.0).label()[0].numpy()
    seen = see(model, model.v_template, label, SIZE)
    head = 2 * model.landmarks(model.v_template, "478").astype(float)
    points = 0.5 + 4.2647 * head[:, :2] * [1, -1] / (2.7 - head[:, 2:])
    x, y = np.meshgrid(*[(np.arange(SIZE) + 0.5) / SIZE] * 2)
    mesh = seen.triangle >= 0
    truth = np.full((SIZE, SIZE), BACKGROUND, np.uint8)
    truth[(y > 0.93) & (np.abs(x - 0.5) < 0.46)] = CLOTH
    truth[(np.abs(x - 0.5) < 0.14) & (y > 0.7) & (y <= 0.93)] = TORSO
    truth[((x - 0.5) / 0.3) ** 2 + ((y - 0.42) / 0.32) ** 2 < 1] = HAIR
    truth[mesh & (y > 0.33) & (np.abs(x - 0.5) < 0.22)] = SKIN
    # The neck begins where its joint moves the skin more than the head's do: so it does in rendered people.
    neck = model.weights[:, :2].sum(1)[model.faces].mean(1) > 0.5
    truth[mesh & neck[np.maximum(seen.triangle, 0)]] = TORSO
    truth[(y > 0.93) & (np.abs(x - 0.5) < 0.46)] = CLOTH
    colours = np.zeros((6, 3))
    colours[[BACKGROUND, SKIN, HAIR, TORSO, CLOTH]] = [
        *([150, 170, 190], [215, 160, 130], [70, 45, 30], [205, 150, 122], [40, 70, 150])
    ]
    noise = np.random.default_rng(5).normal(0, 8, (SIZE, SIZE, 3))
    picture = np.clip(colours[truth] + noise, 0, 255).astype(np.uint8)
    alpha = np.where(truth == BACKGROUND, 0, 255).astype(np.uint8)
    return model, label, seen, points, picture, alpha, truth


def test_regions_of_a_drawn_person_are_found(drawn):
    model, _, seen, points, picture, alpha, truth = drawn
    found = find_regions(picture, alpha, model, seen, points)
    np.testing.assert_array_equal(found == BACKGROUND, alpha < 128)
    for region, least in ((SKIN, 0.9), (HAIR, 0.9), (TORSO, 0.6), (CLOTH, 0.9)):
        overlap = ((found == region) & (truth == region)).sum() / ((found == region) | (truth == region)).sum()
        assert overlap > least, (region, overlap)
    assert np.array_equal(found, find_regions(picture, alpha, model, seen, points))


def test_a_bald_head_has_no_hair(drawn):
    model, _, seen, points, picture, alpha, truth = drawn
    bare = picture.copy()
    mesh = seen.triangle >= 0
    outside = (truth == HAIR) & ~mesh
    bare[(truth == HAIR) & mesh] = [213, 161, 131]
    alpha = np.where(outside, 0, alpha).astype(np.uint8)
    found = find_regions(bare, alpha, model, seen, points)
    assert (found == HAIR).mean() < 0.01


def test_what_is_seen_of_a_mesh_is_where_its_points_are(drawn):
    """The nearest vertices to the camera, projected by hand, are seen in their pixels at their distance."""
    model, _, seen, _, _, _, _ = drawn
    vertices = 2 * model.v_template.astype(float)
    nose = vertices[vertices[:, 2].argmax()]
    column, row = np.floor(SIZE * (0.5 + 4.2647 * nose[:2] * [1, -1] / (2.7 - nose[2]))).astype(int)
    distance = np.linalg.norm(nose - [0, 0, 2.7])
    assert seen.depth[row, column] == pytest.approx(distance, abs=0.01)
    assert (seen.depth[seen.triangle < 0] == 0).all()


def test_the_overlay_covers_the_mesh_and_nothing_else(drawn):
    model, label, seen, points, picture, _, _ = drawn
    grey = np.full_like(picture, 128)
    marked = overlay(model, model.v_template, label, grey, np.full((478, 2), -1.0))
    assert (marked[seen.triangle < 0] == 128).all()
    assert (marked[seen.triangle >= 0] != 128).any(1).mean() > 0.99
    dotted = overlay(model, model.v_template, label, grey, points)
    column, row = np.floor(points[4] * SIZE).astype(int)
    assert not np.array_equal(dotted[row, column], marked[row, column])


def test_depth_is_the_distance_along_the_ray_also_at_the_edge(drawn):
    """Distance from the camera of the place on the triangle that is seen; there the depth along the axis is smaller."""
    model, _, seen, _, _, _, _ = drawn
    covered = seen.triangle >= 0
    corners = 2 * model.v_template.astype(float)[model.faces[seen.triangle[covered]]]
    places = (corners * seen.barycentric[covered][..., None]).sum(1) - [0, 0, 2.7]
    np.testing.assert_allclose(seen.depth[covered], np.linalg.norm(places, axis=1), atol=1e-5)
    assert (seen.depth[covered] + places[:, 2]).max() > 0.005
    # And the place is on the ray through the pixel's centre.
    row, column = np.nonzero(covered)
    np.testing.assert_allclose(0.5 - 4.2647 * places[:, 0] / places[:, 2], (column + 0.5) / SIZE, atol=1e-5)
    np.testing.assert_allclose(0.5 + 4.2647 * places[:, 1] / places[:, 2], (row + 0.5) / SIZE, atol=1e-5)


def hidden_by(triangles, eye, place, margin):
    """Whether one of the triangles [n, 3, 3] crosses the line of sight, at least a margin before the place."""
    ray = place - eye
    a, first, second = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    across = np.cross(ray, second)
    volume = (first * across).sum(1)
    volume = np.where(volume == 0, np.inf, volume)
    u = ((eye - a) * across).sum(1) / volume
    turned = np.cross(eye - a, first)
    v = (turned @ ray) / volume
    far = (second * turned).sum(1) / volume  # share of the way
    return bool(((u >= 0) & (v >= 0) & (u + v <= 1) & (far > 0) & (far < 1 - margin / np.linalg.norm(ray))).any())


@pytest.mark.parametrize("yaw", [-55.0, 55.0])
def test_the_far_side_of_a_turned_head_is_hidden(yaw):
    """Against lines of sight to every landmark; at outlines, a pixel decides otherwise than a line."""
    model = load_anny_head()
    camera = orbit(yaw, 0.0)
    label = camera.label()[0].numpy()
    seen = see(model, model.v_template, label, SIZE)
    landmarks = model.landmarks(model.v_template, "478").astype(np.float32)
    points = camera.project(2 * torch.from_numpy(landmarks)[None])[0].numpy()
    regions = np.where(seen.triangle >= 0, SKIN, BACKGROUND).astype(np.uint8)
    found = _visible(landmarks, points, label, seen, regions)
    eye = label[:16].reshape(4, 4)[:3, 3].astype(float)
    triangles = 2 * model.v_template.astype(float)[model.faces]
    truth = np.array([not hidden_by(triangles, eye, 2 * place.astype(float), 0.02) for place in landmarks])
    assert 40 < (~truth).sum() < 250
    assert (found == truth).mean() > 0.95
    right, left = [234, 93], [454, 323]  # where the cheeks meet the ears
    near, far = (left, right) if eye[0] > 0 else (right, left)
    assert found[near].all()
    assert not found[far].any()
    regions[np.floor(points[near[0]] * SIZE).astype(int)[1], np.floor(points[near[0]] * SIZE).astype(int)[0]] = HAIR
    assert not _visible(landmarks, points, label, seen, regions)[near[0]]
