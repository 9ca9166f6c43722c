# SPDX-License-Identifier: Apache-2.0
"""How fast the recipes train on this machine, and how much memory that takes.

    python benchmarks/bench_training.py [tiny | default] [--data DIR] [--steps 32] [--warm-up 16] [--threads 2] [--json]

    tiny     training/configs/tiny.toml, adversarial
    default  training/configs/default-eg3d.toml, the supervised warm start

Each recipe is trained on each device there is, by the trainer that users run, in a process of its own, one after
another: so the peak of memory belongs to it alone. On the CPU that is all of the process, on a GPU the tensors. The
first steps do not count; the others should be a multiple of 16, after which all lazy regularisers have had their turn.
In the same process the exported generator then makes pictures: that time, in which the machine shows how fast it is
today, is what a training sample is compared with. Without --data the recipes learn coloured spheres; they cost as much
as people.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for a machine where nothing is installed

RECIPES = {"tiny": ("eg3d", "tiny.toml"), "default": ("eg3d-warm-start", "default-eg3d.toml")}


@dataclass(frozen=True)
class Speed:
    """What a recipe costs on a device."""

    recipe: str
    device: str
    threads: int
    batch: int
    rate: float
    """Training samples a second."""
    memory_mb: float
    """Peak, of the process on a CPU, of tensors on a GPU."""
    picture_rate: float
    """Pictures a second that the trained generator makes, one at a time, without gradients."""

    @property
    def pictures_a_sample(self) -> float:
        """How many pictures are made in the time that one training sample takes."""
        return self.picture_rate / self.rate


def write_data(config: Path, folder: Path) -> Path:
    """Write as many spheres as a recipe's batch may want, in its model's size."""
    table = tomllib.loads(config.read_text())
    enlarged = {"none": 1, "subpixel": 4}[table["model"]["superresolution"]["kind"]]
    size = enlarged * table["model"]["render"]["neural_resolution"]
    write = runpy.run_path(str(ROOT / "tests" / "spheres.py"))["write_spheres"]
    write(folder, people=8, views=4, size=size, z_dim=table["model"]["z_dim"])
    return folder


def measure(name: str, device: str, options: argparse.Namespace) -> Speed:
    """Train a recipe in this process and time it."""
    import torch

    from training.train import main

    recipe, file = RECIPES[name]
    config = ROOT / "training" / "configs" / file
    with tempfile.TemporaryDirectory() as place:
        data, run = options.data or write_data(config, Path(place) / "data"), Path(place) / "run"
        never = str(10**9)
        code = main([
            recipe, "--config", str(config), "--data.path", str(data), "--run", str(run), "--device", device,
            "--run.minutes", "0", "--run.kimg", "0", "--run.steps", str(options.warm_up + options.steps),
            "--run.log-every", "1", "--run.save-every", never, "--run.sample-every", never,
            "--run.threads", str(options.threads),
        ])  # fmt: skip
        if code:
            raise SystemExit(code)
        batch = json.loads((run / "options.json").read_text())["config"]["run"]["batch"]
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
        seconds = sum(batch / line["images_per_second"] for line in lines[options.warm_up :])
        pictures = picture_rate(run / "model.safetensors", device)
    rate = batch * options.steps / seconds
    return Speed(name, device, torch.get_num_threads(), batch, rate, lines[-1]["memory_mb"], pictures)


def picture_rate(model: Path, device: str, least_seconds: float = 2.0) -> float:
    """Return how many pictures a second a generator makes, one after another."""
    import torch

    from neural_core import systems

    system = systems.load(model, device)
    camera = system.creation_camera()

    def make(seed: int) -> None:
        system.pose(system.create(seed)).render(camera)
        if device == "cuda":
            torch.cuda.synchronize()

    make(0)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < least_seconds:
        count += 1
        make(count)
    return count / (time.perf_counter() - begin)


def devices() -> list[str]:
    """Return the devices there are."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", choices=[*RECIPES, "all"], default="all")
    parser.add_argument("--data", type=Path, help="a data set of the one recipe that is named")
    parser.add_argument("--steps", type=int, default=32, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=16, help="steps before these")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="processor threads")
    parser.add_argument("--json", action="store_true", help="print a last line for machines")
    parser.add_argument(
        "--alone", choices=["cpu", "cuda"], help=argparse.SUPPRESS
    )  # what the processes are started with
    options = parser.parse_args()
    if options.data and options.recipe == "all":
        parser.error("--data belongs to one recipe: name it")
    return options


def main() -> None:
    """Measure each recipe on each device in a process of its own and print a table."""
    options = arguments()
    if options.alone:
        print(json.dumps(asdict(measure(options.recipe, options.alone, options))))
        return
    found = []
    print("recipe   device threads batch samples/s  peak MB pictures a sample", flush=True)
    for name in RECIPES if options.recipe == "all" else [options.recipe]:
        for device in devices():
            more = ["--data", str(options.data)] if options.data else []
            command = [
                sys.executable, __file__, name, "--alone", device, "--steps", str(options.steps),
                "--warm-up", str(options.warm_up), "--threads", str(options.threads), *more,
            ]  # fmt: skip
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(done.returncode)
            speed = Speed(**json.loads(done.stdout.splitlines()[-1]))
            found.append({**asdict(speed), "pictures_a_sample": speed.pictures_a_sample})
            print(
                f"{name:8} {device:6} {speed.threads:7} {speed.batch:5} {speed.rate:9.2f} {speed.memory_mb:8.0f} "
                f"{speed.pictures_a_sample:17.2f}",
                flush=True,
            )
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
