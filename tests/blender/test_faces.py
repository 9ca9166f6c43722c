# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported FLAME and SMPL become Blender rigs whose posed vertices are those of our own linear blend skinning.

The engine is the real one. Blender is the bpy wheel, and the real ones that $BLENDER_EXE names.
"""

import importlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from blenders import EXECUTABLES
from scipy.spatial.transform import Rotation
from staging import HERE

from neural_core import models
from neural_core.cli import main
from neural_core.face_rigs import read
from neural_core.human.lbs import lbs

FRAMES, SHAPES, EXPRESSIONS = 10, 4, 3
TOLERANCE, BODY = 1e-4, {"flame": 0.3, "smpl": 1.7}  # metres off for a head or a body of so many metres
WHEEL = pytest.param(
    [sys.executable],
    id="wheel",
    marks=pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the bpy wheel is not installed"),
)
REAL = [
    pytest.param([*command, "-b", "--python-exit-code", "9", "-P"], id=command[-1], marks=pytest.mark.real_blender)
    for command in EXECUTABLES
]


@pytest.fixture(scope="module", params=["flame", "smpl"])
def imported(request, parity_folder, tmp_path_factory):
    """The name of an imported face model; the models folder is set for this process and those it starts."""
    source = parity_folder / "faces" / f"{request.param}_like_chumpy.pkl"
    folder = tmp_path_factory.mktemp("home") / "models"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.FOLDER_VARIABLE, str(folder))
        assert main(["faces", "import", str(source), "--name", request.param]) == 0
        yield request.param


def test_the_add_on_reads_kind_and_licence_of_the_header(imported, stub_stage, monkeypatch):
    monkeypatch.syspath_prepend(str(stub_stage))
    model_list = importlib.import_module("neural_portrait.model_list")
    (listed,) = model_list.faces(str(models.user_folder())).values()
    assert (listed.name, listed.kind.lower(), listed.problem) == (
        imported,
        models.face_kind(models.faces()[imported]),
        "",
    )
    assert listed.licence == read(imported, 1, 0).face.licence


def keyed(face):
    """Return what is keyed on a face model: a person, and frames of expressions and rotations of all joints."""
    rng = np.random.default_rng(4)
    return {
        "shape": rng.normal(size=face.shapedirs.shape[2]),
        "expressions": rng.normal(size=(FRAMES, face.expressiondirs.shape[2])),
        "turns": rng.normal(scale=0.4, size=(FRAMES, len(face.joint_names), 3)),
    }


def expected(face, keys):
    """Return the vertices [frames, V, 3] by our own skinning, and the size of the body."""
    shape = np.concatenate([np.repeat(keys["shape"][None], FRAMES, axis=0), keys["expressions"]], axis=1)
    directions = np.concatenate([face.shapedirs, face.expressiondirs], axis=2)
    arrays = (shape, keys["turns"], face.v_template, directions, face.posedirs, face.j_regressor)
    posed = lbs(
        *(torch.from_numpy(array).double() for array in arrays),
        torch.from_numpy(face.parents),
        torch.from_numpy(face.weights).double(),
    )
    return posed.vertices.numpy(), np.ptp(face.v_template, axis=0).max()


@pytest.mark.parametrize("command", [WHEEL, *REAL])
def test_the_rig_in_blender_moves_as_our_skinning_does(command, imported, real_stage, tmp_path):
    face = read(imported, SHAPES, EXPRESSIONS).face
    keys = keyed(face)
    x, y, z, w = np.moveaxis(Rotation.from_rotvec(keys["turns"].reshape(-1, 3)).as_quat(), -1, 0)
    turns = np.stack([w, x, y, z], axis=-1).reshape(FRAMES, -1, 4)
    np.savez(tmp_path / "keyed.npz", shape=keys["shape"], expressions=keys["expressions"], turns=turns)
    script = [str(HERE / "inside" / "faces.py"), *(["--"] if len(command) > 1 else [])]
    files = [str(real_stage), imported, str(tmp_path / "keyed.npz"), str(tmp_path / "found.npz")]
    run = subprocess.run([*command, *script, *files], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")
    wanted, size = expected(face, keys)
    assert found["vertices"].shape == wanted.shape
    assert np.abs(np.diff(wanted, axis=0)).max() > 0.1 * size  # it does move
    off = np.linalg.norm(found["vertices"] - wanted, axis=2).max()
    print(f"{imported}: off by {off:.2e} m of {size:.2f} m, {found['milliseconds']:.1f} ms a frame")
    assert off < TOLERANCE * size / BODY[imported]
    assert found["simple"]
    assert found["keys"] == 1 + SHAPES + face.expressiondirs.shape[2] + 9 * (len(face.joint_names) - 1)
