# SPDX-License-Identifier: Apache-2.0
"""How long a live picture takes, from a slider or a camera that moved to the card: bpy wheel, real worker.

    python benchmarks/bench_live.py [--model default-next3d] [--repeats 8] [--threads 1]

Prints medians for the draft and for the full picture: processor milliseconds of Blender's side and of the worker, their
ratio to the same picture drawn bare in the same run (posed if the face moved, drawn, no add-on, no pipe), and the
milliseconds of the clock, which mean something on a machine that has nothing else to do. The timers' pauses are left
out of them: on average half of `session.LIVE_S` and half of `live.TICK_S` are added.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FULL = 256


def worker_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process so far (Linux)."""
    tasks = (folder / "schedstat" for folder in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e9


def bare(model: str, repeats: int, threads: int) -> dict[str, float]:
    """Return the processor seconds of the pictures themselves, by what changed and how it is drawn."""
    import torch

    from neural_core.human.arkit import ACTIONS
    from neural_core.studio import Studio, creation_view

    torch.set_num_threads(threads)
    studio = Studio("cpu")
    loaded, portrait = studio.create(model, 7)
    field = studio.pose(loaded, portrait)
    found: dict[str, list[float]] = {}
    for number in range(repeats + 1):
        for quality, size in (("draft", 128), ("full", FULL)):
            for what in ("slider", "camera"):
                camera = creation_view(loaded.system, float(number) if what == "camera" else 0.0, 0.0)
                began = time.process_time()
                # As the worker does, the full picture of a face that was drafted needs no other planes.
                if what == "slider" and quality == "draft":
                    asked = {"actions": {ACTIONS[number % len(ACTIONS)]: 0.5}}
                    field = studio.pose(loaded, portrait, asked)
                studio.draw(field, camera, size, quality)
                found.setdefault(f"{what} {quality}", []).append(time.process_time() - began)
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def live_pictures(model: str, repeats: int) -> dict[str, dict[str, float]]:
    """Return seconds of Blender's side, of the worker and of the clock, by what changed and how it is drawn."""
    import bpy  # first: it brings addon_utils

    import addon_utils  # isort: skip

    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon_utils.enable("neural_portrait", default_set=True)
    from neural_portrait import live, session
    from neural_portrait.expressions import NAMES
    from neural_portrait.scene import find

    scene = bpy.context.scene
    scene.portrait.model, scene.portrait.detail, scene.portrait.size = model, 32, FULL
    scene.portrait.quality = "PREVIEW"
    if bpy.ops.portrait.create() != {"FINISHED"}:
        raise SystemExit(session.engine().status.message)
    (root,) = find.roots(scene)
    bpy.ops.portrait.show(what="PICTURE")
    rig, camera, engine = find.part(root, "RIG"), scene.camera, session.engine()
    live.switch_on(root)
    live.clock = lambda: now

    def until(is_there: Callable[[], bool]) -> tuple[float, float, float]:
        began = time.perf_counter(), time.process_time(), worker_seconds(engine.pid)
        live.update()
        while not is_there():
            engine.step(0.2)
            live.update()
        ended = time.perf_counter(), time.process_time(), worker_seconds(engine.pid)
        clock, own, worker = (after - before for before, after in zip(began, ended, strict=True))
        return own, worker, clock

    found: dict[str, list[tuple[float, float, float]]] = {}
    now = 0.0
    for number in range(repeats + 1):
        for what in ("slider", "camera"):
            if what == "slider":
                rig[NAMES[number % len(NAMES)]] = 0.5
                rig.update_tag()
            else:
                camera.location.x += 0.01
            bpy.context.view_layer.update()
            found.setdefault(f"{what} draft", []).append(until(lambda: live._live.shown == live._live.wanted))
            now += 1.0
            found.setdefault(f"{what} full", []).append(until(lambda: live._live.full))
            now += 1.0
    names = ("blender", "worker", "clock")
    return {
        name: dict(zip(names, map(statistics.median, zip(*rows[1:], strict=True)), strict=True))
        for name, rows in found.items()
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default-next3d", help="one that moves")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of the worker, and of the bare pictures")
    parser.add_argument("--bare", action="store_true", help="draw the bare pictures and print JSON")
    flags = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if flags.bare:
        print(json.dumps(bare(flags.model, flags.repeats, flags.threads)))
        return
    os.environ |= {"OMP_NUM_THREADS": str(flags.threads), "NEURAL_PORTRAIT_PYTHON": sys.executable}
    again = [sys.executable, __file__, "--bare", "--model", flags.model]
    again += ["--repeats", str(flags.repeats), "--threads", str(flags.threads)]
    alone = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
    from build_addon import stage

    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder))
        sys.path.insert(0, folder)
        found = live_pictures(flags.model, flags.repeats)
    print(f"{'':<16}{'blender':>10}{'worker':>10}{'bare':>10}{'ratio':>8}{'clock':>10}   (ms)")
    for name, row in found.items():
        ratio = (row["blender"] + row["worker"]) / alone[name]
        numbers = (row["blender"], row["worker"], alone[name])
        shown = "".join(f"{1000 * number:10.1f}" for number in numbers)
        print(f"{name:<16}{shown}{ratio:8.2f}{1000 * row['clock']:10.1f}")
    sys.stdout.flush()
    os._exit(0)  # the wheels crash or hang at exit


if __name__ == "__main__":
    main()
