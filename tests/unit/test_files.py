# SPDX-License-Identifier: Apache-2.0
"""Nothing half-written is left behind, whatever goes wrong."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from neural_core import files, media, mesh
from neural_core.errors import PortraitError, UsageError, as_portrait_error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_at_once_under_its_name(tmp_path):
    target = tmp_path / "a.bin"
    with files.replacing(target) as partial:
        partial.write_bytes(b"new")
        assert not target.exists()
        assert partial.suffix == ".bin"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail():
        with files.replacing(target) as partial:
            partial.write_bytes(b"half")
            raise KeyError("the writer failed")

    with pytest.raises(KeyError):
        fail()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")]
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, number, hint):
    real_write = Path.write_bytes

    def write_half(path, data):
        real_write(path, data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(PortraitError, match=r"Cannot write .*a\.bin") as caught:
        files.write_bytes(tmp_path / "a.bin", b"0123456789")
    assert caught.value.kind == "output"
    assert hint in caught.value.hint
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("kind", ["png", "mp4", "glb"])
def test_a_full_device_is_one_sentence(tmp_path, kind):
    """The operating system's own error, through the writers of pictures, films and meshes."""
    frame = np.zeros((64, 64, 3), np.uint8)
    corners = np.eye(3, dtype=np.float32)
    triangle = mesh.ColouredMesh(corners, np.array([[0, 1, 2]], np.int32), corners)
    write = {
        "png": lambda path: media.write_png(path, frame, {}),
        "mp4": lambda path: media.write_mp4(path, [frame, frame], 24.0, {}),
        "glb": lambda path: mesh.export(triangle, path),
    }
    (tmp_path / f".x.{os.getpid()}.part.{kind}").symlink_to("/dev/full")
    with pytest.raises(PortraitError, match="Cannot write") as caught:
        write[kind](tmp_path / f"x.{kind}")
    assert "full" in caught.value.hint
    assert names(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(PortraitError, match="Cannot write") as caught:
        files.write_bytes(tmp_path / "none" / "a.bin", b"x")
    assert "does not exist" in caught.value.hint


def test_the_folder_is_checked_before_long_work(tmp_path):
    files.check_folder_of(tmp_path / "new.png")
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "none" / "a.png", tmp_path / "file" / "a.png"):
        with pytest.raises(PortraitError, match="Cannot write"):
            files.check_folder_of(path)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UsageError("so", "then"), "usage"),
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (ZeroDivisionError("division by zero"), "internal"),
    ],
)
def test_every_exception_becomes_a_sentence(error, kind):
    said = as_portrait_error(error)
    assert said.kind == kind
    assert said.message
    assert "\n" not in said.message
    assert said.hint
