# SPDX-License-Identifier: Apache-2.0
"""The trainer with a recipe of eight numbers: exact resume, cut batches, counted faults, what the run folder holds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import neural_core
from tests import toy_training
from training import recipes
from training.batches import MicroBatches, Order, cut, smaller
from training.config import RunConfig
from training.distributed import World
from training.draws import Draws
from training.pictures import plain_png, save_turntable
from training.recipe import Optimiser, ParameterGroup, Phase
from training.run_log import CLOCK
from training.train import main
from training.trainer import Trainer
from training.updates import Accumulation, Learner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True, scope="module")
def _toy():
    toy_training.register()
    yield
    del recipes.RECIPES["toy"]


def toy(run: Path, *more: str) -> list[str]:
    return [
        "toy", "--run", str(run), "--device", "cpu", "--run.steps", "20", "--run.log-every", "1", "--run.batch", "4",
        "--run.threads", "1", *more,
    ]  # fmt: skip


def stats(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def states(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "state").iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, _toy):
    """A run of 20 steps that nothing interrupts."""
    run = tmp_path_factory.mktemp("whole")
    assert main(toy(run)) == 0
    return run


def test_the_run_folder_says_everything(whole):
    assert json.loads((whole / "options.json").read_text())["config"]["run"]["batch"] == 4
    lines = [json.loads(line) for line in (whole / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert {*CLOCK, "kimg", "progress", "bad_steps", "lr_G", "G_loss", "signs", "probability"} < lines[-1].keys()
    assert lines[-1]["kimg"] == pytest.approx(0.08)
    assert [line["step"] for line in lines if "R1" in line] == [1, 4, 7, 10, 13, 16, 19]  # steps 0, 3, 6, ...
    assert sorted(path.name for path in (whole / "samples").iterdir()) == ["0000020_grid.png", "0000020_turn.mp4"]
    with safe_open(whole / "model.safetensors", "pt") as model:
        assert json.loads(model.metadata()["trained"])["images"] == 80
    assert list((whole / "tensorboard").iterdir())
    assert lines[-1]["damaged"] == 2


def test_a_killed_run_continues_as_if_nothing_had_been(whole, tmp_path):
    """SIGKILL at a moment that nobody chose, with a process that reads ahead; then --resume without one."""
    more = ["--run.save-every", "3", "--pause", "0.02", "--run.workers", "1"]
    command = [sys.executable, str(ROOT / "tests" / "toy_training.py"), *toy(tmp_path, *more)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        wanted = 4 + os.getpid() % 10
        for line in running.stdout:
            if line.startswith(f"step {wanted} "):
                break
        time.sleep(0.001 * (os.getpid() % 30))
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert wanted <= len((tmp_path / "stats.jsonl").read_bytes().splitlines()) < 20
    assert main(toy(tmp_path, "--resume")) == 0
    assert stats(tmp_path) == stats(whole)


def test_a_signal_ends_the_run_with_a_state(whole, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    assert main(toy(tmp_path, "--signal-at", "6", "--run.log-every", "5")) == 0
    assert signal.getsignal(signal.SIGTERM) == before
    assert states(tmp_path) == ["0000007.pt"]  # the step is finished
    assert (tmp_path / "model.safetensors").exists()
    assert not list((tmp_path / "samples").iterdir())
    assert main(toy(tmp_path, "--resume", "--run.log-every", "5")) == 0
    every = stats(whole)
    for line in stats(tmp_path):  # of several steps a line has the mean, also across the interruption
        last = [found["G_size"] for found in every[line["step"] - 5 : line["step"]] if "G_size" in found]
        assert line["G_size"] == pytest.approx(np.mean(last), rel=1e-12)
        assert line["probability"] == pytest.approx(
            np.mean([found["probability"] for found in every[line["step"] - 5 : line["step"]]]), rel=1e-12
        )


def test_a_process_that_reads_ahead_outlives_the_signals_that_end_a_run():
    """A terminal and `torchrun` send theirs to the whole group."""
    data = toy_training.Numbers(bad_item=-1, startled_by=Order(13, 0).item(0))
    batches = MicroBatches(data, RunConfig(batch=2, workers=1), World(), torch.device("cpu"), 0)
    assert [len(batches.step()[0].data["index"]) for _ in range(3)] == [2, 2, 2]


def test_a_state_that_was_cut_short_is_left_out(whole, tmp_path, capsys):
    assert main(toy(tmp_path, "--run.save-every", "4", "--signal-at", "9")) == 0
    assert states(tmp_path) == ["0000008.pt", "0000010.pt"]
    newest = tmp_path / "state" / "0000010.pt"
    newest.write_bytes(newest.read_bytes()[:-300])
    (tmp_path / "state" / ".0000012.99.part.pt").write_bytes(b"half")
    with (tmp_path / "stats.jsonl").open("a") as file:
        file.write('{"step": 11, "kim')  # a line that was cut short
    assert main(toy(tmp_path, "--resume")) == 0
    assert "0000010.pt is damaged" in capsys.readouterr().out
    assert stats(tmp_path) == stats(whole)
    assert states(tmp_path) == ["0000008.pt", "0000020.pt"]
    for path in (tmp_path / "state").iterdir():
        path.write_bytes(b"nothing")
    assert main(toy(tmp_path, "--resume")) == 1
    assert "No state in" in capsys.readouterr().err


class Uncoupled(toy_training.Toy):
    """The toy without what samples of a micro-batch share: no spread, no noise."""

    def _judge(self, pictures):
        return self.D(nn.functional.pad(pictures, (0, 1)))

    def losses(self, phase, batch, step):
        self.G.noise = 0.0
        return super().losses(phase, batch, step)


def test_a_cut_batch_gives_the_same_gradients_and_running_means():
    def trained(micro_batch: int) -> torch.Tensor:
        torch.manual_seed(0)
        config = RunConfig(batch=8, micro_batch=micro_batch, steps=10)
        recipe = Uncoupled(toy_training.Config(run=config))
        Trainer(recipe, config, None, torch.device("cpu")).run()
        return torch.cat([value.flatten() for net in (recipe.G, recipe.D) for value in net.state_dict().values()])

    torch.testing.assert_close(trained(2), trained(0), rtol=1e-3, atol=1e-5)  # measured: see docs/training.md


def test_gradients_that_are_no_numbers_are_counted_and_skipped(whole, tmp_path, capsys):
    assert main(toy(tmp_path / "some", "--broken-item", "5")) == 0
    lines = stats(tmp_path / "some")
    broken = [line["step"] for line in lines if line["G_loss"] is None]
    order = Order(13, 0)
    assert broken == [step + 1 for step in range(20) if any(order.item(4 * step + k) == 5 for k in range(4))]
    assert lines[-1]["bad_steps"] == len(broken) > 3
    assert main(toy(tmp_path / "many", "--broken-item", "5", "--run.max-bad-steps", "2")) == 1
    assert "3 optimiser steps had gradients that were not finite" in capsys.readouterr().err
    assert states(tmp_path / "many") == [f"{broken[2]:07d}.pt"]
    weights = torch.load(tmp_path / "many" / "state" / f"{broken[2]:07d}.pt", weights_only=True)["networks"]["G"]
    assert all(torch.isfinite(value).all() for value in weights.values())
    more = ["--broken-item", "5", "--resume", "--run.max-bad-steps", "3"]  # counted anew
    assert main(toy(tmp_path / "many", *more)) == 0
    assert stats(tmp_path / "many") == lines


def test_a_lack_of_memory_says_what_to_make_smaller(tmp_path, capsys):
    assert main(toy(tmp_path, "--hungry-at", "3")) == 1
    message = capsys.readouterr().err
    assert "not enough memory for 4 samples at a time. Set run.micro_batch to 2" in message
    assert main(toy(tmp_path, "--resume", "--run.micro-batch", "1", "--hungry-at", "3")) == 1
    assert "A single sample is too large" in capsys.readouterr().err
    assert main(toy(tmp_path, "--resume", "--together", "4", "--hungry-at", "3")) == 1
    assert "4 samples, which are compared with each other, are too large" in capsys.readouterr().err
    assert main(toy(tmp_path / "large", "--width", str(1 << 50))) == 1
    assert "not enough memory for the networks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--run.micro-batch", "3"], 2, "A batch of 4 cannot be cut into micro-batches of 3 for 1 process."),
        (["--run.minutes", "1", "--run.kimg", "1"], 2, "run.minutes and run.kimg both say how long"),
        (["--run.save-every", "0"], 2, "run.save_every is 0, but has to be above 0."),
        (["--bad-item", "3"], 1, "item 3 is damaged. Leave it out."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path, capsys, more, code, words):
    assert main(toy(tmp_path, *more)) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def test_a_run_goes_on_only_as_what_it_was(whole, tmp_path, capsys):
    said = []
    for more in ([], ["--resume", "--run.batch", "8"], ["--resume", "--width", "12"]):
        code = main(toy(whole, *more))
        said.append((code, capsys.readouterr().err))
    assert [code for code, _ in said] == [2, 2, 1]
    assert "already holds a run" in said[0][1]
    assert "holds a run with run.batch 4, and it cannot go on with 8" in said[1][1]
    assert "does not fit the networks of this configuration" in said[2][1]
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"recipe": "eg3d", "config": {}}))
    assert main(toy(tmp_path, "--resume")) == 2
    assert "holds a run of the recipe eg3d, not of toy" in capsys.readouterr().err
    options.write_text("{")
    assert main(toy(tmp_path, "--resume")) == 1
    assert "options.json cannot be read" in capsys.readouterr().err


def test_a_folder_is_claimed_by_a_run_that_can_train(tmp_path, capsys):
    """What fails before its first step neither takes the folder nor changes what it says of the run in it."""
    run, short = tmp_path / "run", ("--run.steps", "2")
    assert main(toy(run, "--run.micro-batch", "3")) == 2
    assert not run.exists()
    assert main(toy(run, *short, "--hungry-at", "1", "--run.seed", "1")) == 1  # ends before it has a state
    assert main(toy(run, *short)) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(toy(run, *short, "--resume")) == 0  # nothing to keep the seed for
    said = (run / "options.json").read_bytes()
    assert main(toy(run, "--resume", "--width", "12")) == 1
    assert (run / "options.json").read_bytes() == said
    assert main(toy(run, *short, "--resume", "--run.seed", "1")) == 2


def test_every_epoch_has_every_item_once_in_another_order():
    order = Order(13, 0)
    epochs = [[order.item(13 * epoch + place) for place in range(13)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(13)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [Order(13, 0).item(sample) for sample in (30, 2, 14)] == [order.item(sample) for sample in (30, 2, 14)]
    assert [Order(13, 1).item(place) for place in range(13)] != epochs[0]


def test_batches_are_cut_evenly():
    config = RunConfig(batch=24, micro_batch=6)
    assert cut(config, World(0, 2)) == (6, 4)
    assert smaller(config, World(0, 2), 1) == 3
    assert smaller(config, World(0, 2), 2) == 2
    assert smaller(config, World(0, 2), 4) is None
    assert cut(RunConfig(batch=24), World(1, 4)) == (6, 4)
    assert smaller(RunConfig(batch=6), World(0, 2), 1) == 1
    assert smaller(RunConfig(batch=2), World(0, 2), 1) is None


def test_draws_belong_to_samples():
    both, second = Draws(3, "G", range(8, 12)), Draws(3, "G", range(10, 12))
    assert torch.equal(both.normal(5)[2:], second.normal(5))
    assert torch.equal(both.uniform(5)[2:], second.uniform(5))
    assert torch.equal(both.integers(9, 5)[2:], second.integers(9, 5))
    assert not torch.equal(Draws(3, "D", range(8, 12)).normal(5), Draws(3, "G", range(8, 12)).normal(5))
    assert not torch.equal(Draws(4, "G", range(8, 12)).normal(5), Draws(3, "G", range(8, 12)).normal(5))
    first = [Draws(3, "G", [sample]).normal().item() for sample in range(4000)]
    assert np.mean(first) == pytest.approx(0, abs=0.06)
    assert np.std(first) == pytest.approx(1, abs=0.05)
    assert np.corrcoef(first[:-1], first[1:])[0, 1] == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("broken", ["gradient", "buffer", "nothing"])
def test_a_running_mean_is_left_alone_where_something_is_no_number(broken):
    network = nn.BatchNorm1d(2)
    sums = Accumulation([network], 2)
    for value in (1.0, 3.0):
        network.running_mean.fill_(float("nan") if broken == "buffer" else value)
        factor = float("nan") if broken == "gradient" else 1.0
        (network.weight.sum() * factor).backward()
        sums.add({"loss": torch.tensor(value)}, {"sign": -value})
        assert network.running_mean.tolist() == [0, 0]  # the next micro-batch starts from here, too
    finite, figures = sums.finish(World(), network.parameters())
    assert finite == (broken == "nothing")
    assert network.running_mean.tolist() == ([2, 2] if finite else [0, 0])
    assert figures == {"loss": 2, "sign": -2}


def test_constants_are_not_sent_around():
    """Only buffers that are saved can be changed by a forward pass: constants may be large."""
    network = nn.BatchNorm1d(2)
    network.register_buffer("constant", torch.ones(1000), persistent=False)
    sent = []

    class Noting(World):
        def add(self, tensors):
            sent.extend(tensor.numel() for tensor in tensors)
            return super().add(tensors)

    sums = Accumulation([network], 1)
    sums.add({"loss": torch.tensor(1.0)}, {})
    sums.finish(Noting(), [])
    assert sent == [2, 2, 1]  # running mean and variance, the loss


def learner(*phases: Phase, scaled: bool = False) -> tuple[Learner, nn.Parameter]:
    weight = nn.Parameter(torch.zeros(()))
    optimiser = Optimiser([ParameterGroup("all", [weight], 0.1)], betas=(0.5, 0.99))
    return Learner(optimiser, phases, scaled, torch.device("cpu")), weight


def test_lazy_regularisers_correct_adam_and_their_gain():
    """StyleGAN2, appendix B: with k = 16, c = 16 / 17."""
    main_phase, lazy = Phase("D", "D"), Phase("R1", "D", 16)
    both, _ = learner(main_phase, lazy)
    group = both.adam.param_groups[0]
    assert group["lr"] == pytest.approx(0.1 * 16 / 17)
    assert group["betas"] == pytest.approx((0.5 ** (16 / 17), 0.99 ** (16 / 17)))
    assert (both.gain(main_phase), both.gain(lazy)) == (1, 16)
    alone, _ = learner(lazy)  # not a regulariser: there is no other phase
    assert alone.adam.param_groups[0]["lr"] == 0.1
    assert alone.gain(lazy) == 1


def test_a_regulariser_of_every_step_is_corrected_for_like_a_lazy_one():
    """With k = 1 there are two optimiser steps a step: c = 1 / 2."""
    main_phase, often, seldom = Phase("D", "D"), Phase("R1", "D", 1), Phase("R2", "D", 4)
    found, _ = learner(main_phase, often)
    assert found.adam.param_groups[0]["lr"] == pytest.approx(0.1 / 2)
    assert found.gain(often) == 1
    found, _ = learner(main_phase, often, seldom)
    assert found.adam.param_groups[0]["lr"] == pytest.approx(0.1 / 2.25)
    assert found.gain(seldom) == 4


def test_an_overflow_in_half_precision_lowers_the_factor_before_it_counts():
    found, weight = learner(Phase("G", "G"), scaled=True)
    factor = found.scaler.get_scale()
    while factor > 1:
        found.begin()
        found.scaler.scale(weight * float("inf")).backward()
        assert not found.skip()
        assert found.scaler.get_scale() == factor / 2
        factor /= 2
    found.begin()
    found.scaler.scale(weight * float("inf")).backward()
    assert found.skip()
    found.begin()
    found.scaler.scale(weight * 3).backward()
    found.step()
    assert weight.item() == pytest.approx(-0.1)  # Adam's first step is the rate, whatever the gradient's size


def test_a_schedule_may_count_samples_or_minutes(tmp_path):
    assert (
        main(toy(tmp_path / "kimg", "--run.kimg", "0.02", "--run.ema-kimg", "0.01", "--run.precision", "float16")) == 0
    )
    lines = stats(tmp_path / "kimg")
    assert [line["progress"] for line in lines] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert lines[-1]["loss_scale"] <= 2**16  # halved where a gradient overflowed, which is no fault
    assert lines[-1]["bad_steps"] == 0
    begin = time.monotonic()
    assert main(toy(tmp_path / "minutes", "--run.minutes", "0.01", "--pause", "0.05")) == 0
    assert time.monotonic() - begin > 0.6
    assert 0 < stats(tmp_path / "minutes")[0]["progress"] < 1


def test_what_a_bare_machine_lacks(tmp_path, monkeypatch, capsys):
    """Without imageio there are plain pictures, without an encoder strips, without TensorBoard a word about it."""
    import imageio.v3 as iio

    film = torch.rand(20, 3, 4, 6)
    assert save_turntable(tmp_path / "film", film, "a test").name == "film.mp4"
    monkeypatch.setitem(sys.modules, "av", None)
    strip = save_turntable(tmp_path / "strip", film, "a test")
    assert iio.imread(strip).shape == (4, 8 * 6, 3)
    monkeypatch.setitem(sys.modules, "imageio", None)
    monkeypatch.delitem(sys.modules, "neural_core.media")
    monkeypatch.delattr(neural_core, "media")
    plain = save_turntable(tmp_path / "plain", film, "a test")
    assert np.array_equal(iio.imread(plain), iio.imread(strip))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main(toy(tmp_path / "run", "--run.kimg", "0.004")) == 0
    assert "No TensorBoard files" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == [
        "0000001_grid.png", "0000001_turn.png",
    ]  # fmt: skip


def test_a_plain_png_is_what_others_read(tmp_path):
    import imageio.v3 as iio

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    (tmp_path / "p.png").write_bytes(plain_png(pixels))
    assert np.array_equal(iio.imread(tmp_path / "p.png"), pixels)
