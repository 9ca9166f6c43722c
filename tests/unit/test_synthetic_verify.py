# SPDX-License-Identifier: Apache-2.0
"""The judge of labels is judged: on a wall whose depth is known on paper, and with a FaceMesh that errs on purpose."""

import dataclasses
import json

import numpy as np
import pytest

from neural_core import media
from neural_core.errors import InputError
from neural_core.human.landmarks import eye_distance
from neural_core.records import CLOTH, GLASSES, HAIR, SKIN, Record
from tests.spheres import empty_record
from training.synthesize import main
from training.synthetic import verify
from training.synthetic.views import framed

SIZE = 32
YAWS = (0.0, 20.0, -28.0, 35.0)


def wall(place: float = 0.05, size: int = SIZE) -> Record:
    """A wall at z = ``place`` (metres) seen from four sides, with 478 landmarks on it; depth by intersecting rays."""
    names = [f"00000/img000000_000{frame}.png" for frame in range(len(YAWS))]
    xy = np.random.default_rng(0).uniform(-0.09, 0.09, (478, 2))
    landmarks = np.concatenate([xy, np.full((478, 1), place)], 1)
    centres = (np.arange(size) + 0.5) / size
    depths, points, labels = [], [], []
    for yaw in YAWS:
        view = framed(yaw, 4.0)
        labels.append(view.label())
        points.append(view.project(landmarks))
        u, v = np.meshgrid(centres, centres)
        rays = np.stack([(u - 0.5) / view.intrinsics[0, 0], (v - 0.5) / view.intrinsics[1, 1], np.ones_like(u)], -1)
        rays = rays @ view.cam2world[:3, :3].T
        along = (2 * place - view.cam2world[2, 3]) / rays[..., 2]
        depths.append(along * np.linalg.norm(rays, axis=-1))
    return dataclasses.replace(
        empty_record(names),
        cameras=np.stack(labels),
        depth=np.stack(depths).astype(np.float16),
        points_478=np.stack(points).astype(np.float32),
        landmarks_478=np.tile(landmarks, (len(YAWS), 1, 1)).astype(np.float32),
        visible=np.ones((len(YAWS), 478), bool),
        regions=np.full((len(YAWS), size, size), SKIN, np.uint8),
        close_up=np.zeros(len(YAWS), bool),
    )


def test_yaw_is_that_of_the_camera():
    np.testing.assert_allclose(verify.yaw_of(wall().cameras), YAWS, atol=1e-4)


def test_depth_of_a_wall_is_right_and_a_displaced_one_is_wrong_by_as_much():
    exact = verify.depth_errors(wall())
    # A pixel is 2.6 / (4.2647 x 32) = 0.019 wide there; half precision has steps of a tenth of it.
    np.testing.assert_allclose(exact.footprint, 0.019, atol=0.001)
    assert np.abs(exact.interpolated).max() < 0.1
    assert np.abs(exact.held).max() < 0.06
    assert len(exact.held) == 4 * 478
    record = wall()
    # The landmarks of the first picture 20 mm behind the wall, along the rays of its camera.
    origin = record.cameras[0, [3, 7, 11]] / 2
    away = record.landmarks_478[0] - origin
    behind = record.landmarks_478.copy()
    behind[0] = origin + away * (1 + 0.020 / np.linalg.norm(away, axis=1, keepdims=True))
    moved = verify.depth_errors(dataclasses.replace(record, landmarks_478=behind))
    np.testing.assert_allclose(moved.interpolated[:478], 2.1, atol=0.15)
    assert (moved.held[:478] > 1.7).all()  # the four pixels see the wall a little deeper or nearer
    np.testing.assert_allclose(moved.interpolated[478:], exact.interpolated[478:])
    deeper = verify.depth_errors(record, deeper=3.0)
    np.testing.assert_allclose(deeper.interpolated - exact.interpolated, 3.0, atol=1e-9)


