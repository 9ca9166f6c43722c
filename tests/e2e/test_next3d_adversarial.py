# SPDX-License-Identifier: Apache-2.0
"""Adversarial Next3D from the command line, in the `next3d-tiny` configuration, on people who are their own mesh."""

import dataclasses
import json
import signal
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from neural_core import checkpoints, systems
from neural_core.cameras import orbit
from neural_core.human.anny import load_anny_head
from neural_core.human.driver import driver
from neural_core.human.posing import FacePoser
from tests.spheres import empty_record
from training.recipes.next3d import Adversarial
from training.run_log import CLOCK
from training.train import main

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5


def write_masks(folder: Path, people: int, views: int, size: int) -> None:
    """Write people in the layout of `training.synthesize portraits`: pictures show the driving mesh in another tint."""
    rng, face = np.random.default_rng(0), load_anny_head()
    pose = FacePoser(face)
    for person in range(people):
        names = [f"00000/img{person * views + view:08d}.png" for view in range(views)]
        camera = orbit(torch.from_numpy(rng.uniform(-40, 40, views)).float())
        actions = (rng.random((views, 52)) ** 4).astype(np.float32)
        joints = rng.normal(0, 0.05, (views, 10, 3)).astype(np.float32)
        shape = rng.normal(size=40).astype(np.float32)
        shapes = torch.from_numpy(shape).expand(views, -1)
        vertices = pose(torch.from_numpy(actions), torch.from_numpy(joints), shapes)
        drawn = driver(face, vertices, camera, size).movedim(1, -1).numpy()
        (folder / "00000").mkdir(parents=True, exist_ok=True)
        for name, picture in zip(names, drawn * rng.uniform(0.4, 1, 3), strict=True):
            iio.imwrite(folder / name, np.round(picture * 255).astype(np.uint8))
        dataclasses.replace(
            empty_record(names),
            cameras=camera.label().numpy(),
            actions=actions,
            joints=joints,
            shape=shape,
            driver=np.round(drawn * 255).astype(np.uint8),
        ).save(folder / "records" / f"{person:06d}.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    write_masks(folder / "data", people=4, views=3, size=32)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    assert train(folder, "whole") == 0
    return folder / "whole"


def train(folder: Path, run: str, *more: str, steps: int = STEPS) -> int:
    return main([
        "next3d", "--config", str(ROOT / "training/configs/next3d-tiny.toml"), "--run", str(folder / run),
        "--data.path", str(folder / "data"), "--device", "cpu", "--run.steps", str(steps), "--run.threads", "1",
        "--run.log-every", "1", "--samples.people", "2", "--samples.frames", "2", *more,
    ])  # fmt: skip


def stats(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def test_a_run_logs_all_phases_and_exports_a_model_that_moves(whole):
    lines = stats(whole)
    assert len(lines) == STEPS
    assert {"density", "r1"} <= lines[0].keys()
    assert "density" in lines[4]
    assert not {"density", "r1"} & lines[1].keys()
    for line in lines:
        assert {"generator", "discriminator", "sign_real", "sign_generated", "logit_real"} <= line.keys()
        assert "swap" not in line  # the code says who it is, and nothing of a camera
    system = systems.load(whole / "model.safetensors")
    portrait = system.create(1)
    actions = torch.zeros(52)
    calm = system.pose(portrait).render(system.creation_camera()).image
    moved = system.pose(portrait, {"actions": actions + 0.5}).render(system.creation_camera()).image
    assert calm.shape == (1, 3, 32, 32)
    assert torch.isfinite(calm).all()
    assert not calm.equal(moved)
    header = checkpoints.read_header(whole / "model.safetensors")
    assert header.json("trained")["images"] == 8 * STEPS
    assert header.json("data")["pictures"] == 24  # 12 and their mirror images
    names = sorted(path.name for path in (whole / "samples").iterdir())
    assert [name.split("_")[1].split(".")[0] for name in names] == ["grid", "turntable"]


def test_a_resumed_run_continues_exactly(folder, whole, monkeypatch):
    losses, where = Adversarial.losses, []

    def interrupted(self, phase, batch, step):
        where.append((step.index, phase))
        if where[-1] == (2, "D_main") and where.count((2, "D_main")) == 1:  # a second signal would end it at once
            signal.raise_signal(signal.SIGTERM)
        return losses(self, phase, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Adversarial, "losses", interrupted)
        assert train(folder, "parts") == 0
    assert len(stats(folder / "parts")) == 3
    assert train(folder, "parts", "--resume") == 0
    assert stats(folder / "parts") == stats(whole)


def test_a_run_starts_from_a_still_model_and_says_what_is_new(folder, tmp_path, capsys):
    """With learning rates of 0, what is known of people at rest comes out as it went in."""
    settings = (ROOT / "training/configs/next3d-tiny.toml").read_text()
    tables, model = settings.split("[model]")[1].split("\n["), {}
    wanted = ("model.mapping", "model.decoder", "model.render", "model.superresolution", "model.head_to_model")
    for table in tables:
        name = table.split("]")[0]
        if name in (*wanted, "model.identity", "model.static"):
            model[name.replace("static", "backbone")] = table.split("]", 1)[1]
    top = tables[0].replace('dynamic_planes = "correct"', "")
    text = "[model]" + top + "".join(f"\n[{name}]{body}" for name, body in model.items())
    (tmp_path / "still.toml").write_text(text)
    labels = [
        [name, label]
        for file in sorted((folder / "data" / "records").iterdir())
        for name, label in zip(np.load(file)["images"].tolist(), np.load(file)["cameras"].tolist(), strict=True)
    ]
    (folder / "data" / "dataset.json").write_text(json.dumps({"labels": labels}))
    small = ("--discriminator.channel-base", "256", "--samples.frames", "1", "--samples.people", "1")
    assert main([
        "eg3d", "--config", str(tmp_path / "still.toml"), "--run", str(folder / "still"), "--run.steps", "1",
        "--data.path", str(folder / "data"), "--device", "cpu", "--run.threads", "1", *small,
    ]) == 0  # fmt: skip
    weights = folder / "still" / "model.safetensors"
    frozen = ("--rates.generator", "0.0", "--rates.discriminator", "0.0")
    assert train(folder, "started", "--init", str(weights), *frozen, steps=1) == 0
    told = capsys.readouterr().err
    assert '"model.safetensors" says nothing of' in told
    assert "mouth.blocks.16.conv1.weight" in told
    assert "mean_planes" not in told
    start, end = checkpoints.load(weights), checkpoints.load(folder / "started" / "model.safetensors")
    assert end.tensors["mean_planes.features"].equal(start.tensors["mean_planes.features"])
    assert json.loads(end.metadata["source"])["started_from"]["sha256"] == start.hash


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--init", "missing.safetensors"), 1, 'Cannot read "missing.safetensors"'),
        (("--model.render.neural-resolution", "64"), 1, "32 pixels a side, which is no multiple of 64"),
        (("--discriminator.group", "3"), 2, "does not divide 4 samples"),
        (("--data.path", "nowhere"), 1, 'no records of people in "nowhere"'),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(folder, tmp_path, capsys, more, code, words):
    assert train(folder, str(tmp_path / "wrong"), *more) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
