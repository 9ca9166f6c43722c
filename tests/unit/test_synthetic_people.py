# SPDX-License-Identifier: Apache-2.0
"""Who is photographed, from where, and how it is written down: all without Blender."""

import json
import os

import numpy as np
import pytest

from training.synthetic import labels
from training.synthetic.people import FOCAL, HEAD_TO_MODEL, RADIUS, Person, View, intrinsics, orbit, sample_person


def project(view: View, points: np.ndarray) -> np.ndarray:
    """Places in the picture, 0..1, of points [n, 3] in model space."""
    in_camera = (points - view.cam2world[:3, 3]) @ view.cam2world[:3, :3]
    pixels = in_camera @ view.intrinsics.T
    return pixels[:, :2] / pixels[:, 2:]


def test_the_same_index_gives_the_same_person_and_another_another():
    first, again, other = sample_person(3, 7), sample_person(3, 7), sample_person(3, 8)
    np.testing.assert_array_equal(first.code, again.code)
    for view, same in zip(first.views, again.views, strict=True):
        np.testing.assert_array_equal(view.label(), same.label())
    assert np.abs(first.code - other.code).max() > 0.5
    assert np.abs(first.code - sample_person(4, 7).code).max() > 0.5
    np.testing.assert_array_equal(first.code, sample_person(3, 7, views=4, close_ups=0).code)


def test_codes_are_standard_normals():
    codes = np.stack([sample_person(0, index, 1, 0).code for index in range(800)])
    assert abs(codes.mean()) < 0.02
    assert codes.std() == pytest.approx(1, abs=0.02)
    assert np.abs(np.corrcoef(codes.T) - np.eye(64)).max() < 0.17


def test_views_cover_the_head_as_they_should():
    people = [sample_person(0, index) for index in range(300)]
    yaw, pitch, plain = [], [], []
    for person in people:
        assert len(person.views) == 8
        assert [view.close_up for view in person.views] == [False] * 6 + [True] * 2
        for view in person.views:
            place = view.cam2world[:3, 3]
            assert np.linalg.norm(place) == pytest.approx(RADIUS)
            yaw.append(np.degrees(np.arctan2(place[0], place[2])))
            pitch.append(np.degrees(np.arcsin(place[1] / RADIUS)))
            plain.append(not view.close_up)
    yaw, pitch = np.array(yaw).reshape(300, 8), np.array(pitch)
    assert np.abs(yaw[:, 0]).max() <= 10
    assert np.abs(yaw[:, 6:]).max() <= 45
    assert 0.5 < (np.abs(yaw[:, 1:6]) <= 60).mean() < 0.6
    assert np.abs(yaw).max() > 170
    assert np.abs(pitch).max() <= 25 + 1e-9
    assert pitch.std() == pytest.approx(9.7, abs=0.5)


def test_cameras_are_rigid_and_look_at_the_head_the_right_way_up():
    for person in (sample_person(1, index) for index in range(30)):
        for view in person.views:
            rotation = view.cam2world[:3, :3]
            np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
            assert np.linalg.det(rotation) == pytest.approx(1)
            # y runs down in the picture; a plain view has the origin in its middle.
            low, high = project(view, np.array([[0, -0.05, 0], [0, 0.05, 0.0]]))
            assert low[1] > high[1]
            if not view.close_up:
                np.testing.assert_allclose(project(view, np.zeros((1, 3)))[0], 0.5, atol=1e-12)


def test_orbit_turns_towards_the_subjects_left():
    np.testing.assert_allclose(orbit(0, 0)[:3, 3], [0, 0, RADIUS], atol=1e-12)
    np.testing.assert_allclose(orbit(90, 0)[:3, 3], [RADIUS, 0, 0], atol=1e-12)
    np.testing.assert_allclose(orbit(0, 30)[:3, 3], [0, RADIUS / 2, RADIUS * np.sqrt(3) / 2], atol=1e-12)
    frontal = View(orbit(0, 0), intrinsics(FOCAL))
    left = project(frontal, np.array([[0.1, 0.0, 0.0]]))[0]
    np.testing.assert_allclose(left, [0.5 + FOCAL * 0.1 / RADIUS, 0.5])  # the subject's left is right in the picture


