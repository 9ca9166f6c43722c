# SPDX-License-Identifier: Apache-2.0
"""The crop: where FFHQ and EG3D put it, by hand; that it follows the face; what is cut out."""

import math

import numpy as np
import pytest

from neural_core.cameras import EG3D_FOCAL, EG3D_RADIUS
from neural_core.capture.align import Crop, _mirrored, cut, ffhq_square, first_crop, framing_head
from neural_core.human.anny import load_anny_head
from neural_core.human.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS

MOUTH = (61, 291)


def face(right_eye, left_eye, mouth):
    """Landmarks whose eyes and mouth are at these places; everything else is far away and must not matter."""
    points = np.full((478, 2), 1e6)
    for corners, place in ((RIGHT_EYE_CORNERS, right_eye), (LEFT_EYE_CORNERS, left_eye), (MOUTH, mouth)):
        points[list(corners)] = np.array(place) + np.array([[-7.0, 2.0], [7.0, -2.0]])
    return points


def turned(points, degrees, about):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (points - about) @ np.array([[c, s], [-s, c]]) + about


def test_the_square_of_an_upright_face_by_hand():
    """Eyes 100 apart: 400 wide. Eyes to mouth 120: 432 wide, that is more. Centre a tenth of the way to the mouth."""
    square = ffhq_square(face((450, 300), (550, 300), (500, 420)))
    np.testing.assert_allclose(square.centre, (500, 312))
    assert square.side == pytest.approx(432)
    assert square.angle == pytest.approx(0)
    wide = ffhq_square(face((440, 300), (560, 300), (500, 400)))
    assert wide.side == pytest.approx(480)
    np.testing.assert_allclose(wide.to_photo(np.array([[0.0, 0.0], [1.0, 1.0]])), [[260, 70], [740, 550]])


def test_a_mouth_aside_turns_the_square_half_way():
    """The axis is the line between the eyes plus the normal to the line to the mouth: (100, 0) + (100, -20)."""
    square = ffhq_square(face((450, 300), (550, 300), (520, 400)))
    assert square.angle == pytest.approx(math.atan2(-20, 200))


@pytest.mark.parametrize("degrees", [-170, -40, 15, 90])
def test_the_square_turns_with_the_face(degrees):
    points = face((450, 300), (552, 310), (505, 420))
    about = np.array([300.0, 200.0])
    before, after = ffhq_square(points), ffhq_square(turned(points, degrees, about))
    np.testing.assert_allclose(after.centre, turned(np.array(before.centre), degrees, about))
    assert after.side == pytest.approx(before.side)
    assert math.degrees(after.angle - before.angle) % 360 == pytest.approx(degrees % 360)
    # So the face has the same place in it.
    np.testing.assert_allclose(after.from_photo(turned(points, degrees, about)), before.from_photo(points), atol=1e-9)


def test_the_mean_head_in_eg3ds_camera_is_cropped_as_it_is():
    """Projected by hand: focal length 4.2647 picture widths, 2.7 away, model space twice the size of the head."""
    model = load_anny_head()
    head = 2 * model.landmarks(model.v_template, "478").astype(float)
    picture = 0.5 + EG3D_FOCAL * head[:, :2] * [1, -1] / (EG3D_RADIUS - head[:, 2:])
    crop = first_crop(1000 * picture, model)
    np.testing.assert_allclose(crop.centre, (500, 500), atol=1e-3)
    assert crop.side == pytest.approx(1000, abs=1e-3)
    assert crop.angle == pytest.approx(0, abs=1e-6)


def camera_at(place, roll_degrees, distance=EG3D_RADIUS, focal=EG3D_FOCAL):
    """A label: the head's origin appears at `place` [2] of the picture, the camera in front of it and rolled."""
    c, s = math.cos(math.radians(roll_degrees)), math.sin(math.radians(roll_degrees))
    axes = np.array([[c, s, 0], [s, -c, 0], [0, 0, -1.0]])  # columns: right, down and forward in head axes
    origin = np.array([*(np.array(place) - 0.5) * distance / focal, distance])  # in the camera
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = axes, -axes @ origin
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return np.concatenate([pose.ravel(), intrinsics.ravel()]).astype(np.float32)


