# SPDX-License-Identifier: Apache-2.0
"""Frames of our records with what was asked for by name, and windows of clips."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from torch.utils.data import DataLoader

from neural_core.cameras import orbit
from neural_core.errors import InputError, UsageError
from neural_core.records import BACKGROUND, CLOTH, GLASSES, HAIR, SKIN, TORSO, Record
from tests.layouts import encoded, write_folder, write_zip
from tests.spheres import empty_record
from training.data.clips import ClipSet
from training.data.records import RecordSet

SIZE = 6


def png(value: int, size: int = SIZE) -> bytes:
    """A picture of one grey, but for a corner that says where left is."""
    picture = np.full((size, size, 3), value, np.uint8)
    picture[0, 0] = 255
    return encoded(picture)


def write_person(root: Path, index: int, frames: int, **changes) -> Record:
    """A person whose arrays are noise, and whose k-th picture has the grey 10 index + k."""
    rng = np.random.default_rng(index)
    names = [f"00000/img{index:06d}_{frame:04d}.png" for frame in range(frames)]
    for frame, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(10 * index + frame))
    record = dataclasses.replace(
        empty_record(names),
        cameras=orbit(torch.from_numpy(rng.uniform(-40, 40, frames)).float()).label().numpy(),
        actions=rng.random((frames, 52)).astype(np.float32),
        depth=rng.integers(0, 60000, (frames, SIZE, SIZE)).astype(np.float32) * np.float32(1e-4),
        regions=rng.integers(0, 6, (frames, SIZE, SIZE)).astype(np.uint8),
        pncc=rng.integers(0, 256, (frames, SIZE, SIZE, 3)).astype(np.uint8),
        z=rng.normal(size=64).astype(np.float32),
        time=np.zeros(frames, np.float32),
        clip=np.zeros(frames, np.int32),
    )
    record = dataclasses.replace(record, **changes)
    record.save(root / "records" / f"{index:06d}.npz")
    return record


@pytest.fixture
def people(tmp_path):
    return [write_person(tmp_path, index, frames) for index, frames in enumerate((4, 3, 1))]


def grey(item) -> list[int]:
    return item["picture"][:, 0, 3, 3].tolist()


def test_items_are_blocks_of_a_persons_frames(people, tmp_path):
    data = RecordSet(tmp_path, views=2, arrays=("z", "actions", "depth", "pncc"), masks=("head", "torso"))
    where = [(0, [0, 1]), (0, [2, 3]), (1, [0, 1]), (1, [2, 0]), (2, [0, 0])]
    assert (len(data), data.size, data.channels, data.skipped) == (5, SIZE, 3, ())
    for item, (person, frames) in zip(data, where, strict=True):
        record = people[person]
        assert item["person"] == person
        assert grey(item) == [10 * person + frame for frame in frames]
        for name, expected in {
            "label": record.cameras[frames],
            "z": record.z,
            "actions": record.actions[frames],
            "pncc": record.pncc[frames].transpose(0, 3, 1, 2),
            "mask_head": np.vectorize({SKIN, HAIR, GLASSES}.__contains__)(record.regions[frames]),
            "mask_torso": np.vectorize({TORSO, CLOTH}.__contains__)(record.regions[frames]),
        }.items():
            np.testing.assert_array_equal(item[name].numpy(), expected, err_msg=name)
        np.testing.assert_allclose(item["depth"].numpy(), record.depth[frames], atol=5e-5)
        assert "mask_background" not in item
        assert BACKGROUND not in record.regions[frames][item["mask_head"].numpy()]
    assert torch.equal(data.labels, torch.stack([item["label"] for item in data]))


def test_items_make_batches_in_workers(people, tmp_path):
    data = RecordSet(tmp_path, views=2, arrays=("z", "depth"), masks=("hair",))
    batch = next(iter(DataLoader(data, batch_size=5, num_workers=1)))
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes == {
        **{"picture": (5, 2, 3, SIZE, SIZE), "label": (5, 2, 25), "index": (5,), "person": (5,)},
        **{"z": (5, 64), "depth": (5, 2, SIZE, SIZE), "mask_hair": (5, 2, SIZE, SIZE)},
    }
    assert batch["person"].tolist() == [0, 0, 1, 1, 2]


def test_only_what_is_asked_for_is_unpacked(people, tmp_path, monkeypatch):
    data, unpacked = RecordSet(tmp_path, views=2, arrays=("actions",)), []
    whole = NpzFile.__getitem__
    monkeypatch.setattr(NpzFile, "__getitem__", lambda file, name: unpacked.append(name) or whole(file, name))
    data[2]
    assert sorted(unpacked) == ["actions", "images", "source"]


def test_damage_is_one_item_and_one_sentence(people, tmp_path):
    """A record that is cut is no item, a lost picture and a record without the array are replaced by the next."""
    write_person(tmp_path, 3, 2, actions=np.zeros(0, np.float32))
    write_person(tmp_path, 4, 2)
    write_person(tmp_path, 5, 2, depth=np.zeros((2, 3, 3), np.float32))
    write_person(tmp_path, 6, 2, actions=np.zeros((1, 52), np.float32))
    write_person(tmp_path, 7, 0)
    file = tmp_path / "records" / "000002.npz"
    file.write_bytes(file.read_bytes()[:300])
    (tmp_path / "00000" / "img000001_0002.png").unlink()
    data = RecordSet(tmp_path, views=2, arrays=("actions", "depth"))
    assert [item["person"] for item in data] == [0, 0, 1, 4, 4, 4, 0, 0]
    assert [item["index"] for item in data] == [0, 1, 2, 5, 5, 5, 0, 0]
    assert data.damaged == 4
    expected = (
        "000002.npz is no portrait record",
        "000007.npz is no portrait record (0 pictures)",
        'Cannot read "00000/img000001_0002.png"',
        '000003.npz says nothing of "actions"',
        '"depth" in',
        '000006.npz is no portrait record ("actions" has another number of frames)',
    )
    for sentence, words in zip(data.skipped, expected, strict=True):
        assert words in sentence


def test_what_records_do_not_have_is_a_sentence(people, tmp_path):
    with pytest.raises(UsageError, match=r'no array "deph"\. There are actions, alpha'):
        RecordSet(tmp_path, arrays=("deph",))
    with pytest.raises(UsageError, match=r'no mask "nose"\. There are background, hair, head, torso'):
        RecordSet(tmp_path, masks=("nose",))
    with pytest.raises(InputError, match=r'8 items in a row.*says nothing of "gaze"'):
        RecordSet(tmp_path, arrays=("gaze",))
    with pytest.raises(InputError, match=r"no records of people.*training\.synthesize"):
        RecordSet(tmp_path / "none")
    for file in (tmp_path / "records").iterdir():
        file.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"3 were left out, the first being: .*000000\.npz is no portrait record"):
        RecordSet(tmp_path)


def test_limit_takes_the_first_people(people, tmp_path):
    assert [item["person"] for item in RecordSet(tmp_path, limit=2)] == [0] * 4 + [1] * 3


def write_clips(root: Path) -> Record:
    """Two clips of five and three frames, each seen by two cameras; the record has them instant by instant."""
    clip = np.repeat([0, 0, 0, 0, 0, 1, 1, 1], 2).astype(np.int32)
    time = np.repeat([0, 1, 2, 3, 4, 0, 1, 2], 2).astype(np.float32) / 25
    return write_person(root, 0, 16, clip=clip, time=time)


def windows(clips: list[list[int]], frames: int, stride: int, hop: int) -> list[list[int]]:
    """All windows, by trying every start."""
    found = []
    for clip in clips:
        for start in range(0, len(clip), hop):
            if start + (frames - 1) * stride < len(clip):
                found.append([clip[start + k * stride] for k in range(frames)])
    return found


CLIPS = [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9], [10, 12, 14], [11, 13, 15]]
"""Frames of `write_clips` by clip and camera, which are also their greys."""


@pytest.mark.parametrize(
    ("frames", "stride", "hop"), [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 1, 3), (2, 2, 2), (5, 1, 1)]
)
def test_windows_of_recorded_clips(tmp_path, frames, stride, hop):
    record = write_clips(tmp_path)
    data = ClipSet(tmp_path, frames=frames, stride=stride, hop=hop, mirror=True)
    expected = windows(CLIPS, frames, stride, hop)
    assert len(data) == 2 * len(expected)
    assert data.labels.shape == (len(data), frames, 25)
    for place, window in enumerate(expected):
        item, mirrored = data[place], data[place + len(expected)]
        assert grey(item) == window
        np.testing.assert_array_equal(item["label"].numpy(), record.cameras[window])
        np.testing.assert_array_equal(item["time"].numpy(), record.time[window])
        assert torch.equal(mirrored["picture"], item["picture"].flip(-1))
        assert not torch.equal(mirrored["picture"], item["picture"])
        assert torch.equal(mirrored["label"], data.labels[place + len(expected)])
        np.testing.assert_allclose(mirrored["label"][:, 3].numpy(), -record.cameras[window][:, 3])


def test_clips_that_are_too_short_are_named(tmp_path):
    write_clips(tmp_path)
    data = ClipSet(tmp_path, frames=4)
    assert len(data) == 4
    assert data.skipped == tuple(f"000000.npz, clip 1, camera {camera}: only 3 frames." for camera in (0, 1))
    with pytest.raises(InputError, match=r"has 6 frames\. The longest has 5"):
        ClipSet(tmp_path, frames=6)
    with pytest.raises(UsageError, match="stride must be at least 1, not 0"):
        ClipSet(tmp_path, stride=0)


def test_limit_takes_the_first_clips(tmp_path):
    write_clips(tmp_path)
    assert [grey(item) for item in ClipSet(tmp_path, frames=5, limit=1)] == [CLIPS[0]]


def frame_files(clips: dict[str, int]) -> dict[str, bytes]:
    """Folders of frames with numbers that are not padded, and one damaged frame if asked for."""
    files, labels = {}, []
    for place, (clip, count) in enumerate(clips.items()):
        for frame in range(count):
            name = f"{clip}/frame_{frame + 1}.png"
            files[name] = png(20 * place + frame)
            labels.append([name, orbit(10.0 * place + frame).label()[0].tolist()])
    return {**files, "dataset.json": json.dumps({"labels": labels}).encode()}


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_folders_of_frames_are_clips(tmp_path, write: Callable):
    data = ClipSet(write(tmp_path / "data.zip", frame_files({"a/b": 12, "c": 3})), frames=3, fps=10.0)
    expected = windows([list(range(12)), [20, 21, 22]], 3, 1, 1)
    assert [grey(item) for item in data] == expected
    np.testing.assert_allclose(data[9]["time"].numpy(), [0.9, 1.0, 1.1], rtol=1e-6)
    np.testing.assert_allclose(data[10]["time"].numpy(), [0.0, 0.1, 0.2], rtol=1e-6)
    torch.testing.assert_close(data[9]["label"], orbit(torch.tensor([9.0, 10.0, 11.0])).label())


def test_a_window_with_a_damaged_frame_is_left_out(tmp_path):
    files = frame_files({"a": 6})
    files["a/frame_3.png"] = files["a/frame_3.png"][:30]
    data = ClipSet(write_zip(tmp_path / "data.zip", files), frames=2)
    assert [grey(item) for item in data] == [[0, 1], [3, 4], [3, 4], [3, 4], [4, 5]]
    assert data.damaged == 2
    assert all('"a/frame_3.png"' in sentence for sentence in data.skipped)


def test_records_in_a_zip_are_a_sentence(tmp_path):
    files = {**frame_files({"a": 3}), "records/000000.npz": b"PK"}
    with pytest.raises(InputError, match=r"cannot be read from a zip\. Unpack it"):
        ClipSet(write_zip(tmp_path / "data.zip", files), frames=2)