def test_cameras_agree_with_the_librarys():
    torch = pytest.importorskip("torch")
    from neural_core.cameras import Camera

    view = sample_person(2, 5).views[7]
    camera = Camera.from_label(torch.from_numpy(view.label())[None])
    np.testing.assert_allclose(camera.cam2world[0].numpy(), view.cam2world, atol=1e-6)
    np.testing.assert_allclose(camera.intrinsics[0].numpy(), view.intrinsics, atol=1e-6)


def test_close_ups_hold_the_middle_of_the_face():
    face = HEAD_TO_MODEL * np.array([[0.0, -0.022, 0.085]])
    for person in (sample_person(1, index) for index in range(50)):
        for view in person.views[6:]:
            np.testing.assert_allclose(project(view, face)[0], 0.5, atol=0.45)
            assert view.intrinsics[0, 0] == pytest.approx(2.2 * FOCAL)


def test_ray_depth_is_the_distance_to_a_plane():
    """Planar depth of a wall at 1.5 m gives, along each ray, the distance of its point to the camera."""
    view = View(np.eye(4), intrinsics(2.0, 0.4, 0.7))
    planar = np.full((6, 6), 1.5)
    planar[0, 0] = 1e10
    depth = labels.ray_depth(planar, view).astype(float)
    assert depth[0, 0] == 0
    for row, column in ((0, 5), (3, 2), (5, 0)):
        x, y = ((column + 0.5) / 6 - 0.4) / 2, ((row + 0.5) / 6 - 0.7) / 2
        point = 1.5 * np.array([x, y, 1])
        assert depth[row, column] == pytest.approx(HEAD_TO_MODEL * np.linalg.norm(point), rel=1e-3)


def fake_person(folder, index: int) -> tuple[Person, list, list]:
    person = sample_person(9, index, views=2, close_ups=0)
    pictures = [folder / f"{index}-{view}.png" for view in range(2)]
    for picture in pictures:
        picture.write_bytes(b"picture of %d" % index)
    return person, pictures, [np.full((4, 4), index, np.float16)] * 2


def test_a_person_is_written_whole(tmp_path):
    for index in (3, 101):
        labels.write_person(tmp_path, *fake_person(tmp_path, index))
    assert labels.finished_people(tmp_path) == [3, 101]
    assert labels.write_dataset_json(tmp_path) == 4
    listed = json.loads((tmp_path / "dataset.json").read_text())["labels"]
    assert [name for name, _ in listed] == [
        *("00000/img000003_00.png", "00000/img000003_01.png"),
        *("00001/img000101_00.png", "00001/img000101_01.png"),
    ]
    assert (tmp_path / listed[2][0]).read_bytes() == b"picture of 101"
    np.testing.assert_allclose(listed[1][1], sample_person(9, 3, 2, 0).views[1].label(), atol=1e-7)
    with np.load(labels.person_file(tmp_path, 101)) as stored:
        np.testing.assert_array_equal(stored["z"], sample_person(9, 101, 2, 0).code)
        assert stored["depth"].shape == (2, 4, 4)
        assert stored["images"].tolist() == [name for name, _ in listed[2:]]


@pytest.mark.parametrize("moment", ["pictures", "labels"])
def test_a_run_that_dies_leaves_no_half_person(tmp_path, monkeypatch, moment):
    """Killed after the pictures are moved or before the labels are: the person is not there, and comes again."""
    labels.write_person(tmp_path, *fake_person(tmp_path, 0))

    def die(*_args, **_values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "pictures":
            patch.setattr(np, "savez_compressed", die)
        else:
            patch.setattr(type(tmp_path), "replace", _dying_replace(die))
        with pytest.raises(KeyboardInterrupt):
            labels.write_person(tmp_path, *fake_person(tmp_path, 1))
    assert labels.finished_people(tmp_path) == [0]
    assert labels.write_dataset_json(tmp_path) == 2
    labels.write_person(tmp_path, *fake_person(tmp_path, 1))
    assert labels.finished_people(tmp_path) == [0, 1]


def _dying_replace(die):
    def replace(source, target):
        if os.fspath(target).endswith(".npz"):
            die()
        os.rename(source, target)  # noqa: PTH104 (Path.replace is what is replaced here)

    return replace
