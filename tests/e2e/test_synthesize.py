# SPDX-License-Identifier: Apache-2.0
"""``training.synthesize`` as a user runs it: refusals, tiny data sets, and going on after kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from training.data.folders import checksum, finished_people
from training.synthesize import main

TINY = ("--size=32", "--views=2", "--workers=2", "--seed=4", "--samples=1")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--people", "0"], "--people must be at least 1"),
        (["--views", "2", "--close-ups", "2"], "leave no ordinary view"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--max-yaw", "200"], "--max-yaw must lie between 0 and 180"),
        (["--seconds", "-1"], "--seconds must be at least 0"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(tmp_path, capsys, arguments, sentence):
    out = tmp_path / "data"
    assert main(["portraits", "--out", str(out), *arguments]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert "Traceback" not in message
    assert not out.exists()


def test_an_unknown_kind_is_refused(capsys):
    assert main(["landscapes"]) == 2
    assert "portraits" in capsys.readouterr().err
    assert main(["--help"]) == 0


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["portraits", "--out", str(tmp_path / "file" / "data")]) == 1
    assert "Cannot write" in capsys.readouterr().err


def worker_that(tmp_path, monkeypatch, program: str) -> None:
    """Let a program of the test's own take the place of the renderer."""
    (tmp_path / "stand_in.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("training.synthesize._RENDERERS", {"cycles": "stand_in"})


def test_other_settings_are_refused_for_data_that_is_there(tmp_path, capsys, monkeypatch):
    worker_that(tmp_path, monkeypatch, "")
    arguments = ["portraits", "--out", str(tmp_path / "data"), "--workers", "1"]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--people", "3"]) == 0  # more or fewer people are the same data set
    assert main([*arguments, "--resume", "--max-yaw", "64"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise SystemExit(7)", "ended with code 7"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
        (
            """print('{"error": "The disk is full.", "hint": "Free some.", "kind": "output"}'); raise SystemExit(1)""",
            "training.synthesize: The disk is full. Free some.\n",
        ),
    ],
)
def test_a_renderer_that_fails_is_one_sentence(tmp_path, capsys, monkeypatch, program, sentence):
    worker_that(tmp_path, monkeypatch, program)
    assert main(["portraits", "--out", str(tmp_path / "data"), "--workers", "1"]) == 1
    message = capsys.readouterr().err
    assert sentence in message
    assert "Traceback" not in message


def test_progress_counts_pictures_and_the_last_line_is_json(tmp_path, capsys, monkeypatch):
    said = "import sys, time\nfor line in ('{\"person\": 0}',) * 8: print(line, flush=True); time.sleep(0.01)"
    worker_that(tmp_path, monkeypatch, said)
    arguments = ["--people=1", "--views=8", "--workers=1", "--json"]
    assert main(["portraits", "--out", str(tmp_path / "data"), *arguments]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out.splitlines()[-1])
    assert result["new_pictures"] == 8
    assert result["checksum"] == checksum(tmp_path / "data")
    assert "pictures" in shown.err
    assert main(["checksum", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == result["checksum"] + "\n"
    assert main(["checksum", str(tmp_path)]) == 1
    assert "There is no data set" in capsys.readouterr().err


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "training.synthesize", "portraits", "--out", str(out), *TINY, *more]


def descendants(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children] + [d for child in children for d in descendants(int(child))]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_three_kills_change_nothing(tmp_path, repository: Path):
    """SIGKILL at random moments, twice to the whole group and once to the parent alone; then the same checksum."""
    run = {"cwd": repository, "stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    what = ("--renderer=raster", "--people=6", "--variety=wide")
    subprocess.run(command(tmp_path / "whole", *what), check=True, timeout=300, **run)
    out, rng = tmp_path / "killed", random.Random(7)
    for kill in range(3):
        before = len(list(out.rglob("*.png")))
        with subprocess.Popen(command(out, *what, *["--resume"][: kill > 0]), start_new_session=True, **run) as running:
            wanted = before + rng.randint(1, 3)
            limit = time.monotonic() + 120
            while len(list(out.rglob("*.png"))) < wanted and time.monotonic() < limit:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
            assert running.poll() is None, "it was killed before it was done"
            orphans = descendants(running.pid)
            assert len(orphans) == 2
            if kill == 1:
                running.kill()
            else:
                os.killpg(running.pid, signal.SIGKILL)
        limit = time.monotonic() + 20
        while any(Path(f"/proc/{orphan}").exists() for orphan in orphans):
            assert time.monotonic() < limit, "render processes outlive a killed parent"
            time.sleep(0.05)
    assert len(finished_people(out)) < 6
    subprocess.run(command(out, *what, "--resume", "--workers=1"), check=True, timeout=300, **run)
    assert checksum(out) == checksum(tmp_path / "whole")
    assert sorted(path.name for path in out.iterdir()) == ["00000", "dataset.json", "records", "synthesis.json"]


@pytest.mark.slow
def test_a_file_that_cannot_be_written_ends_the_run_with_a_sentence(tmp_path, repository: Path):
    """No file may be larger than 16 kB: as on a full disk, the system refuses in the middle of a record."""
    limited = ["bash", "-c", 'ulimit -f 16; exec "$@"', "bash"]
    arguments = command(tmp_path / "data", "--renderer=raster", "--people=1", "--size=64")
    ended = subprocess.run([*limited, *arguments], cwd=repository, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "training.synthesize: Cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert finished_people(tmp_path / "data") == []


@pytest.mark.slow
def test_cycles_renders_the_same_after_a_kill(tmp_path, repository: Path):
    pytest.importorskip("bpy", reason="rendering needs the blender extra (Python 3.11)")
    run = {"cwd": repository, "stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    what = ("--people=2", "--workers=1", "--variety=wide")
    subprocess.run(command(tmp_path / "whole", *what), check=True, timeout=300, **run)
    out = tmp_path / "killed"
    with subprocess.Popen(command(out, *what), start_new_session=True, **run) as running:
        limit = time.monotonic() + 200
        while not list(out.rglob("img000001*.png")) and time.monotonic() < limit:
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    assert finished_people(out) == [0]
    first = (out / "records" / "000000.npz").stat().st_mtime_ns
    subprocess.run(command(out, *what, "--resume"), check=True, timeout=300, **run)
    assert (out / "records" / "000000.npz").stat().st_mtime_ns == first
    assert checksum(out) == checksum(tmp_path / "whole")
    pictures = sorted(path.name for path in (out / "00000").iterdir())
    assert pictures == [f"img00000{person}_000{view}.png" for person in (0, 1) for view in (0, 1)]
    assert np.isfinite([label for _, label in json.loads((out / "dataset.json").read_text())["labels"]]).all()
