# SPDX-License-Identifier: Apache-2.0
"""The trainer from the command line on spheres: it learns, it resumes exactly, it says what is wrong."""

import json
import signal
from pathlib import Path

import pytest
import torch

from neural_core import checkpoints, systems
from tests.spheres import write_spheres
from training.recipes.eg3d_warm_start import WarmStart
from training.run_log import CLOCK
from training.train import main

CONFIG = """
[model]
z_dim = 44
w_dim = 16
plane_axes = ["xy", "xz", "zy"]
[model.mapping]
normalise_z = false
label_dim = 0
truncation = "z"
[model.backbone]
resolution = 8
plane_channels = 6
channel_base = 64
channel_max = 8
[model.decoder]
hidden = 16
features = 3
[model.render]
box = 0.72
ray_start = "auto"
ray_end = "auto"
coarse = 8
fine = 8
neural_resolution = 24
[model.superresolution]
kind = "none"
[model.head_to_model]
scale = 2.0
[model.identity]
warp_resolution = 6
mean_resolution = 24
[patches]
views = 2
patches = 6
side = 4
[rays]
even = 8
guided = 4
[run]
batch = 3
threads = 1
log_every = 1
save_every = 5
sample_every = 1000
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    write_spheres(folder / "data", people=4, views=3, size=24, z_dim=44)
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


def train(folder: Path, run: str, steps: int, *more: str) -> int:
    return main([
        "eg3d-warm-start", "--config", str(folder / "tiny.toml"), "--run", str(folder / run),
        "--data.path", str(folder / "data"),
        "--run.steps", str(steps), "--device", "cpu", *more,
    ])  # fmt: skip


def stats(folder: Path, run: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / run / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def test_loss_falls_and_the_export_is_a_model(folder):
    assert train(folder, "falls", 120) == 0
    colours = [line["colour"] for line in stats(folder, "falls")]
    assert sum(colours[-5:]) < 0.75 * sum(colours[:5])
    path = folder / "falls" / "model.safetensors"
    assert checkpoints.load(path).metadata["licence"] == "CC0-1.0"
    system = systems.load(path)
    portrait = system.create(7, 0.7)
    assert portrait.shape.shape == (40,)
    picture = system.pose(portrait).render(system.creation_camera(), 16)
    assert torch.isfinite(picture.image).all()
    assert len(list((folder / "falls" / "samples").glob("*.png"))) == 1


def test_a_resumed_run_continues_exactly(folder, monkeypatch):
    assert train(folder, "whole", 10) == 0
    assert train(folder, "parts", 10, "--run.save-every", "5", "--dry-run") == 0  # prints only
    assert not (folder / "parts").exists()
    # A run that gets a signal in its fifth step: same schedule, state saved.
    losses = WarmStart.losses

    def interrupted(self, phase, batch, step):
        if step.index == 4:
            signal.raise_signal(signal.SIGTERM)
        return losses(self, phase, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(WarmStart, "losses", interrupted)
        assert train(folder, "parts", 10) == 0
    assert len(stats(folder, "parts")) == 5
    assert train(folder, "parts", 10, "--resume") == 0
    assert stats(folder, "parts") == stats(folder, "whole")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nextcube"], 2, "no recipe 'nextcube'"),
        (["eg3d-warm-start", "--config", "missing.toml"], 2, "Cannot read the configuration"),
        (["eg3d-warm-start", "--data.path", "nowhere", "--run", "RUN"], 2, "face code"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments, code, words, capsys, tmp_path):
    arguments = [str(tmp_path / "run") if a == "RUN" else a for a in arguments]
    assert main(arguments) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def test_a_second_run_in_the_same_folder_needs_resume(folder, capsys):
    assert train(folder, "again", 2) == 0
    assert train(folder, "again", 2) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_gradients_that_stay_broken_stop_the_run(folder, capsys, monkeypatch):
    losses = WarmStart.losses

    def broken(self, phase, batch, step):
        return {name: term * float("nan") for name, term in losses(self, phase, batch, step).items()}

    monkeypatch.setattr(WarmStart, "losses", broken)
    assert train(folder, "nan", 50, "--run.max-bad-steps", "3") == 1
    assert "not finite" in capsys.readouterr().err
