# SPDX-License-Identifier: Apache-2.0
"""The loop over people, and what it writes: true labels, whole or not at all, the same whoever shared the work."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_core import media
from neural_core.cameras import Camera
from neural_core.errors import InputError, PortraitError
from neural_core.human.anny import load_anny_head
from neural_core.records import HAIR, SKIN, Record
from training.data.folders import checksum, clear_leftovers, finished_people, record_file, write_dataset_json
from training.synthetic.dataset import render_share
from training.synthetic.figure import Figure, Material, Part
from training.synthetic.people import sample_person
from training.synthetic.picture import Picture
from training.synthetic.plan import Job, Plan

SIZE = 24
PLAN = Plan(views=2, instants=2, expressions="natural", size=SIZE, max_yaw=50)


class Bare:
    """A person of whom there is only the skin of the face model."""

    def __init__(self, model, code) -> None:
        self.model, self.code = model, code

    def figure(self, pose) -> Figure:
        vertices = self.model.vertices(self.code[:40], pose.actions).astype(float)
        skin = self.model.faces[self.model.parts["skin"]]
        gaze = np.full((2, 2), pose.joints[1, 1])
        return Figure((Part("skin", vertices, skin, SKIN, Material("skin", np.full(3, 0.5))),), (), vertices, gaze)


class Nudists:
    model = load_anny_head()

    def sitter(self, code, attire=None) -> Bare:
        return Bare(self.model, code)


class Camera3000:
    """Pictures of one colour, which says who and from where; depth and alpha are those of what is seen."""

    def __init__(self, dies_after: int = -1) -> None:
        self.left = dies_after

    def photographs(self, figure, sights, setting) -> list[Picture]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        pictures = []
        for sight in sights:
            rgba = np.zeros((SIZE, SIZE, 4), np.uint8)
            rgba[..., :3] = (127 + 100 * sight.view.cam2world[:3, 0]).astype(np.uint8)
            rgba[..., 3] = 255 * (sight.ray_depth > 0)
            pictures.append(Picture(rgba, sight.ray_depth))
        return pictures


def job(out: Path, people: int = 3, plan: Plan = PLAN) -> Job:
    return Job(out, seed=11, people=people, plan=plan)


def render(
    out: Path, worker: int = 0, workers: int = 1, camera: Camera3000 | None = None, plan: Plan = PLAN
) -> list[int]:
    told: list[int] = []
    render_share(job(out, plan=plan), worker, workers, Nudists(), camera or Camera3000(), told.append)
    write_dataset_json(out)
    return told


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert render(out) == [0] * 4 + [1] * 4 + [2] * 4
    return out


def test_a_job_survives_the_command_line(tmp_path):
    described = job(tmp_path, plan=replace(PLAN, max_yaw=30.5, variety="wide"))
    assert Job.from_json(described.to_json()) == described


def test_the_layout_is_eg3ds(whole):
    listed = json.loads((whole / "dataset.json").read_text())["labels"]
    assert [name for name, _ in listed] == [f"00000/img00000{i}_000{k}.png" for i in range(3) for k in range(4)]
    person = sample_person(11, 1, PLAN)
    expected = [view.label() for take in person.takes for view in take.views]
    np.testing.assert_array_equal(np.array([label for _, label in listed[4:8]], np.float32), expected)
    for name, label in listed:
        picture = media.read_picture(whole / name)
        assert picture.shape == (SIZE, SIZE, 4)
        assert tuple(picture[0, 0, :3]) == tuple((127 + 100 * np.array(label)[[0, 4, 8]]).astype(np.uint8))
        assert media.read_provenance(whole / name)["licence"] == "CC0-1.0"


def test_records_say_what_was_done(whole):
    for index in range(3):
        record, person = Record.load(record_file(whole, index)), sample_person(11, index, PLAN)
        np.testing.assert_array_equal(record.z, person.code)
        np.testing.assert_array_equal(record.shape, person.code[:40])
        assert record.clip.tolist() == [0, 0, 1, 1]
        assert record.time.tolist() == [0, 0, 0, 0]
        np.testing.assert_allclose(record.actions[::2], [t.pose.actions for t in person.takes], atol=1e-6)
        np.testing.assert_allclose(record.joints[1::2], [t.pose.joints for t in person.takes], atol=1e-6)
        np.testing.assert_allclose(record.gaze[3], person.takes[1].pose.joints[1, 1], atol=1e-6)
        assert record.source["licence"] == "CC0-1.0"
        assert record.source["seed"] == 11
        assert record.source["attire"] == {"hair": None, "glasses": None, "garment": None}
        assert record.background.shape == (0, 0, 0, 3)
        assert record.pncc.shape == record.driver.shape == (4, SIZE, SIZE, 3)
        np.testing.assert_array_equal(record.pncc[0], record.pncc[1])  # the same instant in the same frontal camera
        assert (record.pncc[0] != record.pncc[2]).any()
        assert (record.driver[0] != record.driver[1]).any()


def test_labels_agree_with_each_other(whole):
    """Camera, depth, regions, alpha and landmarks, all by the library's camera: the record's own arrays alone."""
    for index in range(3):
        record = Record.load(record_file(whole, index))
        camera = Camera.from_label(torch.from_numpy(record.cameras))
        for which in ("68", "478"):
            points = torch.from_numpy(getattr(record, f"landmarks_{which}")) * 2
            np.testing.assert_allclose(camera.project(points), getattr(record, f"points_{which}"), atol=1e-5)
        assert ((record.depth > 0) == (record.alpha > 127)).mean() > 0.97
        assert ((record.regions == SKIN) == (record.alpha > 127)).mean() > 0.97
        assert (record.regions == HAIR).sum() == 0
        for frame in range(len(record)):
            at = np.floor(record.points_478[frame] * SIZE).astype(int)
            seen = record.visible[frame]
            assert seen.mean() > 0.3
            column, row = np.clip(at[seen].T, 0, SIZE - 1)
            place = record.landmarks_478[frame][seen] * 2 - record.cameras[frame][[3, 7, 11]]
            there = record.depth[frame][row, column].astype(float)
            # A pixel is 5 cm of model space wide; of a profile, many landmarks lie on the outline.
            apart = np.abs(there - np.linalg.norm(place, axis=1))
            assert (apart[there > 0] < 0.1).mean() > 0.85
            assert np.median(apart) < 0.05


def test_two_workers_write_what_one_writes(whole, tmp_path):
    assert render(tmp_path, 1, 2) == [1] * 4
    assert finished_people(tmp_path) == [1]
    assert render(tmp_path, 0, 2) == [0] * 4 + [2] * 4
    assert checksum(tmp_path) == checksum(whole)


@pytest.mark.parametrize("moment", [0, 3, 6])
def test_a_run_that_dies_leaves_no_half_person_and_goes_on(whole, tmp_path, monkeypatch, moment):
    """It dies before a take of six, or (the last) when the second record is half written."""
    if moment == 6:
        write, saved = Path.write_bytes, []

        def dying(path, data):
            if path.suffix == ".npz" and any(saved):
                write(path, b"half")
                raise KeyboardInterrupt
            saved.append(path.suffix == ".npz")
            return write(path, data)

        monkeypatch.setattr(Path, "write_bytes", dying)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path, camera=Camera3000(dies_after=moment))
    monkeypatch.undo()
    done = {6: 1}.get(moment, moment // 2)
    assert finished_people(tmp_path) == list(range(done))
    assert render(tmp_path) == [person for person in range(done, 3) for _ in range(4)]
    assert checksum(tmp_path) == checksum(whole)


def test_leftovers_of_a_killed_process_are_cleared(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "records" / ".000001.99.part.npz").write_bytes(b"half")
    (tmp_path / "00000" / ".img000001_0001.99.part.png").write_bytes(b"half")
    (tmp_path / ".dataset.99.part.json").write_bytes(b"half")
    clear_leftovers(tmp_path)
    assert not list(tmp_path.rglob(".*"))
    assert checksum(tmp_path) == checksum(whole)


def test_a_damaged_record_does_not_stop_the_list(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    file = record_file(tmp_path, 1)
    file.write_bytes(file.read_bytes()[:-300])
    assert write_dataset_json(tmp_path) == 8
    assert "000001.npz is no portrait record" in capsys.readouterr().err
    names = [name for name, _ in json.loads((tmp_path / "dataset.json").read_text())["labels"]]
    assert names == [f"00000/img00000{i}_000{k}.png" for i in (0, 2) for k in range(4)]


def test_what_others_keep_in_the_folder_is_not_cleared(tmp_path):
    """Hidden files of a download or a sync, a folder that is so named, and what lies where no run writes."""
    theirs = [".mine.partial", ".dl.part1.rar", ".film.7.part.mkv", "records/.note.part", "other/.img.99.part.png"]
    (tmp_path / "records" / ".folder.99.part").mkdir(parents=True)
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"theirs")
    clear_leftovers(tmp_path)
    assert all((tmp_path / name).is_file() for name in theirs)
    assert (tmp_path / "records" / ".folder.99.part").is_dir()


def test_the_checksum_sees_every_byte_and_every_name(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    picture = tmp_path / "00000" / "img000001_0001.png"
    content = picture.read_bytes()
    picture.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert checksum(tmp_path) != checksum(whole)
    picture.write_bytes(content)
    assert checksum(tmp_path) == checksum(whole)
    last = tmp_path / "00000" / "img000002_0003.png"
    last.rename(last.with_name("img000002_0004.png"))  # the order of the files is the same
    assert checksum(tmp_path) != checksum(whole)
    with pytest.raises(InputError, match="no data set"):
        checksum(tmp_path / "00000")


def test_a_background_is_in_the_picture_and_in_the_record(tmp_path):
    plan = replace(PLAN, variety="wide", instants=1)
    render_share(job(tmp_path, 1, plan), 0, 1, Nudists(), Camera3000(), lambda _: None)
    record = Record.load(record_file(tmp_path, 0))
    np.testing.assert_array_equal(record.background[0], sample_person(11, 0, plan).takes[0].setting.backdrop)
    assert record.background.shape == (2, SIZE, SIZE, 3)
    assert media.read_picture(tmp_path / record.images[0]).shape == (SIZE, SIZE, 3)
    assert record.source["attire"]["hair"] is not None


def test_clips_have_times(tmp_path):
    plan = replace(PLAN, seconds=0.12, instants=2, views=1)
    render_share(job(tmp_path, 1, plan), 0, 1, Nudists(), Camera3000(), lambda _: None)
    record = Record.load(record_file(tmp_path, 0))
    np.testing.assert_allclose(record.time, [0, 0.04, 0.08] * 2, atol=1e-6)
    assert record.clip.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(path, data):
        if path.suffix == ".npz":
            raise OSError(28, "No space left on device")
        return write(path, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PortraitError, match=r"No space left on device\. The disk is full"):
        render(tmp_path)
    assert finished_people(tmp_path) == []
