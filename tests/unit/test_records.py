# SPDX-License-Identifier: Apache-2.0
"""A record is what it was after a round trip, and a file that is none, or no longer, is one sentence."""

import io
import json
from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.lib.npyio import NpzFile

from neural_core import files, records
from neural_core.errors import InputError, PortraitError
from neural_core.records import BACKGROUND, CLOTH, DEPTH_STEP, GLASSES, HAIR, SKIN, TORSO, Record

FRAMES, SIZE = 3, 8
SHAPES = {
    "cameras": (25,), "actions": (52,), "joints": (10, 3), "gaze": (2, 2), "landmarks_68": (68, 3),
    "landmarks_478": (478, 3), "points_68": (68, 2), "points_478": (478, 2), "visible": (478,), "depth": (SIZE, SIZE),
    "alpha": (SIZE, SIZE), "regions": (SIZE, SIZE), "pncc": (SIZE, SIZE, 3), "driver": (SIZE, SIZE, 3),
    "background": (SIZE, SIZE, 3), "time": (), "clip": (), "close_up": (),
}  # fmt: skip
KINDS = {
    **dict.fromkeys(("alpha", "regions", "pncc", "driver", "background"), np.uint8),
    **dict.fromkeys(("visible", "close_up"), np.bool_),
    "depth": np.float32,
    "clip": np.int32,
}


def any_record() -> Record:
    rng = np.random.default_rng(4)
    arrays = {name: (rng.random((FRAMES, *of)) * 6).astype(KINDS.get(name, np.float32)) for name, of in SHAPES.items()}
    arrays["depth"] = rng.integers(0, 2**16, (FRAMES, SIZE, SIZE)).astype(np.float32) * np.float32(DEPTH_STEP)
    shape, z = rng.normal(size=40).astype(np.float32), rng.normal(size=64).astype(np.float32)
    names = tuple(f"00000/img000000_{i:04d}.png" for i in range(FRAMES))
    return Record(images=names, shape=shape, z=z, source={"kind": "captured", "file": "Ä.jpg", "fps": 25.0}, **arrays)


@pytest.fixture
def saved(tmp_path):
    any_record().save(tmp_path / "a.npz")
    return tmp_path / "a.npz"


def test_what_is_read_is_what_was_written(saved):
    before, after = any_record(), Record.load(saved)
    assert (after.images, after.source, len(after)) == (before.images, before.source, FRAMES)
    for field in fields(Record):
        if field.name not in ("images", "source"):
            mine, other = getattr(before, field.name), getattr(after, field.name)
            assert mine.dtype == other.dtype, field.name
            np.testing.assert_array_equal(mine, other, err_msg=field.name)


def test_equal_records_are_equal_bytes(saved, tmp_path):
    """However the source was put together."""
    turned = replace(any_record(), source=dict(reversed(list(any_record().source.items()))))
    turned.save(tmp_path / "folder" / "b.npz")
    assert (tmp_path / "folder" / "b.npz").read_bytes() == saved.read_bytes()


def test_masks_by_hand():
    row = np.array([[[BACKGROUND, SKIN, HAIR, TORSO, CLOTH, GLASSES]]], np.uint8)
    record = replace(any_record(), regions=row)
    expected = {"background": "100000", "head": "011001", "hair": "001000", "torso": "000110"}
    assert {name: "".join(str(int(x)) for x in record.mask(name)[0, 0]) for name in expected} == expected
    assert set(records.MASKS) == set(expected)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_was_cut_is_one_sentence(saved, kept):
    saved.write_bytes(saved.read_bytes()[: int(kept * saved.stat().st_size)])
    with pytest.raises(InputError, match="is no portrait record"):
        Record.load(saved)


def test_a_flipped_bit_is_one_sentence_or_changes_nothing(saved):
    """Names and sizes stand twice in an archive, and not every copy is read."""
    whole, before = saved.read_bytes(), Record.load(saved)
    refused = 0
    for place in np.random.default_rng(7).integers(0, 8 * len(whole), 400):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        saved.write_bytes(data)
        try:
            after = Record.load(saved)
        except InputError:
            refused += 1
            continue
        assert after.source == before.source
        assert all(np.array_equal(getattr(after, f.name), getattr(before, f.name)) for f in fields(Record)), place
    assert refused > 300