def test_a_step_between_the_pixels_holds_a_landmark_on_either_side():
    """Half of the wall 8 cm further back: landmarks at the step lie between the depths around them."""
    record = wall()
    depth = record.depth.copy()
    depth[:, :, : SIZE // 2] += np.float16(0.16)
    stepped = dataclasses.replace(record, depth=depth)
    errors = verify.depth_errors(stepped)
    at_step = np.abs(record.points_478[..., 0] * SIZE - SIZE / 2).ravel() < 0.4
    behind = (record.points_478[..., 0] * SIZE < SIZE / 2 - 1).ravel()
    assert at_step.sum() > 10
    assert np.abs(errors.held[at_step]).max() < 0.6  # the wall is slanted, too
    assert (np.abs(errors.interpolated[at_step]) > 0.5).mean() > 0.9
    np.testing.assert_allclose(errors.held[behind], -8.4, atol=1.5)


def test_hidden_landmarks_and_those_near_hair_and_glasses_do_not_count():
    record = wall()
    for region, counts in ((HAIR, False), (GLASSES, False), (CLOTH, True)):
        regions = record.regions.copy()
        regions[1] = region
        found = len(verify.depth_errors(dataclasses.replace(record, regions=regions)).held)
        assert found == (4 if counts else 3) * 478
    visible = record.visible.copy()
    visible[2, :100] = False
    assert len(verify.depth_errors(dataclasses.replace(record, visible=visible)).held) == 4 * 478 - 100
    empty = record.depth.copy()
    empty[3] = 0
    assert len(verify.depth_errors(dataclasses.replace(record, depth=empty)).held) == 3 * 478


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data set of the wall, and a FaceMesh that is wrong by a tenth of the eyes' distance at every third index."""
    record = wall()
    record.save(tmp_path / "records" / "000000.npz")
    (tmp_path / "00000").mkdir()
    for frame, name in enumerate(record.images):
        media.write_png(tmp_path / name, np.full((SIZE, SIZE, 4), 10 * frame, np.uint8), {})
    answers = []

    def facemesh(pictures):
        assert pictures.shape[1:] == (512, 512, 3)
        found = []
        for _ in pictures:
            frame = len(answers)
            answers.append(frame)
            points = record.points_478[frame].astype(float)
            points[::3, 0] += 0.1 * eye_distance(points)
            found.append(None if frame == 1 else points)
        return found

    monkeypatch.setattr(verify, "face_landmarks", facemesh)
    return tmp_path


def test_facemesh_is_shown_what_is_frontal_and_its_errors_are_counted(data):
    errors = verify.facemesh_errors(data, 30.0)
    assert [error is None for error in errors] == [False, True, False]  # 35 degrees is too far aside
    assert verify.chosen(errors) == tuple(index for index in range(478) if index % 3)
    figures = verify.agreement(errors, (0, 1, 2, 4))
    assert figures.found == pytest.approx(2 / 3)
    assert figures.mean == pytest.approx(0.025, abs=1e-6)
    assert figures.median == pytest.approx(0.025, abs=1e-6)


def test_the_command_prints_a_table_and_json(data, capsys):
    assert main(["verify", str(data), "--json", "--out", str(data / "figures.json")]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(printed.splitlines()[-1])
    assert figures == json.loads((data / "figures.json").read_text())
    assert figures["depth"]["within_a_pixel"] == 1.0
    assert figures["depth"]["interpolated_median_mm"] < 1
    assert figures["depth"]["within_if_two_pixels_deeper"] < 0.05
    assert figures["facemesh"]["pictures"] == 3
    assert "within a pixel" in printed


def test_choosing_prints_indices_alone(data, capsys):
    assert main(["verify", str(data), "--choose"]) == 0
    assert eval(capsys.readouterr().out)[:4] == (1, 2, 4, 5)


def test_no_people_and_no_faces_are_sentences(data, tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="no picture in which FaceMesh finds a face"):
        verify.agreement([None, None])
    assert main(["verify", str(tmp_path / "00000")]) == 1
    assert "There are no people in" in capsys.readouterr().err
    monkeypatch.setattr(verify, "available", lambda: False)
    assert main(["verify", str(data)]) == 2
    assert "mediapipe" in capsys.readouterr().err
