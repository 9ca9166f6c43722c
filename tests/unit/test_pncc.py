# SPDX-License-Identifier: Apache-2.0
"""PNCC and the driving mesh: the colour of a place says which place of the mean head it is."""

import numpy as np
import pytest
import torch

from neural_core.cameras import orbit
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.driver import driver
from neural_core.human.pncc import face_triangles, in_picture, pncc
from neural_core.records import HEAD_TO_MODEL


@pytest.fixture(scope="module")
def model():
    return load_anny_head()


def posed(model, **actions):
    values = np.zeros(len(ACTIONS))
    for name, value in actions.items():
        values[ACTIONS.index(name)] = value
    return torch.from_numpy(model.vertices(expression=values))[None]


def pixels(points, camera, size):
    """Columns and rows of points [n, 3] (head space), as the camera itself projects them."""
    places = camera.project(torch.as_tensor(points, dtype=torch.float32)[None] * HEAD_TO_MODEL)[0]
    return (places * size).floor().long().T


def code_of(model, mask, places):
    """The code of places [n, 3] on the mean head, from its definition."""
    corners = model.v_template[np.unique(model.faces[mask])]
    low, high = corners.min(0), corners.max(0)
    return (places - low) / (high - low)


INNER = [*range(17, 27), *range(27, 36), 48, 54, 51, 57]  # of the 68: brows, nose, mouth; away from the silhouette


@pytest.mark.parametrize("actions", [{}, {"jawOpen": 0.7, "mouthSmileLeft": 1.0, "browInnerUp": 1.0}])
def test_the_colour_at_a_landmark_is_its_place_on_the_mean_face_whatever_the_face_does(model, actions):
    vertices = posed(model, **actions)
    size = 512
    picture = pncc(model, vertices, size=size)
    assert picture.shape == (1, 3, size, size)
    assert 0 <= picture.min() <= picture.max() <= 1
    column, row = pixels(model.landmarks(vertices[0].numpy())[INNER], orbit(), size)
    expected = code_of(model, face_triangles(model), model.landmarks(model.v_template)[INNER])
    found = picture[0, :, row, column].T.numpy()
    # The landmark lies anywhere in its pixel, which is 0.62 mm wide: on slopes of the nose that is more in depth.
    assert np.abs(found - expected).max() < 0.04
    assert np.abs(found - expected).mean() < 0.006


def test_eyes_and_an_open_mouth_are_holes_and_blinking_closes_them(model):
    size = 256
    mean = model.v_template
    pupils = model.landmarks(mean, "478")[[468, 473]]
    column, row = pixels(pupils, orbit(), size)
    assert (pncc(model, posed(model), size=size)[0, :, row, column] == 0).all()
    closed = pncc(model, posed(model, eyeBlinkLeft=1.0, eyeBlinkRight=1.0), size=size)
    assert (closed[0, :, row, column] > 0).all()
    opened = posed(model, jawOpen=1.0)
    lips = model.landmarks(opened[0].numpy())[[62, 66]].mean(0)  # the middle between the inner lips
    column, row = pixels(lips[None], orbit(), size)
    assert (pncc(model, opened, size=size)[0, :, row, column] == 0).all()


def test_places_in_the_picture_agree_with_the_camera(model):
    camera = orbit(35.0, -10.0)
    points = torch.from_numpy(model.v_template[None, ::50]) * HEAD_TO_MODEL
    found = in_picture(points, camera)
    torch.testing.assert_close((found[..., :2] + 1) / 2, camera.project(points), rtol=0, atol=1e-5)
    forward = camera.cam2world[:, :3, 2]
    torch.testing.assert_close(found[..., 2], ((points - camera.cam2world[:, :3, 3]) * forward).sum(-1))


def test_the_driver_shows_the_whole_head_in_the_frames_own_camera(model):
    size = 256
    camera = orbit(180.0, 0.0)
    back = driver(model, posed(model), camera, size)[0]
    nape = np.array([[0.0, 0.02, model.v_template[:, 2].min()]])
    column, row = pixels(nape, camera, size)
    red, _, blue = back[:, row, column].flatten().tolist()
    assert blue < 0.02  # z runs from the back of the head, 0, to the tip of the nose, 1
    assert red == pytest.approx(0.5, abs=0.02)
    front = driver(model, posed(model), orbit(), size)[0]
    tip = model.v_template[model.v_template[:, 2].argmax()][None]
    column, row = pixels(tip, orbit(), size)
    assert front[2, row, column].item() > 0.99


def irises(picture, model, vertices, size):
    """The mean column of the dark pixels around each eye, right and left."""
    found = []
    for corners in ((33, 133), (362, 263)):
        middle = model.landmarks(vertices[0].numpy(), "478")[list(corners)].mean(0)
        column, row = pixels(middle[None], orbit(), size)
        reach = size // 16
        top, left = int(row) - reach // 2, int(column) - reach
        window = picture[0, :, top : top + reach, left : left + 2 * reach]
        white, black = (window > 0.99).all(0), (window < 0.01).all(0)
        assert white.sum() > 20
        assert black.sum() > 20
        found.append(black.nonzero()[:, 1].float().mean().item() / size)
    return found


def test_gaze_is_seen_in_the_driver(model):
    size = 512
    ahead = posed(model)
    aside = posed(model, eyeLookOutLeft=1.0, eyeLookInRight=1.0)  # both to the subject's left, the picture's right
    before = irises(driver(model, ahead, orbit(), size), model, ahead, size)
    after = irises(driver(model, aside, orbit(), size), model, aside, size)
    # 15 to 20 degrees of an eyeball of 16 mm radius are 4 to 5.5 mm; the picture is 317 mm wide.
    for old, new in zip(before, after, strict=True):
        assert 0.006 < new - old < 0.022


def test_no_gradient_and_a_batch(model):
    vertices = torch.cat([posed(model), posed(model, jawOpen=1.0)]).requires_grad_()
    camera = orbit(torch.tensor([0.0, 30.0]), 0.0)
    both = driver(model, vertices, camera, 64)
    assert not both.requires_grad
    torch.testing.assert_close(both[1:], driver(model, vertices[1:], orbit(30.0, 0.0), 64))
    assert pncc(model, vertices, size=32).shape == (2, 3, 32, 32)
