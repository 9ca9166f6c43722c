# SPDX-License-Identifier: Apache-2.0
"""Ablations: what is left out, what is measured, and what the table says."""

import dataclasses
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from neural_core.human.arkit import ACTIONS
from tests.spheres import write_moving_spheres
from tests.tiny_models import tiny_next3d_config
from training import ablation
from training.ablation import Summary, ablate, changed, main, measure, summaries, table
from training.config import RunConfig
from training.data.portraits import Portraits, load_portraits
from training.data.ray_batches import PatchChoice
from training.metrics.subject import Subject
from training.recipes.next3d_warm_start import Config, MovingDataConfig
from training.recipes.warm_start import RayConfig

SIZE = 40


def test_a_variant_differs_in_what_it_names_and_in_nothing_else():
    config = Config(model=tiny_next3d_config())
    for name, changes in ablation.VARIANTS.items():
        variant = changed(config, {**changes, "run.seed": 7})
        assert variant.run == dataclasses.replace(config.run, seed=7)
        before, after = dataclasses.asdict(config.model), dataclasses.asdict(variant.model)
        differing = [key for key in before if before[key] != after[key]]
        assert differing == [path.split(".")[1] for path in changes], name


class Stub(Subject):
    """A model that shows grey pictures, off by 0.1 while the jaw is open, and by 0.2 at the mouth while it is shut."""

    def __init__(self) -> None:
        self.system: Any = SimpleNamespace(portrait_of=lambda z: z, device=torch.device("cpu"))

    def in_head_space(self, labels) -> Any:
        return labels

    def acting(self, portrait, actions, joints=None) -> Any:
        return actions

    def see(self, person, camera, *, grey=True) -> Any:
        picture = torch.full((1, 3, SIZE, SIZE), 0.5)
        if person[ACTIONS.index("jawOpen")] > 0:
            return SimpleNamespace(compared=picture + 0.1)
        picture[..., 26:34, 16:24] += 0.2  # 8 x 8 pixels around (20, 30)
        return SimpleNamespace(compared=picture)


def people(jaws: list[list[float]], yaws: list[float]) -> Portraits:
    """Return people whom nothing covers, so that the truth is grey; the mouth is at (20, 30), the eyes are not seen."""
    count, views = len(jaws), len(yaws)
    cameras = torch.zeros(count, views, 25)
    for view, yaw in enumerate(np.radians(yaws)):
        pose = torch.eye(4)
        pose[:3, 2] = torch.tensor([-math.sin(yaw), 0.0, -math.cos(yaw)])
        cameras[:, view, :16] = pose.flatten()
    actions = torch.zeros(count, views, 52)
    actions[..., ACTIONS.index("jawOpen")] = torch.tensor(jaws)
    features = torch.tensor([[0.4, 0.5, 0.0], [0.6, 0.5, 0.0], [20 / SIZE, 30 / SIZE, 1.0]])
    return Portraits(
        codes=torch.zeros(count, 64),
        cameras=cameras,
        rgba=torch.tensor([200, 100, 50, 0], dtype=torch.uint8)[:, None, None].expand(count, views, 4, SIZE, SIZE),
        depth=torch.zeros(count, views, SIZE, SIZE),
        regions=torch.zeros(count, views, SIZE, SIZE, dtype=torch.uint8),
        features=features.expand(count, views, 3, 3),
        actions=actions,
        joints=torch.zeros(count, views, 10, 3),
        skipped=(),
    )


def landmarks(lips: float) -> np.ndarray:
    """Return landmarks whose lips are that far apart, with all that distances are taken of."""
    points = np.random.default_rng(0).random((478, 2))
    points[14] = points[13] + [0.0, lips]
    return points


def test_pictures_are_scored_as_a_whole_and_at_the_mouth():
    found = measure(Stub(), people([[0.5]], [0.0]), lambda pictures: [None])
    assert found["psnr"] == pytest.approx(20, abs=1e-3)  # off by 0.1 everywhere
    assert found["psnr_mouth"] == pytest.approx(20, abs=1e-3)
    # The resting face is off by 0.2 in all 8 x 8 pixels of the square: 14 dB.
    assert found["gain_mouth"] == pytest.approx(20 + 20 * math.log10(0.2), abs=1e-3)
    assert not {"psnr_eyes", "jawOpen"} & found.keys()


def test_expressions_are_read_from_frontal_pictures():
    jaws = [[0.1, 0.9, 0.4], [0.2, 0.3, 0.8]]
    lips = iter([0.1 * 0.1, 0.1 * 0.4, 0.1 * 0.2, 0.1 * 0.8])  # of views 0 and 2; the other looks from the side
    found = measure(Stub(), people(jaws, [0.0, 60.0, -30.0]), lambda pictures: [landmarks(next(lips))])
    assert next(lips, None) is None
    assert found["jawOpen"] == pytest.approx(1.0)
    assert "eyeBlink" not in found  # nobody blinks: no line


def test_means_and_deviations():
    found = summaries({"full": [{"psnr": 20.0, "jaw": 0.5}, {"psnr": 23.0}], "less": [{"psnr": 19.0}]})
    full = found["full"]["psnr"]
    assert (full.mean, full.values) == (21.5, (20.0, 23.0))
    assert full.deviation == pytest.approx(math.sqrt(4.5))
    assert found["full"]["jaw"] == Summary(0.5, None, (0.5,))
    assert table(found).splitlines() == [
        "|  | psnr | jaw |",
        "| --- | --- | --- |",
        "| full | 21.50 ± 2.12 | 0.50 |",
        "| less | 19.00 |  |",
    ]


def test_runs_are_trained_once_and_told_apart(tmp_path, monkeypatch):
    write_moving_spheres(tmp_path / "data", people=2, views=2, size=32, z_dim=64)
    config = Config(
        model=tiny_next3d_config(),
        data=MovingDataConfig(path=(str(tmp_path / "data"),)),
        patches=PatchChoice(views=1, patches=1, side=6),
        rays=RayConfig(even=4, guided=2),
        run=RunConfig(batch=1, steps=2),
    )
    held_out = load_portraits(tmp_path / "data", limit=1, told_by_code=True, moving=True)
    monkeypatch.setattr("training.recipes.next3d_warm_start.WarmStart.samples", lambda *_: [])

    def run(seeds: range) -> dict:
        variants = ["full", "no static planes"]
        return ablate("next3d-warm-start", config, variants, seeds, held_out, tmp_path / "out", lambda _: [None])

    first = run(range(1))
    assert first.keys() == {"full", "no static planes"}
    assert first["full"]["psnr"].mean != first["no static planes"]["psnr"].mean
    written = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert written["full"]["psnr"]["values"] == list(first["full"]["psnr"].values)
    monkeypatch.setattr(ablation, "train", lambda *_, **__: pytest.fail("trained twice"))
    assert run(range(1)) == first


def test_wrong_usage_is_a_sentence(tmp_path, capsys):
    options = ["--config", str(tmp_path / "none.toml"), "--held-out", str(tmp_path), "--out", str(tmp_path)]
    assert main(["next3d-warm-start", *options]) == 2
    assert "Cannot read the configuration" in capsys.readouterr().err
    assert main(["next3d-warm-start", *options, "--seeds", "0"]) == 2
    assert "at least one" in capsys.readouterr().err
