# SPDX-License-Identifier: Apache-2.0
"""The command line's expressions with a system that moves."""

import numpy as np
import pytest
import trimesh

from neural_core import cli, media
from tests import moving_ball


@pytest.fixture
def folder(tmp_path, monkeypatch):
    moving_ball.register(monkeypatch)
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    moving_ball.save(tmp_path / "ball.safetensors")
    return tmp_path


@pytest.mark.parametrize("command", ["generate", "render"])
def test_an_expression_changes_the_picture(folder, command):
    ball = ["generate", "--model", "ball", "--out"]
    assert cli.main([*ball, str(folder / "p.portrait")]) == 0
    start = ["render", str(folder / "p.portrait"), "--out"] if command == "render" else ball
    out = folder / "p.png"
    assert cli.main([*start, str(out), "--size", "64", "--expression", "jawOpen=0.5,mouthSmileLeft=1"]) == 0
    radius = moving_ball.pixel_radius(moving_ball.RADIUS + 0.5 * moving_ball.GROWTH, 64)
    assert (media.read_picture(out)[..., 3] > 0).sum() == pytest.approx(np.pi * radius**2, rel=0.03)


def test_an_expression_changes_the_mesh(folder):
    words = ["mesh", "--model", "ball", "--detail", "64", "--out", str(folder / "p.ply")]
    assert cli.main([*words, "--expression", "jawOpen=1"]) == 0
    radii = np.linalg.norm(trimesh.load(folder / "p.ply").vertices, axis=1)
    expected = moving_ball.surface_radius(moving_ball.RADIUS + moving_ball.GROWTH)
    assert np.median(radii) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("number", ["nan", "inf", "wide", "", "1e3"])
def test_an_expression_is_made_of_plain_numbers(folder, capsys, number):
    assert cli.main(["generate", "--model", "ball", "--out", "p.png", "--expression", f"jawOpen={number}"]) == 2
    assert "is no number" in capsys.readouterr().err
