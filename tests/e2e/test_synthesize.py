# SPDX-License-Identifier: Apache-2.0
"""``training.synthesize`` as a user runs it: refusals, tiny data sets, and going on after kills."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kills import in_peace, synthesis, thrice_killed
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
        (["--expressions", "lively", "--seconds", "1"], "Lively expressions are for stills."),
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


def test_a_relative_folder_is_the_callers(tmp_path, monkeypatch):
    """Render processes run in the repository; what they are told must not depend on that."""
    told = "import json, pathlib, sys; job = json.loads(sys.argv[sys.argv.index('--job') + 1])\n"
    worker_that(tmp_path, monkeypatch, told + "pathlib.Path(job['out'], 'written').touch()")
    monkeypatch.chdir(tmp_path)
    assert main(["portraits", "--out", "data", "--workers", "1"]) == 0
    assert (tmp_path / "data" / "written").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_only_our_own_end_of_a_renderer_is_none_of_its_faults(tmp_path, capsys, monkeypatch):
    """A renderer that somebody else ends politely (a system that is shut down) has not rendered its share."""
    worker_that(tmp_path, monkeypatch, "import os; os.kill(os.getpid(), 15)")
    assert main(["portraits", "--out", str(tmp_path / "data"), "--workers", "1"]) == 1
    assert "ended with code -15" in capsys.readouterr().err
    first_fails = "import sys, time; sys.exit(7) if sys.argv[-3] == '0' else time.sleep(60)"
    worker_that(tmp_path, monkeypatch, first_fails)
    assert main(["portraits", "--out", str(tmp_path / "other"), "--workers", "2"]) == 1
    assert "ended with code 7" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_is_the_parents_business(tmp_path, monkeypatch):
    """Ctrl-C goes to all processes of the terminal; a traceback from each renderer would bury our sentence."""
    deaf = "import signal; raise SystemExit(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    worker_that(tmp_path, monkeypatch, deaf)
    before = signal.getsignal(signal.SIGINT)
    assert main(["portraits", "--out", str(tmp_path / "data"), "--workers", "1"]) == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_two_runs_do_not_write_to_one_folder(tmp_path, capsys, monkeypatch):
    worker_that(tmp_path, monkeypatch, "")
    arguments = ["portraits", "--out", str(tmp_path), "--workers", "1"]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        theirs = tmp_path / f".rendering-{other.pid}"
        theirs.mkdir()
        assert main(arguments) == 2
        assert f"Another run (process {other.pid}) writes to {tmp_path}." in capsys.readouterr().err
        assert theirs.exists()
        other.kill()
    assert main(arguments) == 0  # what a killed run left is in nobody's way
    assert not theirs.exists()


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_three_kills_change_nothing(tmp_path):
    """SIGKILL at random moments, twice to the whole group and once to the parent alone; then the same checksum."""
    what = (*TINY, "--renderer=raster", "--people=6", "--variety=wide")
    whole = in_peace(tmp_path / "whole", *what)
    assert thrice_killed(tmp_path / "killed", *what) == whole
    left = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert left == ["00000", "dataset.json", "records", "synthesis.json"]


@pytest.mark.slow
def test_a_file_that_cannot_be_written_ends_the_run_with_a_sentence(tmp_path, repository: Path):
    """No file may be larger than 16 kB: as on a full disk, the system refuses in the middle of a record."""
    limited = ["bash", "-c", 'ulimit -f 16; exec "$@"', "bash"]
    arguments = synthesis(tmp_path / "data", *TINY, "--renderer=raster", "--people=1", "--size=64")
    ended = subprocess.run([*limited, *arguments], cwd=repository, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert "training.synthesize: Cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert finished_people(tmp_path / "data") == []


@pytest.mark.slow
def test_cycles_renders_the_same_after_a_kill(tmp_path, repository: Path):
    pytest.importorskip("bpy", reason="rendering needs the blender extra (Python 3.11)")
    # Two instants: the first picture of a person is written before the second is taken.
    what = ("--size=32", "--views=1", "--instants=2", "--samples=1", "--seed=4", "--people=2", "--workers=1",
            "--variety=wide")  # fmt: skip
    whole = in_peace(tmp_path / "whole", *what)
    out = tmp_path / "killed"
    with subprocess.Popen(synthesis(out, *what), cwd=repository, start_new_session=True) as running:
        while not list(out.rglob("img000001*.png")):
            assert running.poll() is None
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    assert finished_people(out) == [0]
    first = (out / "records" / "000000.npz").stat().st_mtime_ns
    assert in_peace(out, *what, "--resume") == whole
    assert (out / "records" / "000000.npz").stat().st_mtime_ns == first
    pictures = sorted(path.name for path in (out / "00000").iterdir())
    assert pictures == [f"img00000{person}_000{view}.png" for person in (0, 1) for view in (0, 1)]
