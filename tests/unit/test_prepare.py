# SPDX-License-Identifier: Apache-2.0
"""What `training.prepare` keeps, forgets and says; what photos and clips give is made up here."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from neural_core.capture.labels import Captured
from neural_core.errors import InputError
from tests.unit.test_records import any_record
from training import prepare


@pytest.fixture
def gives(monkeypatch):
    """What each file gives: numbers of frames of its records, or errors; names to lists."""
    table: dict[str, list[int | Exception]] = {}

    def capture(options, tools, path):
        for what in table[path.name]:
            if isinstance(what, Exception):
                raise what
            whole = any_record()
            rows = {name: getattr(whole, name)[:what] for name in ("images", "cameras")}
            record = replace(whole, **cast("Any", rows))
            yield Captured(record, np.zeros((what, 8, 8, 3), np.uint8), *cast("Any", (None,) * 3), notes=())

    class NoTools:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(prepare, "_capture", capture)
    monkeypatch.setattr("neural_core.capture.labels.Tools", NoTools)
    return table


@pytest.fixture
def folder(tmp_path):
    """Two photos and a clip, each of one byte."""
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.mp4", "c.jpg"):
        (tmp_path / "in" / name).write_bytes(b"1")
    return tmp_path / "in"


def run(capsys, folder: Path, *words) -> tuple[int, dict[str, Any], str]:
    """Exit code, facts and stderr."""
    code = prepare.main([str(folder), "--out", str(folder.parent / "out"), "--json", *words])
    said = capsys.readouterr()
    return code, json.loads(said.out.splitlines()[-1]) if code == 0 else {}, said.err


def pictures(out: Path) -> list[str]:
    """All pictures that are there; they are those that are listed, and those that the records name."""
    there = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert [name for name, _ in json.loads((out / "dataset.json").read_text())["labels"]] == there
    return there


def names(*numbers):
    return [f"00000/img{index:06d}_{number:04d}.png" for index, number in numbers]


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"1")


def test_what_a_changed_file_gave_before_is_gone(gives, folder, capsys):
    out = folder.parent / "out"
    gives.update({"a.jpg": [1], "b.mp4": [3, 2], "c.jpg": [1]})
    assert run(capsys, folder)[1]["pictures"] == 7
    assert pictures(out) == names((0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0))

    change(folder / "b.mp4")
    gives["b.mp4"] = [1]
    assert run(capsys, folder)[1]["pictures"] == 3
    assert pictures(out) == names((0, 0), (1, 0), (3, 0))

    change(folder / "b.mp4")
    gives["b.mp4"] = [InputError("No face.")]
    assert run(capsys, folder)[1]["left_out"] == {"b.mp4": "No face."}
    assert pictures(out) == names((0, 0), (3, 0))
    assert sorted(path.name for path in (out / "records").iterdir()) == ["000000.npz", "000003.npz"]


def test_a_run_that_is_stopped_leaves_none_of_what_changed(gives, folder, capsys):
    gives.update({"a.jpg": [1], "b.mp4": [3], "c.jpg": [1]})
    run(capsys, folder)
    change(folder / "a.jpg")
    change(folder / "b.mp4")
    real = prepare._capture

    def stopped(options, tools, path):
        if path.name == "a.jpg":
            raise KeyboardInterrupt
        return real(options, tools, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_capture", stopped)
        assert run(capsys, folder)[0] == 1
    assert pictures(folder.parent / "out") == names((2, 0))
    gives.update({"a.jpg": [1], "b.mp4": [1]})
    assert run(capsys, folder)[1]["pictures"] == 3


def test_pictures_of_a_killed_run_do_not_stay(gives, folder, capsys):
    """It had written two pictures of the first person, and no record."""
    out = folder.parent / "out"
    (out / "00000").mkdir(parents=True)
    for name in names((0, 0), (0, 1)):
        (out / name).write_bytes(b"")
    gives.update({"a.jpg": [1], "b.mp4": [1], "c.jpg": [1]})
    run(capsys, folder)
    assert pictures(out) == names((0, 0), (1, 0), (2, 0))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_file_too_large_for_the_memory_is_listed_and_the_batch_goes_on(gives, folder, capsys, error):
    gives.update({"a.jpg": [1], "b.mp4": [2, error], "c.jpg": [1]})
    code, facts, _ = run(capsys, folder)
    assert (code, facts["pictures"]) == (0, 4)
    assert "not enough memory" in facts["left_out"]["b.mp4"]


def test_a_file_that_vanishes_is_listed_and_the_batch_goes_on(gives, folder, capsys, monkeypatch):
    gives.update({"a.jpg": [1], "b.mp4": [InputError("No such file.")], "c.jpg": [1]})
    found = prepare.find_sources

    def and_then_it_vanishes(*arguments):
        sources = found(*arguments)
        (folder / "b.mp4").unlink()
        return sources

    monkeypatch.setattr(prepare, "find_sources", and_then_it_vanishes)
    code, facts, _ = run(capsys, folder)
    assert (code, facts["left_out"]) == (0, {"b.mp4": "No such file."})


@pytest.mark.parametrize("out", ["in", ".", "in/..", "link"])
def test_the_source_may_not_lie_in_the_data_set(folder, capsys, monkeypatch, out):
    monkeypatch.chdir(folder.parent)
    os.symlink("in", "link")  # noqa: PTH211 - relative, as users make them
    assert prepare.main(["in", "--out", out]) == 2
    assert f'"in" lies in --out "{Path(out)}". Choose a folder beside it.' in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in folder.iterdir()) == ["a.jpg", "b.mp4", "c.jpg"]


def test_the_data_set_may_lie_in_the_source(gives, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    gives.update({"a.jpg": [1], "b.mp4": [1], "c.jpg": [1]})
    for _ in range(2):  # its own pictures are no sources
        assert prepare.main(["in", "--out", "in/made", "--json"]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["pictures"] == 3


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"files": {}}', '{"files": [], "settings": {}}', '{"files": {"a": 1}}']
)
def test_a_damaged_manifest_is_one_sentence(folder, capsys, content):
    out = folder.parent / "out"
    out.mkdir()
    (out / prepare.MANIFEST).write_text(content)
    code, _, error = run(capsys, folder)
    assert code == 1
    assert "is damaged" in error
    assert "internal" not in error
