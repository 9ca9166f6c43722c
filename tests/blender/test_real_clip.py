# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips in the real Blenders that $BLENDER_EXE names: these read films themselves, and can hear them."""

import json
import subprocess

import numpy as np
import pytest
import stub_worker as stub
from blenders import EXECUTABLES
from staging import HERE

from neural_core import media
from neural_core.audio.io import Track

RATE = 30 / 1.001

pytestmark = [
    pytest.mark.real_blender,
    pytest.mark.skipif(not EXECUTABLES, reason="BLENDER_EXE names no real Blender"),
]


def expected(frame, strength=1.0):
    """What the stub tells of a clip that begins at frame 11: jaw, and the head bone's turn."""
    second = (frame - 11) / RATE
    inside = 0 <= second <= 1 + 1e-4
    return [strength * stub.CLIP_JAW * second * inside, stub.CLIP_YAW / 2 * second * inside]


@pytest.mark.parametrize("command", EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def test_a_clip_is_a_layer_that_is_heard_and_one_without_a_face_changes_nothing(command, stub_stage, tmp_path):
    grey, tone = np.full((64, 64, 3), 90, np.uint8), np.sin(np.arange(2 * 16000) / 6)
    track = Track((0.1 * tone[None]).astype(np.float32), 16000)
    for name in ("hello.mp4", "faceless.mp4"):
        media.write_mp4(tmp_path / name, [grey] * 50, 25.0, {}, track)
    files = [stub_stage, *(tmp_path / name for name in ("hello.mp4", "faceless.mp4", "clip.blend", "facts.json"))]
    script = ["-b", "--python-exit-code", "9", "-P", HERE / "inside" / "clip.py", "--", *files]
    run = subprocess.run(
        [*command, *map(str, script)], capture_output=True, text=True, timeout=600, check=False, errors="replace"
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "Traceback" not in run.stdout + run.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    for what in ("no person", "no face"):
        assert facts[what] == [["CANCELLED"], 'No face can be followed in "faceless.mp4".', True], what
    tracks, sounds, shown = facts["created"]
    assert tracks == ["Clip hello.mp4"]
    ((kind, start, frames),) = sounds
    assert (kind, start) == ("SOUND", 11)
    assert abs(frames - 2 * RATE) < 3  # the coder's blocks
    for frame, values in shown.items():
        assert values == pytest.approx(expected(int(frame)), abs=2e-3), frame
    assert facts["frame"] == 5
    tracks, again, shown = facts["tracked"]
    assert [name.removesuffix(".001") for name, _ in tracks] == ["Clip hello.mp4"] * 2
    assert [mute for _, mute in tracks] == [True, False]
    assert again == sounds  # the same sound is not added twice
    for frame, values in shown.items():
        jaw, yaw = expected(int(frame), 0.5)
        own = float(np.interp(int(frame), [1, 26, 60], [0.0, 0.1, 0.0]))
        assert values[1] == pytest.approx(yaw, abs=2e-3), frame
        if int(frame) in (1, 26, 60):  # between them Blender's own keys are curved
            assert values[0] == pytest.approx(jaw + own, abs=2e-3), frame
        assert facts["without"][frame] == pytest.approx(values, abs=1e-6)
