# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are read strictly, and say what is wrong with them."""

import hashlib
import json
import struct
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from neural_core import checkpoints, systems
from neural_core.errors import InputError, ModelError, PortraitError
from tests.tiny_models import METADATA, save_tiny

CONFIG = {"size": 8, "axes": ["xy", "xz"]}
TENSORS = {"a": torch.arange(6, dtype=torch.float16).reshape(2, 3), "b": torch.tensor([1, 2], dtype=torch.int64)}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "model.safetensors"
    checkpoints.save(target, TENSORS, "eg3d", CONFIG, {**METADATA, "trained": {"steps": 5}})
    return target


def test_a_saved_checkpoint_is_loaded_as_it_was(path):
    loaded = checkpoints.load(path)
    assert (loaded.system, loaded.config, loaded.name) == ("eg3d", CONFIG, "model.safetensors")
    assert loaded.metadata["licence"] == "CC0-1.0"
    assert loaded.hash == hashlib.sha256(path.read_bytes()).hexdigest() == checkpoints.file_hash(path)
    assert loaded.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_the_library_reads_what_we_write(path):
    assert torch.equal(safetensors.torch.load_file(path)["a"], TENSORS["a"])


def test_the_same_contents_give_the_same_bytes(tmp_path):
    made = set()
    for order in (list(METADATA), list(METADATA)[::-1]):
        checkpoints.save(tmp_path / "x", TENSORS, "eg3d", CONFIG, {key: METADATA[key] for key in order})
        made.add((tmp_path / "x").read_bytes())
    assert len(made) == 1


def test_the_header_is_read_without_torch_or_numpy(path, repository):
    code = (
        "import sys, pathlib\n"
        "for name in ('torch', 'numpy', 'safetensors'): sys.modules[name] = None\n"
        "from neural_core import checkpoints\n"
        f"h = checkpoints.read_header(pathlib.Path({str(path)!r}))\n"
        "print(h.system, h.tensors['a'].shape, h.json('trained')['steps'], h.nbytes)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert done.stdout == f"eg3d (2, 3) 5 {path.stat().st_size}\n", done.stderr


def test_a_file_cut_anywhere_is_refused(path):
    data = path.read_bytes()
    for end in (0, 3, 8, 100, len(data) - 10, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            checkpoints.load(path)
        with pytest.raises(ModelError):
            checkpoints.read_header(path)
    path.write_bytes(data + b"x")
    with pytest.raises(ModelError, match="damaged"):
        checkpoints.load(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(100), b"\x80\x02cos\nsystem\n", bytes(200)])
def test_other_files_are_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        checkpoints.load(path)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="Cannot read"):
        checkpoints.read_header(tmp_path / "none.safetensors")


def write_raw(path, header: dict, payload: bytes = b"") -> None:
    """A safetensors file written by hand."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


@pytest.mark.parametrize(
    ("header", "payload", "says"),
    [
        ({"__metadata__": {"format": "portrait-checkpoint/2"}}, b"", 'format "portrait-checkpoint/2"'),
        ({"__metadata__": {"format": "portrait/1"}}, b"", 'format "portrait/1"'),
        ({}, b"", 'format "none"'),
        ({"__metadata__": {"format": checkpoints.FORMAT, "config": "{}"}}, b"", "system"),
        ({"__metadata__": {"format": checkpoints.FORMAT, "system": "eg3d"}}, b"", "config"),
        ({"__metadata__": {"format": checkpoints.FORMAT, "system": "eg3d", "config": "[1]"}}, b"", "JSON object"),
        ({"__metadata__": {"format": checkpoints.FORMAT, "system": "eg3d", "config": "{"}}, b"", "not JSON"),
        ({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"ab", "cut short"),
        ({"x": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}}, b"abcd", "damaged"),
        ({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"abcd", "damaged"),
        ({"x": 5}, b"", "damaged"),
    ],
)
def test_a_wrong_header_is_named(path, header, payload, says):
    write_raw(path, header, payload)
    with pytest.raises(ModelError, match=says):
        checkpoints.load(path)


def test_a_portrait_is_refused_where_a_model_is_expected_and_the_reverse(path):
    portrait = checkpoints.pack({"z": torch.zeros(1)}, {"format": checkpoints.PORTRAIT_FORMAT})
    with pytest.raises(InputError, match="format"):
        checkpoints.unpack(path.read_bytes(), checkpoints.PORTRAIT_FORMAT, "model")
    path.write_bytes(portrait)
    with pytest.raises(ModelError) as caught:
        checkpoints.load(path)
    assert "portrait, not a model" in caught.value.hint


def test_metadata_is_checked_when_saving(tmp_path):
    with pytest.raises(ValueError, match="licence"):
        checkpoints.save(tmp_path / "x", TENSORS, "eg3d", CONFIG, {"use": "any"})
    with pytest.raises(ValueError, match="color"):
        checkpoints.save(tmp_path / "x", TENSORS, "eg3d", CONFIG, {**METADATA, "color": "red"})
    assert list(tmp_path.iterdir()) == []


def test_fill_copies_and_converts():
    module = torch.nn.Linear(3, 2)
    tensors = {"weight": torch.full((2, 3), 0.5, dtype=torch.float16), "bias": torch.ones(2, dtype=torch.float16)}
    checkpoints.fill(module, tensors, "file")
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, torch.full((2, 3), 0.5))
    assert module.weight.requires_grad


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bias": None}, "lacks bias"),
        ({"extra": torch.zeros(1)}, "unknown extra"),
        ({"weight": torch.zeros(3, 2)}, r"weight of shape \[3, 2\], expected \[2, 3\]"),
    ],
)
def test_fill_names_the_difference_and_changes_nothing(change, says):
    module = torch.nn.Linear(3, 2)
    before = module.weight.detach().clone()
    tensors = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), **change}
    with pytest.raises(ModelError, match=says):
        checkpoints.fill(module, {key: value for key, value in tensors.items() if value is not None}, "file")
    assert torch.equal(module.weight, before)


def test_a_model_with_an_unknown_config_key_or_tensor_is_refused(tmp_path):
    path = save_tiny(tmp_path / "tiny.safetensors")
    loaded = checkpoints.load(path)

    def saved(config, tensors):
        checkpoints.save(path, tensors, "eg3d", config, METADATA)
        return path

    with pytest.raises(ModelError, match="colour_space"):
        systems.load(saved({**loaded.config, "colour_space": "ycc"}, loaded.tensors))
    with pytest.raises(ModelError, match="unknown extra"):
        systems.load(saved(loaded.config, {**loaded.tensors, "extra": torch.zeros(1)}))
    fewer = {key: value for key, value in loaded.tensors.items() if key != "decoder.output.bias"}
    with pytest.raises(ModelError, match=r"lacks decoder\.output\.bias"):
        systems.load(saved(loaded.config, fewer))


def test_a_system_that_we_do_not_have_is_refused(path):
    checkpoints.save(path, TENSORS, "os.system", CONFIG, METADATA)
    with pytest.raises(ModelError, match=r'"os\.system"'):
        systems.load(path)


def test_an_unwritable_place_is_a_sentence(tmp_path):
    with pytest.raises(PortraitError, match="Cannot write"):
        checkpoints.save(tmp_path / "none" / "x", TENSORS, "eg3d", CONFIG, METADATA)
