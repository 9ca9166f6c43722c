# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Blender executables, named by $BLENDER_EXE (command lines separated by os.pathsep), with the stub worker."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from blenders import EXECUTABLES
from staging import HERE, ROOT, builder
from test_batch import JOB, read_png

pytestmark = [
    pytest.mark.real_blender,
    pytest.mark.skipif(not EXECUTABLES, reason="BLENDER_EXE names no real Blender"),
]


@pytest.fixture(scope="module", params=EXECUTABLES, ids=[" ".join(command[-2:]) for command in EXECUTABLES])
def blender(request, tmp_path_factory):
    """Run a real Blender without a window, in a home folder of its own."""
    home = tmp_path_factory.mktemp("home")

    def run(*arguments, timeout=300):
        environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
        command = [*request.param, "-b", "--python-exit-code", "9", *map(str, arguments)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout, check=False, errors="replace"
        )

    return run


@pytest.fixture(scope="module")
def installed(blender, tmp_path_factory):
    """The ZIP installed as an extension (enabled, disabled and enabled again); the stub is then its worker."""
    archive = builder().build(tmp_path_factory.mktemp("dist"))
    run = blender("-P", HERE / "inside" / "install.py", "--", archive)
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("INSTALLED ")]
    folder = Path(line.removeprefix("INSTALLED "))
    with zipfile.ZipFile(archive) as content:
        assert {name for name in content.namelist() if not (folder / name).is_file()} == set()
    shutil.copyfile(HERE / "stub_worker.py", folder / "run_worker.py")
    return folder


def test_zip_installs_enables_disables_and_enables_again(installed):
    assert (installed / "blender_manifest.toml").is_file()


@pytest.mark.parametrize("place", ["installed", "stage"])
def test_batch_writes_frames_and_a_blend(place, blender, installed, stub_stage, tmp_path):
    script = installed / "batch.py" if place == "installed" else stub_stage / "neural_portrait" / "batch.py"
    (tmp_path / "job.toml").write_text(JOB)
    run = blender("-P", script, "--", tmp_path / "job.toml")
    assert run.returncode == 0, run.stdout + run.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {f"f_00{frame}_{what}.png" for frame in (1, 2) for what in ("plane", "scene")}
    assert names == pictures | {"frames.jsonl", "p.blend"}
    assert read_png(tmp_path / "out" / "f_001_scene.png")[16, 16, :3].std() > 10
    last = [line for line in run.stdout.splitlines() if line.startswith("PORTRAIT ")][-1]
    summary = json.loads(last.removeprefix("PORTRAIT "))
    assert (summary["event"], summary["code"]) == ("done", 0)
    assert summary["jobs"][0]["frames"] == {"drawn": 4, "kept": 0, "skipped": []}


def test_killed_and_resumed_is_as_if_nothing_had_been(request, blender, tmp_path, monkeypatch):
    """48 frames of a small network that moves, by the clone's batch.py and the worker that ships."""
    import resuming

    from tests.tiny_models import save_tiny_next3d

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    (tmp_path / "models").mkdir()
    save_tiny_next3d(tmp_path / "models" / "tiny.safetensors")
    executable = request.node.callspec.params["blender"]
    command = [*executable, "-b", "--python-exit-code", "9", "-P", str(ROOT / "blender_addon" / "batch.py"), "--"]
    resuming.check(resuming.Runner(command, tmp_path, model="tiny", models=tmp_path / "models"))


CHAIN = """
version = 1
[[job]]
do = "create"
[job.portrait]
create = { seed = 7, model = "moving", detail = 48, size = 32 }
key = [ { frame = 1, expression = { jawOpen = 0.0 } }, { frame = 3, expression = { jawOpen = 1.0 } } ]
[job.export]
out = ["out/p.glb", "out/p.obj", "out/p.ply", "out/p.stl", "out/p.portrait"]
[job.policy]
save_blend = "p.blend"
[[job]]
do = "render"
[job.scene]
blend = "p.blend"
frames = "1-3"
[job.portrait]
show = "PICTURE"
[job.render]
what = ["scene"]
size = 32
samples = 1
out = "out/f_#.png"
"""


def test_exports_and_cards_of_a_saved_scene(blender, stub_stage, tmp_path, monkeypatch):
    import staging

    staging.write_model(tmp_path / "models" / "moving.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "models"))
    (tmp_path / "job.toml").write_text(CHAIN)
    run = blender("-P", stub_stage / "neural_portrait" / "batch.py", "--", tmp_path / "job.toml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "out" / "p.glb").read_bytes()[:4] == b"glTF"
    for suffix in ("obj", "ply", "stl"):
        assert (tmp_path / "out" / f"p.{suffix}").stat().st_size > 10_000
    assert len(list((tmp_path / "portrait_cache").rglob("f_*.png"))) == 3
    blues = [int(read_png(tmp_path / "out" / f"f_{frame}.png")[16, 16, 2]) for frame in (1, 2, 3)]
    assert [abs(blue - 255 * (0.25 + 0.25 * step)) < 8 for step, blue in enumerate(blues)] == [True] * 3


EXPORT = """
version = 1
[[job]]
do = "export"
[job.portrait]
create = { seed = 7, detail = 48 }
[job.export]
out = ["p.usdc"]
"""


def test_usd_is_written_or_refused_before_anything_begins(blender, stub_stage, tmp_path):
    """Debian builds Blender without USD."""
    asked = blender("--python-expr", 'import bpy; print("HAS_USD", bpy.app.build_options.usd)')
    (tmp_path / "job.toml").write_text(EXPORT)
    run = blender("-P", stub_stage / "neural_portrait" / "batch.py", "--", tmp_path / "job.toml")
    if "HAS_USD True" in asked.stdout:
        assert run.returncode == 0, run.stdout + run.stderr
        assert (tmp_path / "p.usdc").read_bytes()[:8] == b"PXR-USDC"
    else:
        assert run.returncode == 2
        assert 'This Blender cannot export .usdc files ("p.usdc").' in run.stderr
        assert "Creating" not in run.stdout
        assert "Traceback" not in run.stderr


def test_broken_job_is_a_sentence_and_code_2(blender, stub_stage, tmp_path):
    (tmp_path / "job.toml").write_text(JOB.replace("seed", "sede", 1))
    run = blender("-P", stub_stage / "neural_portrait" / "batch.py", "--", tmp_path / "job.toml")
    assert run.returncode == 2
    assert 'unknown key "sede". Did you mean "seed"?' in run.stderr
    assert "Traceback" not in run.stderr


def test_the_jaw_moves_and_a_killed_worker_does_not_end_blender(blender, installed, tmp_path):
    run = blender("-P", HERE / "inside" / "animate.py", "--", tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["surface"] >= 0.7 * facts["driver"] > 0.02
    assert facts["scalp"] < 0.001
    assert facts["undone"] == []
    assert "stopped (killed" in facts["after_kill"]
    assert facts["portraits"] == 2
