# SPDX-License-Identifier: Apache-2.0
"""Model files of others: genuine chumpy pickles are read exactly, hostile ones run nothing."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_core.errors import InputError
from neural_core.human.flame import read_flame
from neural_core.human.lbs import lbs
from neural_core.human.model_files import convert, read_model_file
from neural_core.human.smpl import read_smpl

# Seen: 1.3e-9, all of it from the 1e-8 that smplx adds to every angle, and 4.5e-8.
LBS_FLOAT64, LBS_FLOAT32 = 5e-9, 1e-5
FIXTURES = Path(__file__).parents[1] / "fixtures" / "model_files"


@pytest.fixture(params=["flame", "smpl"])
def published(request, parity_folder):
    """A pickle written by genuine chumpy, and the arrays in it as numpy saved them."""
    pickled = parity_folder / "faces" / f"{request.param}_like_chumpy.pkl"
    with np.load(parity_folder / "faces" / f"{request.param}_like_expected.npz", allow_pickle=False) as file:
        return pickled, {key: file[key] for key in file.files}


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    # The tree is uint32 in the pickle and int64 in the expected file; every other element type is the same.
    assert actual.dtype.kind == expected.dtype.kind or {actual.dtype.kind, expected.dtype.kind} == {"u", "i"}
    assert actual.astype(expected.dtype).tobytes() == expected.tobytes()


def test_model_files_of_genuine_chumpy_are_read_bit_for_bit(published):
    path, expected = published
    model = read_model_file(path)
    assert set(expected) <= set(model.arrays)
    for key, array in expected.items():
        assert_same_bits(model.arrays[key], array)
    assert model.arrays["weights"].dtype == np.float64
    assert model.texts["bs_style"] == "lbs"
    assert "chumpy" not in sys.modules


def test_model_files_are_read_where_chumpy_cannot_be_imported(published):
    path, _ = published
    program = (
        "import sys; sys.modules['chumpy'] = None; sys.modules['scipy'] = None\n"
        "from pathlib import Path\n"
        "from neural_core.human.model_files import read_model_file\n"
        f"print(len(read_model_file(Path({str(path)!r})).arrays))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 8


def test_model_files_are_converted_once(published, tmp_path):
    path, expected = published
    converted = tmp_path / "model.safetensors"
    original = convert(path, converted)
    again = read_model_file(converted)
    assert again.sha256 == original.sha256
    assert again.texts == original.texts
    for key, array in expected.items():
        assert_same_bits(again.arrays[key], array)


@pytest.mark.parametrize("protocol", [0, 2])
def test_model_files_with_chumpy_views(protocol):
    arrays = read_model_file(FIXTURES / f"chumpy_views_protocol{protocol}.pkl").arrays
    base = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(arrays["select"], base[1:3, ::2])
    np.testing.assert_array_equal(arrays["reshape"], base.reshape(2, 6))
    np.testing.assert_array_equal(arrays["nested"], base[1:, 1])
    np.testing.assert_array_equal(arrays["csr"], np.diag([1.0, 0.0, 2.0]))


def test_model_files_with_an_unknown_expression_are_refused_by_key_and_class():
    with pytest.raises(InputError, match=r'"v_template".*chumpy\.ch_ops\.add'):
        read_model_file(FIXTURES / "chumpy_sum.pkl")


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker: Path) -> dict[str, bytes]:
    command = f"echo x > {marker}"
    buffer = io.BytesIO()
    torch.save({"v_template": Calls(os.system, command)}, buffer)
    array = np.array([Calls(os.system, command)], dtype=object)
    return {
        "system": pickle.dumps({"v_template": Calls(os.system, command)}, 2),
        "global": f"cposix\nsystem\n(S'{command}'\ntR.".encode(),
        "instance": f"(S'{command}'\niposix\nsystem\n.".encode(),
        "eval": pickle.dumps({"v_template": Calls(eval, f"open({str(marker)!r}, 'w')")}, 2),
        "stack global": pickle.dumps({"v_template": Calls(os.system, command)}, 4),
        "import": pickle.dumps(Calls(__import__, "antigravity"), 2),
        "torch file": buffer.getvalue(),
        "object array": pickle.dumps({"v_template": np.array([None, 1], dtype=object)}, 2),
        "object array that calls": pickle.dumps({"v_template": array}, 2),
        "hidden in chumpy": b"\x80\x02}U\x01ac__builtin__\ngetattr\n(cchumpy.ch\nCh\nU\x06__init__tRs.",
        "random bytes": np.random.default_rng(0).bytes(4096),
        "empty": b"",
        "not a dictionary": pickle.dumps([1, 2, 3]),
        "huge memo": b"\x80\x02}r\xff\xff\xff\x7f.",
        "short array": pickle.dumps({"v": np.arange(6.0).reshape(2, 3)}, 2).replace(
            b"K\x02K\x03\x86", b"K\x09K\x03\x86"
        ),
    }


@pytest.mark.parametrize("name", list(hostile(Path("unused"))))
def test_model_files_that_are_hostile_are_refused_and_run_nothing(name, tmp_path):
    marker = tmp_path / "executed"
    path = tmp_path / "model.pkl"
    path.write_bytes(hostile(marker)[name])
    with pytest.raises(InputError) as refused:
        read_model_file(path)
    assert not marker.exists()
    assert "antigravity" not in sys.modules
    assert "\n" not in str(refused.value)
    assert refused.value.message.endswith(".")
    assert "model.pkl" in refused.value.message


def test_the_hostile_pickles_would_have_run(tmp_path):
    """The test above guards something: an ordinary unpickler does execute these files."""
    marker = tmp_path / "executed"
    for name in ("system", "global", "instance", "stack global"):
        pickle.loads(hostile(marker)[name])
        assert marker.exists(), name
        marker.unlink()


def test_model_files_of_plain_arrays(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, v_template=np.eye(3), gender=np.array("neutral"))
    model = read_model_file(path)
    np.testing.assert_array_equal(model.array("v_template"), np.eye(3))
    assert model.texts == {"gender": "neutral"}
    with pytest.raises(InputError, match="has no array"):
        model.array("shapedirs")
    np.savez(path, v_template=np.array([None], dtype=object))
    with pytest.raises(InputError, match="objects instead of numbers"):
        read_model_file(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="damaged"):
        read_model_file(path)


@pytest.mark.parametrize(("name", "sentence"), [("model.obj", "no model file"), ("missing.pkl", "Cannot read")])
def test_model_files_that_are_none(tmp_path, name, sentence):
    with pytest.raises(InputError, match=sentence):
        read_model_file(tmp_path / name)


def smplx_arguments(file, dtype):
    """The arrays of a published file as smplx.lbs.lbs takes them."""
    a = {key: torch.from_numpy(np.array(file.array(key).astype(np.float64))).to(dtype) for key in LBS_ARRAYS}
    parents = torch.from_numpy(file.array("kintree_table")[0].astype(np.int64))
    parents[0] = -1
    posedirs = a["posedirs"].reshape(-1, a["posedirs"].shape[-1]).T
    return a["v_template"], a["shapedirs"], posedirs, a["J_regressor"], parents, a["weights"]


LBS_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")


def random_people(joints: int, shapes: int, dtype):
    generator = torch.Generator().manual_seed(0)
    pose = 0.6 * torch.randn(5, joints, 3, generator=generator, dtype=torch.float64)
    pose[0] = 0.0
    return torch.randn(5, shapes, generator=generator, dtype=torch.float64).to(dtype), pose.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, LBS_FLOAT64), (torch.float32, LBS_FLOAT32)])
def test_lbs_on_model_files_equals_smplx(published, dtype, tolerance):
    """Pose, shape and (FLAME's last 100 shapes) expression; smplx is the oracle."""
    from smplx.lbs import lbs as smplx_lbs

    template, shapedirs, posedirs, regressor, parents, weights = smplx_arguments(read_model_file(published[0]), dtype)
    shape, pose = random_people(len(parents), shapedirs.shape[2], dtype)
    batched = template[None].expand(5, -1, -1)
    vertices, joints = smplx_lbs(shape, pose.flatten(1), batched, shapedirs, posedirs, regressor, parents, weights)
    ours = lbs(shape, pose, template, shapedirs, posedirs, regressor, parents, weights)
    torch.testing.assert_close(ours.vertices, vertices, atol=tolerance, rtol=0)
    torch.testing.assert_close(ours.joints, joints, atol=tolerance, rtol=0)
    assert (vertices - batched).abs().max() > 0.1


def test_model_files_become_face_models_that_pose_like_smplx(published, parity_folder):
    """The layout: posed in head space, less the origin, a face model is what smplx poses in the file's own space."""
    from smplx.lbs import lbs as smplx_lbs

    path = published[0]
    model = read_flame(path) if "flame" in path.name else read_smpl(path)
    template, shapedirs, posedirs, regressor, parents, weights = smplx_arguments(read_model_file(path), torch.float32)
    shape, pose = random_people(len(parents), shapedirs.shape[2], torch.float32)
    expected, _ = smplx_lbs(
        shape, pose.flatten(1), template[None].expand(5, -1, -1), shapedirs, posedirs, regressor, parents, weights
    )
    assert model.posedirs is not None
    directions = np.concatenate([model.shapedirs, model.expressiondirs], 2)
    arrays = (
        model.v_template,
        directions,
        model.posedirs,
        model.j_regressor,
        model.parents.astype(np.int64),
        model.weights,
    )
    ours = lbs(shape, pose, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
    origin = template[0] - torch.from_numpy(model.v_template[0])
    torch.testing.assert_close(ours.vertices + origin, expected, atol=LBS_FLOAT32, rtol=0)
    assert model.expressiondirs.shape[2] == (100 if "flame" in path.name else 0)
    assert len(model.joint_names) == len(parents)
    assert "non-commercial" in model.licence


def test_model_files_of_another_model_are_refused(parity_folder):
    with pytest.raises(InputError, match="is 560 x 3 x 207, not 560 x 3 x 36"):
        read_flame(parity_folder / "faces" / "smpl_like_chumpy.pkl")