def test_a_head_that_stands_right_keeps_its_crop():
    crop = Crop((300.0, 200.0), 100.0, 0.3)
    framed = framing_head(crop, camera_at((0.5, 0.5), 0))
    np.testing.assert_allclose(framed.centre, crop.centre, atol=1e-4)
    assert framed.side == pytest.approx(100, rel=1e-6)
    assert framed.angle == pytest.approx(0.3, abs=1e-6)


def test_a_head_that_is_off_moves_its_crop_by_hand():
    """At (0.6, 0.45) of a crop of 100 pixels; twice as far away: half as large, so half the crop; rolled 10 degrees."""
    crop = Crop((300.0, 200.0), 100.0)
    framed = framing_head(crop, camera_at((0.6, 0.45), 10, distance=2 * EG3D_RADIUS))
    np.testing.assert_allclose(framed.centre, (310, 195), atol=1e-3)
    assert framed.side == pytest.approx(50, rel=1e-5)
    assert abs(math.degrees(framed.angle)) == pytest.approx(10, abs=0.05)
    # The head's own up is up in the new crop: it is turned the way the head is.
    label = camera_at((0.5, 0.5), 10)
    pose = label[:16].reshape(4, 4)
    up = (pose[:3, :3].T @ [0, 1, 0])[:2]  # in the picture
    angle = framing_head(crop, label).angle
    across = np.array([math.cos(angle), math.sin(angle)])
    assert across @ up == pytest.approx(0, abs=1e-6)
    assert np.array([-across[1], across[0]]) @ up < 0  # down is against up


def smooth_photo(height=300, width=400):
    rows, columns = np.mgrid[:height, :width] + 0.5
    waves = [np.sin(columns / 23) + np.cos(rows / 31), np.sin(rows / 19), np.cos((rows + columns) / 41)]
    return np.rint(np.stack(waves, -1) * 60 + 125).astype(np.uint8)


def function_of(places):
    x, y = places[..., 0], places[..., 1]
    return np.stack([np.sin(x / 23) + np.cos(y / 31), np.sin(y / 19), np.cos((y + x) / 41)], -1) * 60 + 125


@pytest.mark.parametrize("crop", [Crop((200.0, 150.0), 130.0, 0.4), Crop((180.5, 140.2), 40.0, -2.0)])
def test_a_cut_samples_the_photo_where_the_crop_says(crop):
    """The photo is a smooth function of place, so that every pixel of the crop can be computed."""
    picture, inside = cut(smooth_photo(), crop, 64)
    centres = (np.arange(64) + 0.5) / 64
    places = crop.to_photo(np.stack(np.meshgrid(centres, centres), -1))
    assert inside.all()
    assert np.abs(picture - function_of(places)).max() < 3


def test_shrinking_does_not_alias():
    """Stripes a pixel wide become grey, not other stripes."""
    photo = np.zeros((512, 512, 3), np.uint8)
    photo[:, ::2] = 255
    picture, _ = cut(photo, Crop((256.0, 256.0), 400.0, 0.1), 32)
    assert np.abs(picture.astype(int) - 128).max() < 6


def test_outside_the_photo_it_is_mirrored_and_said():
    photo = np.full((100, 100, 3), 50, np.uint8)
    photo[:, 60:] = 200
    picture, inside = cut(photo, Crop((100.0, 50.0), 80.0), 80)  # from 60 to 140: forty columns are missing
    assert inside[:, :40].all()
    assert not inside[:, 40:].any()
    assert (picture[20:60, :60] > 190).all()  # the mirror image of what is inside
    far, _ = cut(photo, Crop((1000.0, 50.0), 80.0), 80)  # any distance is possible
    assert set(np.unique(far)) <= set(range(50, 201))


def test_mirrors_stand_on_the_edges_of_the_photo():
    """Pixels 0 1 2 3 continue 3 2 1 0 0 1 ... on the right, and 0 1 2 3 3 ... on the left."""
    assert _mirrored(-5, 10, 4).tolist() == [3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0, 1]
