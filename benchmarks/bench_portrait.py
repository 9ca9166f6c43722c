# SPDX-License-Identifier: Apache-2.0
"""What a portrait costs on this machine's CPU, from its seed to its mesh.

    python benchmarks/bench_portrait.py default-next3d [--beside default-eg3d] [--repeats 5]

Prints the median processor seconds of each stage on one thread, their ratio to the first pose and, for models that
move, what keeping a person's planes saves; then the peak memory of the process. Processor time hardly depends on what
else the machine does; seconds are of this machine, ratios carry over.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch

from neural_core.human.arkit import ACTIONS
from neural_core.studio import Studio, creation_view

_SIZE, _DETAIL = 256, 128


def seconds(work: Callable[[int], object], repeats: int) -> float:
    """Return the median processor time of some work, which is told how often it ran."""
    times = []
    for number in range(repeats):
        began = time.process_time()
        work(number)
        times.append(time.process_time() - began)
    return statistics.median(times)


def measure(studio: Studio, model: str, repeats: int) -> dict[str, float]:
    """Return seconds by stage."""
    loaded, portrait = studio.create(model, 7)
    system = loaded.system
    moves = any(control.name == "actions" for control in system.info.controls)
    camera = creation_view(system, 0.0, 0.0)

    def expression(number: int) -> dict[str, dict[str, float]]:
        return {"actions": {ACTIONS[number % len(ACTIONS)]: 0.5}} if moves else {}

    found = {
        "create": seconds(lambda number: studio.create(model, number + 1), repeats),
        "first pose of a person": seconds(
            lambda number: studio.pose(loaded, studio.create(model, number + 100)[1], expression(number)), repeats
        ),
    }
    found["first pose of a person"] -= found["create"]
    if moves:
        studio.pose(loaded, portrait)
        found["another expression"] = seconds(lambda n: studio.pose(loaded, portrait, expression(n)), repeats)
    field = studio.pose(loaded, portrait, expression(0))
    found[f"picture of {_SIZE} x {_SIZE}"] = seconds(lambda _: studio.draw(field, camera, _SIZE), repeats)
    found[f"mesh, {_DETAIL} cells a side"] = seconds(lambda _: studio.surface(field, _DETAIL), max(1, repeats // 2))
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of an installed model")
    parser.add_argument("--beside", help="another one, measured in the same run")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    studio = Studio("cpu")
    for model in filter(None, (flags.model, flags.beside)):
        found = measure(studio, model, flags.repeats)
        print(model)
        for stage, value in found.items():
            print(f"  {stage:<28} {value:7.3f} s  {value / found['first pose of a person']:6.2f} x first pose")
        if "another expression" in found:
            saved = (found["first pose of a person"]) / found["another expression"]
            print(f"  a kept person's next expression comes {saved:.1f} times as fast as their first")
        print(f"  peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
