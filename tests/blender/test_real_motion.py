# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses, gaze and layers of motion in the real Blenders that $BLENDER_EXE names, whose actions are made differently."""

import json
import subprocess

import pytest
from blenders import EXECUTABLES
from staging import HERE

pytestmark = [
    pytest.mark.real_blender,
    pytest.mark.skipif(not EXECUTABLES, reason="BLENDER_EXE names no real Blender"),
]


@pytest.mark.parametrize("command", EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def test_layers_lie_over_the_users_keys_with_and_without_the_add_on(command, stub_stage, tmp_path):
    rows = [f"1:0:{frame // 60}:{frame % 60},{frame / 240:.6f},{frame / 600:.6f}" for frame in range(121)]
    (tmp_path / "take.csv").write_text("\n".join(["Timecode,JawOpen,HeadYaw", *rows]))
    files = [stub_stage, *(tmp_path / name for name in ("take.csv", "motion.blend", "facts.json"))]
    script = ["-b", "--python-exit-code", "9", "-P", HERE / "inside" / "motion.py", "--", *files]
    run = subprocess.run(
        [*command, *map(str, script)], capture_output=True, text=True, timeout=600, check=False, errors="replace"
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["tracks"] == ["take", "Random motion 5"]
    assert facts["same_action"]
    assert facts["without"].keys() == facts["seen"].keys()
    for frame, shown in facts["seen"].items():
        assert facts["without"][frame] == pytest.approx(shown, abs=1e-6)
    surprise = {"jawOpen": 0.5 * 0.45, "browInnerUp": 0.5 * 0.8}  # a half of it, keyed
    for frame, seconds in (("1", 0.0), ("10", 0.0), ("34", 1.0)):
        jaw, brow, _, head = facts["seen"][frame]
        assert jaw == pytest.approx(surprise["jawOpen"] + seconds / 4, abs=1e-4)
        assert brow == pytest.approx(surprise["browInnerUp"], abs=1e-4)
        assert head == pytest.approx(seconds / 10, abs=1e-3)
    assert max(shown[2] for shown in facts["seen"].values()) > 0.9  # a blink
    assert facts["eye"][0] > 0.99
    for name, (by_blender, ours) in facts["poses"].items():
        assert by_blender == pytest.approx(ours, abs=1e-5), name
        assert max(ours) > 0.4 > min(ours)
