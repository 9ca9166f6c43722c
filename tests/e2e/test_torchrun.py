# SPDX-License-Identifier: Apache-2.0
"""Two processes (gloo): they compute what one computes, stop together, and say so when one of them is lost."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.spheres import write_spheres
from training.run_log import CLOCK

ROOT = Path(__file__).resolve().parents[2]
TOY = str(ROOT / "tests" / "toy_training.py")


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def toy(run: Path, *more: str) -> list[str]:
    return [
        "toy", "--run-dir", str(run), "--device", "cpu", "--run.steps", "20", "--run.log-every", "1",
        "--run.batch", "4", "--run.micro-batch", "2", "--run.threads", "1", *more,
    ]  # fmt: skip


def torchrun(*program: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr, done.stderr[-3000:]


def pair(*arguments: str) -> list[subprocess.Popen[str]]:
    """Start two processes as torchrun does, without its habit of ending the others when one ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [
        subprocess.Popen(
            [sys.executable, TOY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(
                MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank)
            ),
        )
        for rank in range(2)
    ]  # fmt: skip


def stats(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The toy on one process, with the two micro-batches that two processes have; the gradients of some are broken."""
    run = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, TOY, *toy(run, "--broken-item", "5")], env=environment(), check=True)
    return run


@pytest.mark.slow
def test_two_processes_of_torchrun_log_what_one_does(alone, tmp_path):
    torchrun(TOY, *toy(tmp_path, "--broken-item", "5"))
    assert len(stats(tmp_path)) == 20
    assert stats(tmp_path)[-1]["bad_steps"] > 3  # though only one of the two has the broken item
    assert stats(tmp_path) == stats(alone)  # bit by bit


@pytest.mark.slow
def test_they_stop_together_go_on_and_miss_each_other(alone, tmp_path):
    # The signal reaches the second process alone.
    both = pair(*toy(tmp_path, "--broken-item", "5", "--signal-at", "6"))
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["0000007.pt"]
    assert not list((tmp_path / "samples").iterdir())  # though the first process, which makes them, got no signal

    both = pair(*toy(tmp_path, "--broken-item", "5", "--resume", "--run.save-every", "3", "--die-at", "14"))
    assert both[1].wait(timeout=300) == -signal.SIGKILL
    lost = time.monotonic()
    said = both[0].communicate(timeout=60)[1]
    assert time.monotonic() - lost < 30  # seconds on a machine with nothing else to do
    assert both[0].returncode == 1
    assert re.search(r"Process 1.* stopped answering.*--resume", said), said
    assert "Traceback" not in said
    both[1].communicate()

    # One process can go on with what two began.
    subprocess.run(
        [sys.executable, TOY, *toy(tmp_path, "--broken-item", "5", "--resume")], env=environment(), check=True
    )
    assert stats(tmp_path) == stats(alone)


@pytest.mark.slow
def test_what_the_first_process_finds_wrong_all_say(alone):
    both = pair(*toy(alone))
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [2, 2]
    assert all("already holds a run" in text for text in said)
    assert said[1].startswith("process 1: ")


@pytest.mark.slow
def test_an_adversarial_eg3d_is_the_same_on_two_processes_and_after_a_kill(tmp_path):
    """Twenty steps of the smallest configuration: uninterrupted, under torchrun, and killed on the way."""
    write_spheres(tmp_path / "data", people=6, views=3, size=32, z_dim=44)
    arguments = [
        "training.train", "eg3d", "--config", str(ROOT / "training" / "configs" / "tiny.toml"), "--device", "cpu",
        "--data.path", str(tmp_path / "data"), "--run.steps", "20", "--run.log-every", "1", "--run.batch", "4",
        "--run.micro-batch", "2", "--discriminator.group", "2", "--run.threads", "1", "--run.save-every", "4",
    ]  # fmt: skip
    one = [sys.executable, "-m", *arguments]
    subprocess.run([*one, "--run", str(tmp_path / "one")], cwd=ROOT, env=environment(), check=True)
    expected = stats(tmp_path / "one")
    assert len(expected) == 20
    assert {name for line in expected for name in line} >= {"generator", "discriminator", "r1", "density"}

    torchrun("-m", *arguments, "--run-dir", str(tmp_path / "two"))
    assert stats(tmp_path / "two") == expected  # bit by bit

    killed = [*one, "--run", str(tmp_path / "killed")]
    with subprocess.Popen(killed, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as running:
        wanted = 5 + os.getpid() % 10
        for line in running.stdout:
            if line.startswith(f"step {wanted} "):
                break
        running.kill()
    assert len((tmp_path / "killed" / "stats.jsonl").read_bytes().splitlines()) < 20
    subprocess.run([*killed, "--resume"], cwd=ROOT, env=environment(), check=True)
    assert stats(tmp_path / "killed") == expected
