# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyed portrait becomes another person in each Blender, by the real worker; the library says what is right."""

import json
import os
import subprocess

import numpy as np
import pytest
from blenders import COMMANDS, script
from staging import HERE

from neural_core import people, portraits, rigs
from neural_core.mixing import Mix
from neural_core.studio import Studio
from tests.tiny_models import save_tiny_next3d

SEED, MIX = 7, (11, 0.25)
SLIDERS = {"age": 2.0, "masculinity": -1.5, "shape_02": 1.0, "hair_length": 2.0}
KEYS = {"jawOpen": (3, 0.8), "mouthSmileLeft": (5, 1.0)}
"""Sliders of the rig, with the frame and the value of their second key; they are 0 the frame before."""
FRAMES = (1, 3, 5)
TOLERANCE_M = 3e-5
"""The actions travel in half precision, and Blender keeps weights in 255 steps."""

pytestmark = pytest.mark.parametrize("command", COMMANDS)


def test_the_rig_is_the_new_persons_under_the_old_keys(command, real_stage, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    save_tiny_next3d(models / "tiny.safetensors")
    plan = {"model": "tiny", "seed": SEED, "mix": MIX, "sliders": SLIDERS, "keys": KEYS, "frames": FRAMES}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    run = subprocess.run(
        script(command, HERE / "inside" / "person.py", real_stage, tmp_path),
        env={**os.environ, "NEURAL_PORTRAIT_MODELS": str(models)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        errors="replace",
    )
    assert (tmp_path / "result.json").is_file(), run.stdout[-3000:] + run.stderr[-3000:]
    found, values = np.load(tmp_path / "result.npz"), json.loads((tmp_path / "result.json").read_text())
    before, after = (portraits.from_bytes(found[f"file_{when}"].tobytes(), when) for when in ("before", "after"))

    studio = Studio("cpu")
    loaded, made = studio.create(str(models / "tiny.safetensors"), SEED)
    expected = studio.change(loaded, made, SLIDERS, Mix(*MIX))
    np.testing.assert_allclose(after.tensors["z"], expected.tensors["z"], atol=1e-6)
    assert after.provenance["changes"] == [{"mix_seed": MIX[0], "mix": MIX[1], "sliders": pytest.approx(SLIDERS)}]
    assert values == pytest.approx(people.read(expected), abs=1e-5)

    for who, when in ((before, "before"), (after, "after")):
        for frame, seen in zip(FRAMES, found[when], strict=True):
            # At these frames every slider is at a key, or before its first or after its last.
            shown = {name: value for name, (at, value) in KEYS.items() if frame >= at}
            posed = rigs.posed(who, {"actions": shown}).vertices
            np.testing.assert_allclose(seen, posed, atol=TOLERANCE_M, err_msg=f"{when} {frame}")
    assert np.abs(found["after"] - found["before"]).max() > 1e-3
