# SPDX-License-Identifier: Apache-2.0
"""Ablations: what is left out, what is measured, and what the table says."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from neural_core import checkpoints
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.records import Record
from tests.spheres import write_moving_spheres
from tests.tiny_models import save_tiny_next3d, tiny_next3d_config
from training import ablation
from training.ablation import RECIPES, Summary, ablate, changed, main, summaries, table
from training.config import RunConfig, read_toml
from training.config import build as read
from training.data.portraits import Portraits, load_portraits
from training.data.ray_batches import PatchChoice
from training.metrics.acting import measure
from training.metrics.subject import Subject
from training.recipes import adversarial_config, eg3d_config, eg3d_warm_start, next3d_config
from training.recipes.next3d_start import fill
from training.recipes.next3d_warm_start import Config, MovingDataConfig
from training.recipes.warm_start import RayConfig

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
SIZE = 40


def test_a_variant_differs_in_what_it_names_and_in_nothing_else():
    config = Config(model=tiny_next3d_config())
    for name, changes in RECIPES["next3d-warm-start"].variants.items():
        variant = changed(config, {**changes, "run.seed": 7})
        assert variant.run == dataclasses.replace(config.run, seed=7)
        before, after = dataclasses.asdict(config.model), dataclasses.asdict(variant.model)
        differing = [key for key in before if before[key] != after[key]]
        assert differing == [path.split(".")[1] for path in changes], name


def test_variants_of_the_adversarial_recipe_leave_out_what_they_say():
    config = next3d_config.Config(model=tiny_next3d_config())
    variants = {
        name: next3d_config.reduced(changed(config, changes)) for name, changes in RECIPES["next3d"].variants.items()
    }
    left_out = {
        name: {
            *("model." + key for key, value in vars(config.model).items() if getattr(variant.model, key) != value),
            *(key for key, value in vars(config).items() if key != "model" and getattr(variant, key) != value),
        }
        for name, variant in variants.items()
    }
    assert left_out == {
        "start": {"rates", "run"},
        "full": set(),
        "no static planes": {"model.static_planes"},
        "neither U-Net": {"model.mouth", "model.blending"},
        "no synthetic rendering": {"discriminator"},
    }
    assert config.discriminator.synthetic_rendering
    assert not variants["no synthetic rendering"].discriminator.synthetic_rendering


class Stub(Subject):
    """A model that shows grey pictures, off by 0.1 while the jaw is open, and by 0.2 at the mouth while it is shut."""

    def __init__(self) -> None:
        self.pixels = SIZE
        self.system: Any = SimpleNamespace(portrait_of=lambda z: z, device=torch.device("cpu"))

    def in_head_space(self, labels) -> Any:
        return labels

    def acting(self, portrait, actions, joints=None) -> Any:
        return actions

    def see(self, person: Any, camera, *, grey=True) -> Any:
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


HALVES = torch.ones(1, 3, SIZE, SIZE)
"""1 left of the mouth's middle, and -1 right of it."""
HALVES[..., 20:] = -1
FLOORS = torch.ones(1, 3, SIZE, SIZE)
"""1 above it, and -1 below."""
FLOORS[..., 30:, :] = -1


RESTING = 0.5 + 0.1 * FLOORS


class Acting(Stub):
    """A model in which who opens the jaw to 0.5 changes in halves, who opens it further in floors."""

    def see(self, person: Any, camera, *, grey=True) -> Any:
        jaw = person[ACTIONS.index("jawOpen")]
        change = 0.0 if jaw == 0 else 0.1 * (HALVES if jaw <= 0.5 else FLOORS) + 0.1
        return SimpleNamespace(compared=RESTING + change)


def truth_of(pictures: list[torch.Tensor], jaws: list[float]) -> Portraits:
    """Return people, a view each, whose pictures hide all that is behind them."""
    shown = torch.cat(pictures)
    rgba = (torch.cat([shown, torch.ones_like(shown[:, :1])], dim=1) * 255).round().to(torch.uint8)
    return dataclasses.replace(people([[jaw] for jaw in jaws], [0.0]), rgba=rgba[:, None])


def test_following_compares_patterns_of_all_people_together():
    wanted = [RESTING + 0.1 * HALVES, RESTING + 0.2 * HALVES]
    # Changes 0.1 halves and 0.1 floors, which have nothing in common with halves: 0.01 / sqrt(0.02 * 0.05).
    found = measure(Acting(), truth_of(wanted, [0.5, 0.9]), None)
    assert found["follow_mouth"] == pytest.approx(0.01 / math.sqrt(0.02 * 0.05), abs=3e-3)
    against = measure(Acting(), truth_of([RESTING - 0.1 * HALVES], [0.5]), None)
    assert against["follow_mouth"] == pytest.approx(-1, abs=3e-3)
    assert measure(Acting(), truth_of(wanted, [0.0, 0.0]), None)["follow_mouth"] == 0  # nothing moves


