# SPDX-License-Identifier: Apache-2.0
"""Networks that the user brings: found, refused in a sentence, and read without running anything."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from neural_core import models, others
from neural_core.errors import InputError, ModelError, UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "others").mkdir()
    return tmp_path / "others"


class Trap:
    """Unpickling it leaves a mark."""

    def __reduce__(self):
        return (exec, ("import sys; sys.trapped = True",))


def test_a_missing_network_is_named_with_its_file_folder_and_licence(folder):
    with pytest.raises(others.MissingNetwork) as caught:
        others.find("arcface", "The metric ID")
    for part in ("The metric ID needs an ArcFace network", str(folder), "model_ir_se50.pth", "non-commercial research"):
        assert part in str(caught.value)
    assert isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    "network", [network for network in others.NETWORKS.values() if not network.holds], ids=lambda network: network.name
)
def test_every_usual_name_is_found_and_the_preferred_one_first(folder, network):
    for file in reversed((*network.files, f"{network.name}.safetensors")):
        (folder / file).write_bytes(b"")
        assert others.find(network.name, "x") == folder / file


def test_a_network_that_is_a_folder_is_taken_when_it_is_complete(folder):
    with pytest.raises(others.MissingNetwork) as caught:
        others.find("clip", "Stylisation")
    for part in ("Stylisation needs CLIP", str(folder), "clip-vit-base-patch32", "config.json", "model.safetensors"):
        assert part in str(caught.value)
    half, whole = folder / "clip-vit-base-patch32", folder / "clip"
    for path, names in ((half, ["config.json"]), (whole, ["config.json", "pytorch_model.bin", "vocab.json"])):
        path.mkdir()
        for name in names:
            (path / name).touch()
    assert others.find("clip", "Stylisation") == whole
    (whole / "vocab.json").unlink()
    with pytest.raises(others.MissingNetwork, match=r'"clip-vit-base-patch32" that is there lacks model.safetensors'):
        others.find("clip", "Stylisation")


def test_a_torchscript_archive_beside_is_explained_and_not_taken(folder):
    (folder / "i3d_torchscript.pt").write_bytes(b"")
    with pytest.raises(others.MissingNetwork, match=r'"i3d_torchscript.pt" is a TorchScript program, which is not run'):
        others.find("i3d", "FVD")


def test_tensors_come_by_dotted_names_from_what_torch_saves(tmp_path):
    weight = torch.randn(2, 3)
    torch.save({"epoch": 3, "model": {"a": {"weight": weight}, "names": ["x"]}}, tmp_path / "x.pth")
    found = others.read_tensors(tmp_path / "x.pth")
    assert list(found) == ["model.a.weight"]
    assert torch.equal(found["model.a.weight"], weight)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "of before PyTorch 1.6"])
def test_old_and_new_files_without_the_prefix_of_dataparallel(tmp_path, zipped):
    linear = nn.DataParallel(nn.Linear(2, 3))
    torch.save(linear.state_dict(), tmp_path / "x.model", _use_new_zipfile_serialization=zipped)
    found = others.read_tensors(tmp_path / "x.model")
    assert set(found) == {"weight", "bias"}
    assert torch.equal(found["weight"], linear.module.weight)


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(others.read_tensors(tmp_path / "x.safetensors")["a"], torch.ones(2))


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, how):
    path = tmp_path / "x.pth"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"a": torch.ones(1), "trap": Trap()}, path)
    with pytest.raises(InputError, match=r'"x.pth" is damaged, or holds more than tensors'):
        others.read_tensors(path)
    assert not hasattr(sys, "trapped")
    if how == "torch.save":  # the trap works where it is let
        torch.load(path, weights_only=False)
        assert sys.trapped
        del sys.trapped


def test_a_program_is_refused_by_its_contents(tmp_path):
    with pytest.warns(DeprecationWarning, match="torch.jit"):  # torch.jit, of which such files come
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "x.pt"))
    with pytest.raises(InputError, match="TorchScript program"):
        others.read_tensors(tmp_path / "x.pt")


def test_a_dictionary_in_itself_and_odd_tensors_are_a_sentence(tmp_path):
    stored = {"a": torch.ones(1)}
    stored["self"] = stored
    torch.save(stored, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r'"x.pth" is damaged'):
        others.read_tensors(tmp_path / "x.pth")
    for odd in (torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64), torch.ones(2, device="meta")):
        torch.save({"a": torch.ones(1), "b": odd}, tmp_path / "x.pth")
        with pytest.raises(InputError, match="no plain numbers in b"):
            others.read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value):
    tensors = {"weight": torch.ones(1, 1), "bias": torch.tensor([value])}
    with pytest.raises(InputError, match='"x" is damaged: bias has values that are no finite numbers'):
        others.fill(nn.Linear(1, 1), tensors, "x")


@pytest.mark.parametrize("kept", [0, 10, 600])
def test_damaged_files_are_a_sentence(tmp_path, kept):
    torch.save({"a": torch.randn(50)}, tmp_path / "whole")
    (tmp_path / "x.pth").write_bytes((tmp_path / "whole").read_bytes()[:kept])
    with pytest.raises(InputError, match=r'"x.pth" is damaged'):
        others.read_tensors(tmp_path / "x.pth")
    with pytest.raises(InputError, match="Cannot read"):
        others.read_tensors(tmp_path / "none.pth")


def test_the_hash_in_a_name_is_checked(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    digest = hashlib.sha256((tmp_path / "x.pth").read_bytes()).hexdigest()
    good, bad = tmp_path / f"x-{digest[:8]}.pth", tmp_path / "x-00000000.pth"
    (tmp_path / "x.pth").rename(good)
    assert others.read_tensors(good)["a"] == 1
    good.rename(bad)
    with pytest.raises(InputError, match=f"promises a sha256 of 00000000..., it has {digest[:8]}"):
        others.read_tensors(bad)


def test_filling_is_strict_but_for_the_counters_of_batch_norms():
    torch.manual_seed(0)
    source = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    nn.init.normal_(source[1].running_mean)
    tensors = {key: value for key, value in source.state_dict().items() if "num_batches" not in key}
    target = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    others.fill(target, tensors, "x")
    assert all(torch.equal(target.state_dict()[key], value) for key, value in tensors.items())
    assert not target.training
    assert not any(parameter.requires_grad for parameter in target.parameters())
    del tensors["0.bias"]
    tensors["more"] = torch.ones(1)
    with pytest.raises(InputError, match=r'"x" does not hold the network that it should: it lacks 0.bias; has unknown'):
        others.fill(target, tensors, "x")


def test_an_absent_library_is_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r'FID needs the package "no_such_library".*\[metrics\]'):
        others.library("no_such_library.part", "FID", "metrics")
    (tmp_path / "needy.py").write_text("import what_it_needs.inside")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match='the package "what_it_needs"'):
        others.library("needy", "FID", "metrics")


def test_a_torchvision_whose_operators_do_not_load_is_imported_all_the_same(tmp_path):
    """As PyPI's is with a CPU build of torch: importing it declares gradients of operators that are not there.

    In a process of its own, since an operator once declared stays.
    """
    (tmp_path / "torchvision.py").write_text(
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda *_: None)\n"
    )
    (tmp_path / "uses_it").mkdir()
    (tmp_path / "uses_it" / "__init__.py").write_text("count = 1\nfrom . import part\n")
    (tmp_path / "uses_it" / "part.py").write_text("import torchvision\nworks = True\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('something else')")
    program = (
        "import sys\nsys.path.insert(0, sys.argv[1])\n"
        "from neural_core import others\n"
        "try:\n    import torchvision\nexcept RuntimeError as error:\n    print(error)\n"
        "print(others.library('uses_it', 'x', 'metrics').part.works)\n"
        "try:\n    others.library('broken', 'x', 'metrics')\nexcept RuntimeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["operator torchvision::nms does not exist", "True", "something else"], (
        done.stderr
    )
