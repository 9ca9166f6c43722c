# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of written files: what counts as there, what is made again."""

import importlib
import json
import sys

import imageio.v3
import numpy as np
import pytest


@pytest.fixture(scope="module")
def record(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield importlib.import_module("neural_portrait.frame_record")
    sys.path.remove(str(stub_stage))


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "f_0001.png"
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 4), np.uint8)
    imageio.v3.imwrite(path, pixels)
    return path


def test_a_complete_png_has_a_size(record, png):
    assert record.png_size(png) == (30, 20)


def test_a_png_that_was_cut_anywhere_has_none(record, png):
    data = png.read_bytes()
    for length in range(0, len(data), 7):
        png.write_bytes(data[:length])
        assert record.png_size(png) is None, length


def test_a_png_with_a_flipped_bit_has_none(record, png):
    data = bytearray(png.read_bytes())
    data[len(data) // 2] ^= 4
    png.write_bytes(data)
    assert record.png_size(png) is None


def test_no_png_and_no_file_have_none(record, tmp_path):
    assert record.png_size(tmp_path / "none.png") is None
    assert record.png_size(tmp_path) is None
    (tmp_path / "x.png").write_bytes(b"GIF89a" * 9)
    assert record.png_size(tmp_path / "x.png") is None


def test_keys_tell_facts_apart_and_not_their_order(record):
    first = record.key_of({"a": 1, "b": [2.0, "x"]})
    assert first == record.key_of({"b": [2.0, "x"], "a": 1})
    assert first != record.key_of({"a": 1, "b": [2.0, "y"]})


def test_a_picture_counts_with_its_key_and_size_only(record, png, tmp_path):
    kept = record.FrameRecord(tmp_path)
    assert not kept.holds_picture(png, "k1", (30, 20))
    kept.add(png, "k1", frame=1)
    for seen in (kept, record.FrameRecord(tmp_path)):
        assert seen.holds_picture(png, "k1", (30, 20))
        assert not seen.holds_picture(png, "k2", (30, 20))
        assert not seen.holds_picture(png, "k1", (20, 30))
    png.write_bytes(png.read_bytes()[:-1])
    assert not kept.holds_picture(png, "k1", (30, 20))


def test_the_last_line_of_a_file_counts(record, png, tmp_path):
    kept = record.FrameRecord(tmp_path)
    kept.add(png, "k1")
    kept.add(png, "k2")
    assert record.FrameRecord(tmp_path).holds_picture(png, "k2", (30, 20))
    assert not record.FrameRecord(tmp_path).holds_picture(png, "k1", (30, 20))


def test_lines_after_a_line_that_was_cut_are_read(record, png, tmp_path):
    """A kill in the middle of a line must not cost the line that the next run writes."""
    line = json.dumps({"file": "f_0000.png", "key": "k0"})
    (tmp_path / record.RECORD).write_text(line + "\n" + line[:13])
    record.FrameRecord(tmp_path).add(png, "k1")
    assert record.FrameRecord(tmp_path).holds_picture(png, "k1", (30, 20))


def test_other_files_count_while_their_length_is_the_same(record, tmp_path):
    blend = tmp_path / "p.blend"
    blend.write_bytes(b"x" * 100)
    kept = record.FrameRecord(tmp_path)
    kept.add(blend, "k")
    assert kept.holds(blend, "k")
    assert not kept.holds(blend, "other")
    blend.write_bytes(b"x" * 99)
    assert not kept.holds(blend, "k")
    blend.unlink()
    assert not kept.holds(blend, "k")


def test_a_record_that_cannot_be_written_is_a_sentence(record, png, tmp_path):
    (tmp_path / record.RECORD).mkdir()
    with pytest.raises(Exception, match="Cannot write") as caught:
        record.FrameRecord(tmp_path).add(png, "k")
    assert caught.value.kind == "output"
