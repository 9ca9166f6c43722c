# SPDX-License-Identifier: Apache-2.0
"""Finding faces: of any size, several at once, and sentences where there are none."""

import numpy as np
import pytest
from PIL import Image

from neural_core.capture import detect
from neural_core.errors import InputError, PortraitError


@pytest.fixture(scope="module")
def finder():
    pytest.importorskip("mediapipe", reason="finding faces needs the capture extra")
    with detect.FaceFinder() as finder:
        yield finder


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data", reason="the photo comes with scikit-image (extra dev)").astronaut()


def resized(picture, width, height):
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def test_a_face_is_found_where_it_is(finder, astronaut):
    (face,) = finder.faces(astronaut)
    # Read off the photo by eye: pupils at (203, 101) and (247, 104), tip of the nose at (224, 129).
    np.testing.assert_allclose(face.points[[468, 473, 4]], [[203, 101], [247, 104], [224, 129]], atol=5)
    assert 95 < face.width < 125


@pytest.mark.parametrize("side", [1500, 3000])
def test_a_small_face_in_a_large_photo_is_found(finder, astronaut, side):
    photo = np.full((side, side, 3), 120, np.uint8)
    photo[side // 2 : side // 2 + 155, 100:410] = resized(astronaut, 310, 310)[:155]
    (face,) = finder.faces(photo)
    (alone,) = finder.faces(astronaut)
    off = np.linalg.norm(face.points[:468] - alone.points[:468] * 310 / 512 - [100, side // 2], axis=1)
    assert off.mean() < 1.5  # pixels of a face that is 65 wide
    assert off.max() < 5


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_photo_on_its_side_or_head_is_found(finder, astronaut, quarter_turns):
    (face,) = finder.faces(np.ascontiguousarray(np.rot90(astronaut, quarter_turns)))
    (upright,) = finder.faces(astronaut)
    x, y = upright.points[4]
    for _ in range(quarter_turns):
        x, y = y, 512 - x
    np.testing.assert_allclose(face.points[4], [x, y], atol=6)


def test_of_two_faces_the_largest_is_taken_and_it_is_said(finder, astronaut):
    collage = np.full((700, 900, 3), 90, np.uint8)
    collage[350:600, 50:300] = resized(astronaut[20:220, 125:325], 250, 250)
    collage[20:520, 380:880] = resized(astronaut[20:220, 125:325], 500, 500)
    faces = finder.faces(collage)
    assert len(faces) == 2
    face, notes = detect.the_face(faces, collage, "two.jpg")
    assert 380 < face.points[:, 0].mean() < 880
    assert notes == ('"two.jpg" shows 2 faces; the largest was taken.',)


def test_no_face_is_one_sentence(finder):
    photo = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    faces = finder.faces(photo)
    assert faces == []
    with pytest.raises(InputError, match=r'No face was found in "noise.png"') as caught:
        detect.the_face(faces, photo, "noise.png")
    assert "75 degrees" in caught.value.hint


def test_a_picture_of_40_pixels_is_too_small_and_says_so(finder, astronaut):
    small = resized(astronaut[20:220, 125:325], 40, 40)
    with pytest.raises(InputError, match=r"too small: it is 2\d pixels wide, and 64 are needed"):
        detect.the_face(finder.faces(small), small, "small.png")
    blank = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(InputError, match="too small: it has 40 x 40 pixels"):
        detect.the_face(finder.faces(blank), blank, "blank.png")


def test_without_mediapipe_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(detect, "find_spec", lambda name: None)
    with pytest.raises(PortraitError, match="lacks mediapipe") as caught:
        detect.FaceFinder()
    assert "pip install" in caught.value.hint


def test_mediapipe_says_nothing(capfd, astronaut):
    with detect.FaceFinder() as finder:
        finder.faces(astronaut)
    assert capfd.readouterr().err == ""


def test_a_window_is_the_photo_and_black_around_it():
    photo = np.random.default_rng(2).integers(1, 255, (20, 30, 3), np.uint8)
    inside = detect.window(photo, np.array([3.0, 4.0]), 10.0, 10)
    np.testing.assert_array_equal(inside, photo[4:14, 3:13])
    around = detect.window(photo, np.array([-5.0, -6.0]), 40.0, 40)
    np.testing.assert_array_equal(around[6:26, 5:35], photo)
    assert around.sum() == photo.sum()
    assert not detect.window(photo, np.array([100.0, 100.0]), 10.0, 10).any()


@pytest.mark.parametrize("shape", [(480, 640), (3000, 2000), (1000, 5000)])
@pytest.mark.parametrize("level", [2, 4, 8])
def test_tiles_cover_the_photo_and_overlap(shape, level):
    """Whatever is half as wide as a tile lies completely in one of them."""
    tiles = detect._tiles(shape, level)
    if not tiles:
        assert 2 * min(shape) // level < 192
        return
    side = tiles[0][2]
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top = rng.uniform(0, shape[1] - side / 2), rng.uniform(0, shape[0] - side / 2)
        assert any(
            x - 1 <= left and left + side / 2 <= x + side + 1 and y - 1 <= top and top + side / 2 <= y + side + 1
            for x, y, _ in tiles
        )
