# SPDX-License-Identifier: Apache-2.0
"""Lips from sound, the whole way with a tiny network: clips -> training -> measurement -> `speak`."""

import json

import numpy as np
import pytest

from neural_core import cli, curves
from neural_core.human.arkit import ACTIONS
from tests import toy_speech
from training import measure_lipsync, train

TINY = (
    *("--model.channels", "16", "--model.dilations", "1", "2", "--data.seconds", "1.5", "--rate", "1e-2"),
    *("--run.batch", "4", "--run.steps", "150", "--run.log-every", "50", "--run.ema", "0.9", "--run.threads", "1"),
    *("--augment.noise", "0", "--augment.room", "0", "--augment.telephone", "0", "--augment.hush", "0"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with clips to learn from, others, and a run."""
    folder = tmp_path_factory.mktemp("lipsync")
    toy_speech.write_set(folder / "clips", 8)
    toy_speech.write_set(folder / "held", 4, first_seed=100)
    assert train.main(["lipsync", "--run", str(folder / "run"), "--data.path", str(folder / "clips"), *TINY]) == 0
    return folder


def test_the_network_learns_and_says_so(trained):
    lines = [json.loads(line) for line in (trained / "run" / "stats.jsonl").read_text().splitlines()]
    assert lines[-1]["value"] < 0.4 * lines[0]["value"]
    assert (trained / "run" / "samples" / "0000150_first.png").is_file()


def test_it_beats_the_simple_ways_on_clips_that_it_never_heard(trained, capsys):
    model, picture = trained / "run" / "model.safetensors", trained / "p.png"
    options = ["--data", trained / "held", "--train-data", trained / "clips", "--model", model, "--picture", picture]
    assert measure_lipsync.main([str(word) for word in options]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    network, loudness, mean = (said[way] for way in ("network", "loudness", "mean"))
    assert network["opening"]["correlation"] > 0.9
    assert network["opening"]["error"] < 0.5 * mean["opening"]["error"]
    # The toy's jaw follows its loudness, which is heard in decibels.
    assert network["opening"]["error"] < loudness["opening"]["error"]
    assert mean["opening"]["correlation"] == 0
    assert network["lips"]["cases"] > 5
    assert network["lips"]["closed"] > 0.9
    assert mean["lips"]["closed"] == 0
    assert network["lips"]["swallowed"] < 0.2
    assert picture.stat().st_size > 1000


def test_the_model_speaks(trained, capsys):
    toy_speech.write_wav(trained / "new.wav", toy_speech.sound(2.0, 200))
    words = ["speak", trained / "new.wav", "--out", trained / "c.json", "--model", trained / "run/model.safetensors"]
    assert cli.main([str(word) for word in words]) == 0
    found = curves.read_curves(trained / "c.json")
    opening = found.actions[:, ACTIONS.index("jawOpen")] - found.actions[:, ACTIONS.index("mouthClose")]
    assert np.corrcoef(opening, toy_speech.jaw(np.arange(50) / 25, 200))[0, 1] > 0.9


def test_a_run_without_clips_is_a_sentence(tmp_path, capsys):
    assert train.main(["lipsync", "--run", str(tmp_path / "run"), "--data.path", str(tmp_path)]) == 1
    assert "no speech with curves" in capsys.readouterr().err


def test_measuring_without_clips_is_a_sentence(tmp_path, capsys):
    assert measure_lipsync.main(["--data", str(tmp_path), "--train-data", str(tmp_path), "--model", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err