def archive(**arrays) -> bytes:
    memory = io.BytesIO()
    np.savez(memory, **arrays)
    return memory.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        archive(),
        archive(source=np.array("[]")),
        archive(source=np.array('"text"')),
        archive(source=np.array(json.dumps({"format": "portrait-record/9"}))),
        archive(source=np.array(json.dumps({"format": records.FORMAT})), images=np.array(["a.png"])),
    ],
    ids=["empty", "text", "nothing", "a list", "a word", "another format", "no arrays"],
)
def test_what_is_no_record_is_one_sentence(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz is no portrait record"):
        Record.load(tmp_path / "a.npz")
    with pytest.raises(InputError, match="No such file"):
        Record.load(tmp_path / "b.npz")


def test_an_array_alone_is_no_record(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="is no portrait record"):
        Record.load(tmp_path / "a.npz")


def test_a_full_disk_is_one_sentence_and_leaves_the_old_record(saved, monkeypatch):
    real = files.replacing

    @contextmanager
    def full(path):
        with real(path) as partial:
            partial.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        yield

    before = saved.read_bytes()
    monkeypatch.setattr(files, "replacing", full)
    with pytest.raises(PortraitError) as caught:
        replace(any_record(), images=("other",)).save(saved)
    assert caught.value.kind == "output"
    assert str(caught.value).count("Cannot write") == 1
    assert "The disk is full" in str(caught.value)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["a.npz"]


def test_depth_is_finer_than_a_pixel_of_a_large_picture(tmp_path):
    """At 512 pixels one is 2.7 / 4.2647 / 512 = 0.0012 model units wide."""
    near = np.linspace(1.5, 3.9, FRAMES * SIZE * SIZE, dtype=np.float32).reshape(FRAMES, SIZE, SIZE)
    near[0, 0, 0] = 0
    replace(any_record(), depth=near).save(tmp_path / "a.npz")
    read = Record.load(tmp_path / "a.npz").depth
    assert np.abs(read - near).max() < 0.6e-4
    assert read[0, 0, 0] == 0
    replace(any_record(), depth=3 * near).save(tmp_path / "a.npz")  # somebody who steps back in a clip
    assert np.abs(Record.load(tmp_path / "a.npz").depth - 3 * near).max() < 0.6e-4


@pytest.mark.parametrize("wrong", [-0.1, np.inf, np.nan])
def test_depth_that_is_none_is_refused(tmp_path, wrong):
    depth = np.full((FRAMES, SIZE, SIZE), wrong, np.float32)
    with pytest.raises(ValueError, match="depth is a number"):
        replace(any_record(), depth=depth).save(tmp_path / "a.npz")


def test_a_part_is_read_as_if_the_rest_were_unknown(saved):
    whole, part = Record.load(saved), Record.load(saved, only=("depth", "z"))
    assert (part.images, part.source) == (whole.images, whole.source)
    for field in fields(Record):
        if field.name not in ("images", "source"):
            expected = getattr(whole, field.name) if field.name in ("depth", "z") else np.zeros(0)
            np.testing.assert_array_equal(getattr(part, field.name), expected, err_msg=field.name)
    with pytest.raises(InputError, match="no portrait record"):
        Record.load(saved, only=("deph",))


def test_names_and_cameras_are_read_alone(saved, tmp_path, monkeypatch):
    before = any_record()
    read = []
    monkeypatch.setattr(
        NpzFile, "__getitem__", lambda file, name, get=NpzFile.__getitem__: read.append(name) or get(file, name)
    )
    names, cameras = Record.names_and_cameras(saved)
    assert names == before.images
    np.testing.assert_array_equal(cameras, before.cameras)
    assert set(read) == {"source", "images", "cameras"}
    replace(before, images=before.images[:1]).save(tmp_path / "b.npz")
    with pytest.raises(InputError, match="1 pictures, 3 cameras"):
        Record.names_and_cameras(tmp_path / "b.npz")
