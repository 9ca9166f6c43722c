# SPDX-License-Identifier: GPL-3.0-or-later
"""Create, delete and undo over and over in a window, with the real worker and a tiny model: nothing stays behind.

As a program it does as many rounds as it is told, and writes their figures and a plot of the memory:

    BLENDER_EXE="../shared/tools/real-blender 5.2" python tests/blender/test_cycles.py 200 out/cycles
"""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import display  # noqa: E402
import staging  # noqa: E402
from blenders import EXECUTABLES, IN_WINDOWS  # noqa: E402

ROUNDS = int(os.environ.get("PORTRAIT_CYCLES", "12"))
START_S, ROUND_S = 600, 30
"""Patience with a busy machine."""
SETTLED = 5
"""Rounds after which a process has what it needs."""
GROWTH_MB = 0.25
"""How much of the worker's memory a round may leave, at most: a portrait with its planes and rig takes several MB."""

pytestmark = [*IN_WINDOWS, pytest.mark.slow]


def go_round(executable: list[str], rounds: int, out: Path) -> dict:
    """Let a Blender do the rounds, and return what it counted."""
    from tests.tiny_models import save_tiny

    (out / "models").mkdir(parents=True)
    save_tiny(out / "models" / "tiny.safetensors")
    package = staging.stage(out / "stage", stub=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURAL_PORTRAIT_MODELS", str(out / "models"))
        patch.setenv("OMP_NUM_THREADS", "1")
        log = display.run_plan(
            executable, package.parent, str(rounds), out, timeout_s=START_S + ROUND_S * rounds, script="cycles.py"
        )
    assert (out / "facts.json").is_file(), log
    facts = json.loads((out / "facts.json").read_text())
    facts["log"] = log
    return facts


def growth_mb(figures: list[float]) -> float:
    """Return how much is left behind in a round: the slope of a line through the settled rounds."""
    import numpy as np

    return float(np.polyfit(range(len(figures) - SETTLED), figures[SETTLED:], 1)[0])


@pytest.mark.parametrize("executable", EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def test_nothing_stays_behind(executable, tmp_path):
    facts = go_round(executable, ROUNDS, tmp_path)
    assert "Traceback" not in facts["log"]
    assert (tmp_path / "done").exists(), facts["log"]
    assert len(facts["rounds"]) == ROUNDS
    assert [one["changes"] for one in facts["rounds"]] == [[]] * ROUNDS
    assert len({one["worker"] for one in facts["rounds"]}) == 1  # the same process all the time
    assert growth_mb([one["worker_mb"] for one in facts["rounds"]]) < GROWTH_MB


def main() -> int:
    """Do the rounds; returns the exit code."""
    rounds, out = int(sys.argv[1]), Path(sys.argv[2]).resolve()
    facts = go_round(EXECUTABLES[-1], rounds, out)
    done = facts["rounds"]
    names = ("seconds", "worker_mb", "blender_mb")
    lines = ["round," + ",".join(names), *(f"{n}," + ",".join(f"{r[x]}" for x in names) for n, r in enumerate(done))]
    (out / "cycles.csv").write_text("\n".join(lines) + "\n")
    plot([one["worker_mb"] for one in done], [one["blender_mb"] for one in done], out / "cycles.png")
    left = sum(bool(one["changes"]) for one in done)
    print(f"{len(done)} rounds, {left} of them left or lost data-blocks")
    for name in names[1:]:
        figures = [one[name] for one in done]
        print(f"{name}: {figures[0]:.0f} at first, {figures[-1]:.0f} at last, {growth_mb(figures):+.3f} a round")
    return 0 if len(done) == rounds and not left else 1


def plot(worker: list[float], blender: list[float], target: Path) -> None:
    """Draw memory over rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(worker, label="worker")
    axes.plot(blender, label="Blender")
    axes.set(xlabel="create, delete, undo: rounds", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
