# SPDX-License-Identifier: Apache-2.0
"""Adversarial EG3D from the command line, in the `tiny` configuration, on pictures of spheres."""

import itertools
import json
import signal
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from neural_core import checkpoints, systems
from tests.spheres import write_spheres
from training.data.pictures import PictureSet
from training.recipes.eg3d import Adversarial
from training.run_log import CLOCK
from training.train import main

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adversarial")
    write_spheres(folder / "data", people=6, views=4, size=32, z_dim=3)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    assert train(folder, "whole") == 0
    return folder / "whole"


def train(folder: Path, run: str, *more: str, steps: int = STEPS) -> int:
    """Train `tiny` with an augmentation that adapts in every step."""
    return main([
        "eg3d", "--config", str(ROOT / "training/configs/tiny.toml"), "--run", str(folder / run),
        "--data.path", str(folder / "data"), "--device", "cpu", "--run.steps", str(steps), "--run.threads", "1",
        "--run.log-every", "1", "--augment.mode", "adaptive", "--augment.every", "1", "--augment.kimg", "0.02", *more,
    ])  # fmt: skip


def stats(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def test_a_run_logs_all_phases_and_exports_a_model(whole):
    lines = stats(whole)
    assert len(lines) == STEPS
    assert {"density", "r1"} <= lines[0].keys()
    assert "density" in lines[4]
    assert not {"density", "r1"} & lines[1].keys()
    for line in lines:
        assert {"generator", "discriminator", "sign_real", "sign_generated", "augment", "blur", "swap"} <= line.keys()
    for before, line in itertools.pairwise(lines):  # 8 of 20 pictures a step move p by 0.4
        move = 0.4 if line["sign_real"] > 0.6 else -0.4
        assert line["augment"] == pytest.approx(min(max(before["augment"] + move, 0), 1))
    assert [line["swap"] for line in lines] == pytest.approx([1 - 0.004 * step for step in range(1, STEPS + 1)])

    system = systems.load(whole / "model.safetensors")
    pictures = [system.pose(system.create(seed, 0.7)).render(system.creation_camera()).image for seed in (1, 2)]
    assert pictures[0].shape == (1, 3, 32, 32)
    assert not pictures[0].equal(pictures[1])
    assert system.generator.mapping_network.w_mean.abs().max() > 0  # 0.7 truncates towards it
    header = checkpoints.read_header(whole / "model.safetensors")
    assert header.json("trained")["images"] == 8 * STEPS
    names = sorted(path.name for path in (whole / "samples").iterdir())
    assert [name.split("_")[1].split(".")[0] for name in names] == ["grid", "turntable"]


def test_a_resumed_run_continues_exactly(folder, whole, monkeypatch):
    losses, where = Adversarial.losses, []

    def interrupted(self, phase, batch, step):
        where.append((step.index, phase))
        if where.count((2, "D_main")) == 1 and where[-1] == (2, "D_main"):  # a second signal would end it at once
            signal.raise_signal(signal.SIGTERM)
        return losses(self, phase, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Adversarial, "losses", interrupted)
        assert train(folder, "parts") == 0
    assert len(stats(folder / "parts")) == 3
    assert train(folder, "parts", "--resume") == 0
    assert stats(folder / "parts") == stats(whole)
    assert (folder / "parts" / "model.safetensors").read_bytes()[-4096:] == (whole / "model.safetensors").read_bytes()[
        -4096:
    ]


def test_a_run_starts_from_weights(folder, whole):
    """With learning rates of 0, what comes out is what went in."""
    still = ("--rates.generator", "0.0", "--rates.discriminator", "0.0")
    assert train(folder, "still", "--init", str(whole / "model.safetensors"), *still, steps=1) == 0
    start, end = (checkpoints.load(run / "model.safetensors") for run in (whole, folder / "still"))
    for name, value in start.tensors.items():
        if name != "mapping_network.w_mean":
            assert end.tensors[name].equal(value), name
    assert json.loads(end.metadata["source"])["started_from"]["sha256"] == start.hash


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--init", "missing.safetensors"), 1, 'Cannot read "missing.safetensors"'),
        (("--model.render.neural-resolution", "64"), 1, "32 x 32 pixels, not 64 x 64"),
        (("--discriminator.group", "3"), 2, "does not divide 4 samples"),
        (("--data.path", "nowhere"), 1, 'no "nowhere"'),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(folder, tmp_path, capsys, more, code, words):
    assert train(folder, str(tmp_path / "wrong"), *more) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_a_minute_of_training_neither_collapses_nor_stands_still(folder):
    """The discriminator stays in doubt, and what is generated has come nearer to the spheres on black."""
    assert train(folder, "minute", "--run.log-every", "5", "--augment.mode", "none", steps=120) == 0
    lines = stats(folder / "minute")[-10:]
    for name in ("logit_real", "logit_generated"):
        assert max(abs(line[name]) for line in lines) < 6, name
    assert sum(line["sign_real"] - line["sign_generated"] for line in lines) / len(lines) < 1.9

    data = PictureSet(folder / "data")
    real = torch.stack([data[i]["picture"][:3] * (data[i]["picture"][3:] / 255) for i in range(len(data))])
    system = systems.load(folder / "minute" / "model.safetensors")
    camera = system.creation_camera()
    made = torch.cat([system.pose(system.create(seed, 1.0)).render(camera).image for seed in range(16)])
    made = (made + 1) * 127.5
    corner, middle = made[..., :4, :4].mean(), made[..., 13:19, 13:19].mean()
    assert_close(corner / 255, real[..., :4, :4].mean() / 255, atol=0.1, rtol=0)
    assert_close(middle / 255, real[..., 13:19, 13:19].mean() / 255, atol=0.2, rtol=0)
