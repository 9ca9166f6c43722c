# SPDX-License-Identifier: GPL-3.0-or-later
"""From batch.py in the clone through the real worker and its network into a .blend: nothing is a stand-in here."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from staging import HERE, ROOT
from test_batch import Ran, read_png

DEFAULT_MODEL = ROOT / "assets" / "models" / "default-next3d.safetensors"
CHIN, BROWS = 8, slice(17, 27)  # of the 68 landmarks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed"),
]

JOB = """
version = 1
[[job]]
do = "create"
[job.portrait]
create = {{ seed = 7, model = "{model}", detail = {detail}, size = 64 }}
key = [ {{ frame = 1, expression = {{ jawOpen = 0.0 }} }}, {{ frame = 20, expression = {{ jawOpen = 1.0 }} }} ]
[job.scene]
frames = "1"
[job.render]
what = ["plane", "scene"]
size = 64
samples = 2
out = "f.png"
[job.worker]
device = "cpu"
models = "{models}"
[job.policy]
save_blend = "p.blend"
"""


def run_batch(folder, **facts):
    (folder / "job.toml").write_text(JOB.format(**facts))
    command = [sys.executable, str(ROOT / "blender_addon" / "batch.py"), str(folder / "job.toml")]
    return Ran(subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False))


def positions(folder, *frames):
    """Return the vertices of rig and portrait at frames, 1 and 20 by default."""
    command = [sys.executable, str(HERE / "inside" / "positions.py"), str(folder / "p.blend"), str(folder / "p.npz")]
    command += map(str, frames or (1, 20))
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.load(folder / "p.npz")


def test_a_network_with_random_weights_reaches_the_blend(tmp_path):
    from tests.tiny_models import save_tiny

    (tmp_path / "models").mkdir()
    save_tiny(tmp_path / "models" / "tiny.safetensors")
    ran = run_batch(tmp_path, model="tiny", detail=32, models=tmp_path / "models")
    assert ran.code == 0, ran.err
    assert read_png(tmp_path / "f_plane.png").shape == (64, 64, 4)
    assert read_png(tmp_path / "f_scene.png").shape == (64, 64, 4)
    at = positions(tmp_path)
    assert len(at["surface_1"]) > 100
    assert np.linalg.norm(at["driver_20"] - at["driver_1"], axis=1).max() > 0.01


def test_frames_of_a_moving_network_differ_with_the_rig(tmp_path):
    from tests.tiny_models import save_tiny_next3d

    (tmp_path / "models").mkdir()
    save_tiny_next3d(tmp_path / "models" / "moving.safetensors")
    (tmp_path / "job.toml").write_text(
        JOB.format(model="moving", detail=32, models=tmp_path / "models")
        .replace('frames = "1"', 'frames = "1,20"')
        .replace('["plane", "scene"]', '["plane"]')
    )
    command = [sys.executable, str(ROOT / "blender_addon" / "batch.py"), str(tmp_path / "job.toml")]
    ran = Ran(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False))
    assert ran.code == 0, ran.err
    rest, wide = (read_png(tmp_path / f"f_{frame:04d}.png").astype(float) for frame in (1, 20))
    assert np.abs(rest - wide).max() > 10


FOLLOW = """
version = 1
[[job]]
do = "animate"
[job.portrait]
create = {{ seed = 7, model = "tiny", make = ["rig"] }}
[job.animate]
clip = "a.mp4"
clip_head = false
start = 10
[job.worker]
device = "cpu"
models = "{models}"
[job.policy]
save_blend = "p.blend"
"""


@pytest.mark.parametrize("face", [True, False])
def test_a_clip_moves_the_mouth_and_one_without_a_face_leaves_nothing_behind(tmp_path, face):
    pytest.importorskip("mediapipe", reason="finding faces needs the capture extra")
    from tests import acted_clip
    from tests.tiny_models import save_tiny

    (tmp_path / "models").mkdir()
    save_tiny(tmp_path / "models" / "tiny.safetensors")
    (acted_clip.write_clip if face else acted_clip.write_faceless)(tmp_path / "a.mp4")
    (tmp_path / "job.toml").write_text(FOLLOW.format(models=tmp_path / "models"))
    command = [sys.executable, str(ROOT / "blender_addon" / "batch.py"), str(tmp_path / "job.toml")]
    ran = Ran(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False))
    if not face:
        assert ran.code == 2
        assert 'No face can be followed in "a.mp4".' in ran.err
        assert "Traceback" not in ran.err
        assert not (tmp_path / "p.blend").exists()
        return
    assert ran.code == 0, ran.err
    # Twelve frames of 25 a second are frames 10 to 20 of 24; the jaw is widest open in the middle.
    at = positions(tmp_path, 9, 10, 15, 16, 25)
    opened = {frame: np.linalg.norm(at[f"driver_{frame}"] - at["driver_9"], axis=1).max() for frame in (10, 15, 16, 25)}
    assert opened[25] < 1e-6
    assert min(opened[15], opened[16]) > 0.01
    assert opened[10] < 0.6 * opened[15]


def test_a_torn_model_is_a_sentence_and_code_3(tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"\xff" * 100)
    ran = run_batch(tmp_path, model="torn", detail=32, models=tmp_path)
    assert ran.code == 3, ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "p.blend").exists()


@pytest.mark.skipif(not DEFAULT_MODEL.is_file(), reason="there are no default weights yet")
def test_the_jaw_of_the_default_portrait_opens_and_the_scalp_stays(tmp_path):
    from neural_core.human.anny import load_anny_head

    ran = run_batch(tmp_path, model="default-next3d", detail=96, models="")
    assert ran.code == 0, ran.err
    at = positions(tmp_path)
    landmarks = load_anny_head().landmarks(at["driver_1"], which="68")
    chin, brow_height = landmarks[CHIN], landmarks[BROWS, 1].max()
    moved = {}
    for part in ("driver", "surface"):
        before, distance = at[f"{part}_1"], np.linalg.norm(at[f"{part}_20"] - at[f"{part}_1"], axis=1)
        moved[part] = distance[np.argmin(np.linalg.norm(before - chin, axis=1))]
        scalp = before[:, 1] > brow_height + 0.04  # metres above the brows
        assert scalp.any()
        assert distance[scalp].max() < 0.001
    print(f"chin: rig {1000 * moved['driver']:.1f} mm, portrait {1000 * moved['surface']:.1f} mm")
    assert moved["driver"] > 0.005
    assert moved["surface"] >= 0.7 * moved["driver"]
