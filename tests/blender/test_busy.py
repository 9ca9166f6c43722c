# SPDX-License-Identifier: GPL-3.0-or-later
"""What users do while the engine works: two windows, undo, deletion, another file; how long our code holds them up."""

import json
import os

import display
import pytest
import staging
from blenders import EXECUTABLES, IN_WINDOWS

LIMIT_S = 0.1

pytestmark = IN_WINDOWS


@pytest.fixture(scope="module", params=EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def facts_of(request, stub_stage, tmp_path_factory):
    """Run a plan of inside/busy.py; return what it noted, and what Blender printed."""
    models = tmp_path_factory.mktemp("models")
    for name in ("moving", "crawls"):
        staging.write_model(models / f"{name}.safetensors")

    def run(plan):
        out = tmp_path_factory.mktemp(plan)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURAL_PORTRAIT_MODELS", str(models))
            log = display.run_plan(request.param, stub_stage, plan, out, script="busy.py")
        if "libGL" in log and not (out / "facts.json").exists():
            pytest.skip(f"this Blender has no OpenGL library: {log.strip()}")
        assert (out / "facts.json").is_file(), log
        return json.loads((out / "facts.json").read_text()), log

    return run


def test_no_code_of_ours_holds_the_window_up_during_a_job(facts_of):
    """Of a job of 30 s; on a machine with more work than cores only the processor's time says what our code does."""
    facts, log = facts_of("job")
    assert "Traceback" not in log
    assert facts["busy"]
    assert facts["job_s"] > 30
    for name in ("timer _pump", "timer _tick", "handler unbaked.frame_change_post", "draw PORTRAIT_PT_picture"):
        assert facts["job"]["runs"][name] >= 5, facts["job"]["runs"]
    for figures in (facts["job"], facts["applied"]):
        print({name: round(1000 * seconds, 1) for name, seconds in figures["longest"].items()})
        assert max(figures["cpu"].values()) < LIMIT_S, figures["cpu"]
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert max(facts["job"]["longest"].values()) < LIMIT_S, facts["job"]["longest"]


def test_undo_deletion_and_another_file_while_baking(facts_of):
    facts, log = facts_of("baking")
    assert "Traceback" not in log
    assert facts["returned_at_once"]
    assert facts["busy_after_undo"]
    assert facts["after_undo"] == ["idle", True]
    assert facts["frames_after_undo"] == 3
    assert facts["drawn_while_baking"]["UI"] >= 6  # three frames of 0.6 s, two windows
    assert facts["drawn_while_baking"]["WINDOW"] <= 2  # progress is news for the sidebar alone
    assert facts["deleted"] == "The portrait was deleted while its frames were baked."
    assert facts["new_after_delete"] == []
    assert facts["frames_after_delete"] == 9
    assert not facts["busy_after_load"]
    assert facts["loaded"] == "Bake Frames was stopped: another file was opened."
    assert facts["roots_after_load"] == 0