def test_pictures_are_compared_at_the_size_that_the_model_is_seen_at():
    picture = RESTING + 0.3 * HALVES
    columns = torch.stack([picture - 0.04, picture + 0.04], dim=-1).flatten(-2)
    larger = dataclasses.replace(
        truth_of([picture], [0.5]), rgba=truth_of([columns.repeat_interleave(2, dim=2)], [0.5]).rgba
    )
    expected = measure(Acting(), truth_of([picture], [0.5]), None)
    assert measure(Acting(), larger, None) == pytest.approx(expected, abs=0.1)  # dB: colours are rounded


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
        return ablate("next3d-warm-start", config, variants, seeds, held_out, tmp_path / "out", 32, lambda _: [None])

    first = run(range(1))
    assert first.keys() == {"full", "no static planes"}
    assert first["full"]["psnr"].mean != first["no static planes"]["psnr"].mean
    written = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert written["full"]["psnr"]["values"] == list(first["full"]["psnr"].values)
    monkeypatch.setattr(ablation, "train", lambda *_, **__: pytest.fail("trained twice"))
    assert run(range(1)) == first


def test_the_start_is_what_the_weights_show_before_training(tmp_path, monkeypatch):
    data = tmp_path / "data"
    write_moving_spheres(data, people=2, views=4, size=32, z_dim=64)
    for file in sorted((data / "records").glob("*.npz")):
        driver = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
        dataclasses.replace(Record.load(file), driver=driver, shape=np.zeros(40, np.float32)).save(file)
    config = next3d_config.Config(
        model=tiny_next3d_config(),
        init=str(save_tiny_next3d(tmp_path / "init.safetensors")),
        data=adversarial_config.DataConfig(path=str(data)),
        discriminator=next3d_config.DiscriminatorConfig(channel_base=128, channel_max=8),
        loss=adversarial_config.LossConfig(density_points=20),
        run=RunConfig(batch=4, steps=2, ema=0.5),
    )
    held_out = load_portraits(data, limit=1, told_by_code=True, moving=True)
    monkeypatch.setattr("training.recipes.next3d.Adversarial.samples", lambda *_: [])
    found = ablate("next3d", config, ["start", "full"], range(1), held_out, tmp_path / "out", 32, None)
    before, *after = (
        checkpoints.load(path).tensors
        for path in (tmp_path / "init.safetensors", *(tmp_path / f"out/{name}-0/model.safetensors" for name in found))
    )
    moved = [[name for name, value in tensors.items() if not value.equal(before[name].half())] for tensors in after]
    assert not moved[0]
    assert "decoder.output.bias" in moved[1]
    assert found["start"]["psnr"].mean != found["full"]["psnr"].mean


def test_landmarks_are_read_off_pictures_that_are_large_enough(tmp_path, monkeypatch, capsys):
    asked = []

    def note(recipe, config, variants, seeds, held_out, out, pixels, find) -> dict:
        asked.append((pixels, find is not None, config.run.steps, list(variants)))
        return {}

    monkeypatch.setattr(ablation, "ablate", note)
    data = tmp_path / "data"
    write_moving_spheres(data, people=1, views=1, size=128, z_dim=64)
    options = ["--config", str(CONFIGS / "next3d-tiny.toml"), "--held-out", str(data), "--out", str(tmp_path)]
    for size in ([], ["--size", "64"]):
        assert main(["next3d", *options, *size, "--run.steps", "7", "--variants", "start", "full"]) == 0
    assert asked == [(128, True, 7, ["start", "full"]), (64, False, 7, ["start", "full"])]
    assert main(["next3d", *options, "--size", "256"]) == 2
    assert "held-out pictures have 128 pixels a side" in capsys.readouterr().err


def test_the_start_of_the_adversarial_ablation_has_all_that_does_not_move():
    still = read(eg3d_warm_start.Config, read_toml(CONFIGS / "next3d-ablation-start.toml"), "start").model
    model = read(next3d_config.Config, read_toml(CONFIGS / "next3d-ablation-adversarial.toml"), "adversarial").model
    tensors = eg3d_config.new_generator(still).state_dict()
    start = checkpoints.Checkpoint("eg3d", dataclasses.asdict(still), tensors, {}, "0" * 64, "start")
    left = fill(next3d_config.new_generator(model, load_anny_head()), model, start)
    assert {name.split(".")[0] for name in left} == {
        "texture_synthesis", "mean_texture", "trait_textures", "mouth", "blending",
    }  # fmt: skip


def test_the_supervised_ablation_is_the_default_network():
    ours, default = (
        read(Config, read_toml(CONFIGS / f"{name}.toml"), name) for name in ("next3d-ablation", "default-next3d")
    )
    smaller = {"mesh.resolution": ours.model.mesh.resolution, "identity.mean_resolution": 96}
    assert (ours.model, ours.init) == (changed(default.model, smaller), default.init)
    assert ours.run.minutes == 0  # every variant takes the same number of steps


def test_wrong_usage_is_a_sentence(tmp_path, capsys):
    options = ["--config", str(tmp_path / "none.toml"), "--held-out", str(tmp_path), "--out", str(tmp_path)]
    assert main(["next3d-warm-start", *options]) == 2
    assert "Cannot read the configuration" in capsys.readouterr().err
    assert main(["next3d-warm-start", *options, "--seeds", "0"]) == 2
    assert "at least one" in capsys.readouterr().err
    assert main(["next3d", *options, "--variants", "no blending"]) == 2
    assert 'next3d has no variant "no blending"' in capsys.readouterr().err
