# SPDX-License-Identifier: Apache-2.0
"""The command that makes spoken clips: same seed, same files; a killed run goes on; wrong use gets a sentence."""

import hashlib
import json
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from neural_core.curves import read_curves
from training.synthetic.speech import espeak, espeak_process, main

needs_espeak = pytest.mark.skipif(
    not espeak.available(), reason="eSpeak NG is not installed (apt-get install espeak-ng)"
)


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def make(out: Path, *options: str) -> int:
    return main(["--out", str(out), "--languages", "en,de,tr", *options])


@needs_espeak
def test_the_same_seed_gives_the_same_files_however_many_workers(tmp_path, capsys):
    assert make(tmp_path / "a", "--clips", "7", "--seed", "3", "--workers", "1") == 0
    said = capsys.readouterr()
    assert make(tmp_path / "b", "--clips", "7", "--seed", "3", "--workers", "3") == 0
    assert "7/7 clips" in said.err
    assert "a minute" in said.err
    one, two = checksums(tmp_path / "a"), checksums(tmp_path / "b")
    assert one == two
    assert len(one) == 3 * 7 + 2
    assert said.out.split()[-1] == capsys.readouterr().out.split()[-1]
    assert make(tmp_path / "c", "--clips", "7", "--seed", "4") == 0
    assert not set(one.values()) & set(checksums(tmp_path / "c").values())


@needs_espeak
def test_a_clip_is_sound_curves_and_phonemes_of_one_length(tmp_path):
    assert make(tmp_path, "--clips", "4") == 0
    listed = [json.loads(line) for line in (tmp_path / "speech.jsonl").read_text().splitlines()]
    assert [entry["language"] for entry in listed] == ["en", "de", "tr", "en"]
    for entry in listed:
        path = tmp_path / entry["clip"]
        curves = read_curves(path)
        with wave.open(str(path.with_suffix(".wav"))) as file:
            seconds = file.getnframes() / file.getframerate()
        rows = [line.split("\t") for line in path.with_suffix(".tsv").read_text().splitlines()]
        assert rows[0] == ["symbol", "start", "end", "word", "stress"]
        times = np.array([[float(row[1]), float(row[2])] for row in rows[1:]])
        assert times[0, 0] == 0
        np.testing.assert_array_equal(times[1:, 0], times[:-1, 1])
        assert times[-1, 1] == pytest.approx(seconds, abs=1e-4)
        assert len(curves) / curves.fps == pytest.approx(seconds)
        assert curves.actions.any()
        assert curves.head.any()
        # Words are numbered as they stand in the text.
        assert max(int(row[3]) for row in rows[1:]) <= len(entry["request"]["text"].split())


@needs_espeak
def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    assert make(tmp_path / "whole", "--clips", "30") == 0
    command = [sys.executable, "-m", "training.synthetic.speech", "--out", str(tmp_path / "killed")]
    command += ["--languages", "en,de,tr", "--clips", "30", "--resume"]
    for _ in range(2):
        before = len(list((tmp_path / "killed").rglob("*.json")))
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "killed").rglob("*.json"))) < before + 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
    done = len(list((tmp_path / "killed" / "00000").glob("*.json")))
    assert 6 <= done < 30
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    assert checksums(tmp_path / "killed") == checksums(tmp_path / "whole")


@needs_espeak
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "0"], "--clips must be at least 1"),
        (["--languages", "en,xx"], 'no texts in "xx"'),
        (["--languages", ","], "--languages names none"),
        (["--seed", "-1"], "--seed must be at least 0"),
    ],
)
def test_wrong_use_is_told_and_nothing_written(tmp_path, capsys, options, message):
    assert main(["--out", str(tmp_path / "x"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@needs_espeak
def test_two_sets_are_not_mixed(tmp_path, capsys):
    assert make(tmp_path, "--clips", "1") == 0
    assert make(tmp_path, "--clips", "2") == 2
    assert "Add --resume" in capsys.readouterr().err
    assert make(tmp_path, "--clips", "2", "--seed", "9", "--resume") == 2
    assert "other settings" in capsys.readouterr().err
    assert make(tmp_path, "--clips", "2", "--resume") == 0


@needs_espeak
def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert make(tmp_path / "file" / "x", "--clips", "1") == 1
    error = capsys.readouterr().err
    assert "Cannot write" in error
    assert "Traceback" not in error


def test_without_espeak_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    stub = tmp_path / "stub.py"
    stub.write_text(f"raise SystemExit({espeak_process.MISSING})")
    monkeypatch.setattr(espeak_process, "__file__", str(stub))
    assert main(["--out", str(tmp_path / "x"), "--clips", "1"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "apt-get install espeak-ng" in error
    assert not (tmp_path / "x").exists()
