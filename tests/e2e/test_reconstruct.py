# SPDX-License-Identifier: Apache-2.0
"""`neural-portrait reconstruct`: a photograph of a real person becomes a file that other commands draw."""

import json

import numpy as np
import pytest
from PIL import Image

from neural_core import checkpoints, cli, media
from tests.tiny_models import save_tiny, save_tiny_next3d

skimage_data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image (extra dev)")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "models"
    folder.mkdir()
    save_tiny(folder / "tiny.safetensors")
    save_tiny_next3d(folder / "moving.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(folder))

    def run(*words):
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("model", ["tiny", "moving"])
def test_a_photograph_becomes_a_portrait(run, tmp_path, model):
    Image.fromarray(skimage_data.astronaut()).save(tmp_path / "photo.png")
    out, preview, state = (tmp_path / name for name in ("p.portrait", "now.png", "work.state"))
    code, said, error = run(
        "reconstruct", tmp_path / "photo.png", "--out", out, "--preview", preview, "--state", state,
        "--iterations", "20,6", "--model", model, "--json",
    )  # fmt: skip
    assert code == 0, error
    assert json.loads(said.splitlines()[-1])["psnr"] > 5
    assert media.read_picture(preview).shape == (32, 32, 4)
    shown = media.read_provenance(preview)
    assert (shown["source"], shown["model"], shown["iterations"]) == ("photo.png", model, 25)
    assert not state.exists()
    header = checkpoints.read_header(out)
    facts = header.json("provenance")
    assert (facts["source"], facts["synthetic"], facts["iterations"]) == ("photo.png", False, [20, 6])
    assert any(name.startswith("tuned/") for name in header.tensors)
    assert run("render", out, "--size", 32, "--out", tmp_path / "p.png")[0] == 0
    seed = run("generate", "--model", model, "--truncation", 0, "--size", 32, "--out", tmp_path / "mean.png")
    assert seed[0] == 0
    drawn, mean = (media.read_picture(tmp_path / name).astype(float) for name in ("p.png", "mean.png"))
    assert np.abs(drawn - mean).mean() > 2


def test_a_photo_without_a_face_is_refused(run, tmp_path):
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    code, _, said = run("reconstruct", tmp_path / "wall.png", "--out", tmp_path / "p.portrait", "--model", "tiny")
    assert code == 1
    assert "face" in said
    assert not (tmp_path / "p.portrait").exists()
