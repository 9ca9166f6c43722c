# SPDX-License-Identifier: Apache-2.0
"""A snapshot in the published format, imported through the code behind `neural-portrait models import`."""

import io
import json
import os
import pickle
import pickletools
import random
import subprocess

import pytest
import torch

from neural_core import checkpoints, convert, models, systems
from neural_core.cameras import Camera
from neural_core.convert.eg3d import axes_letters
from neural_core.convert.snapshots import read_snapshot
from neural_core.errors import ModelError, PortraitError
from tests.parity.published import arrays, check, facts
from tests.parity.test_eg3d_discriminators import load_discriminator
from tests.tolerances import EG3D_LOGIT, EG3D_PICTURE, EG3D_W
from training.discriminators import DualDiscriminator


@pytest.fixture(scope="module")
def source(parity_folder):
    return parity_folder / "eg3d" / "official_format_tiny.pkl"


@pytest.fixture(scope="module")
def described(parity_folder):
    return facts(parity_folder / "eg3d" / "official_format_tiny.json")


@pytest.fixture(scope="module")
def stored(parity_folder):
    return arrays(parity_folder / "eg3d" / "official_format_tiny_expected.npz")


@pytest.fixture(scope="module")
def snapshot(source):
    return read_snapshot(source)


@pytest.fixture(scope="module")
def imported(source, tmp_path_factory):
    """The model as a user gets it: imported into a models folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path_factory.mktemp("models")))
        yield models.import_model(source, "tiny-eg3d")


@pytest.fixture(scope="module")
def system(imported):
    return systems.load(imported.path)


def test_import_tells_where_the_model_comes_from(imported, source):
    header = checkpoints.read_header(imported.path)
    assert header.system == "eg3d"
    assert header.metadata["licence"].startswith("NVIDIA Source Code License")
    assert "non-commercial" in header.metadata["licence"]
    assert header.metadata["use"] == "non-commercial"
    assert header.json("source")["sha256"] == checkpoints.file_hash(source)
    config = header.json("config")
    # the file's attribute has other numbers of samples than its constructor's arguments, and the attribute counts
    assert (config["render"]["coarse"], config["render"]["fine"]) == (24, 20)
    assert config["render"]["neural_resolution"] == 32
    assert config["plane_axes"] == ["xy", "xz", "zx"]


def test_axes_come_from_the_file(snapshot, stored):
    matrices = snapshot["G_ema"].module("renderer")["plane_axes"]
    assert torch.equal(matrices, stored["plane_axes"])
    assert axes_letters(matrices) == ("xy", "xz", "zx")
    matrices = torch.eye(3).repeat(3, 1, 1)
    matrices[1] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert axes_letters(matrices) == ("xy", "zy", "xy")
    with pytest.raises(ModelError, match="not parallel"):
        axes_letters(torch.full((3, 3, 3), 0.3) + torch.eye(3))


def test_mapping(system, stored):
    w_plus = system.generator.mapping(stored["z"], stored["c_cond"], 0.7, 14)
    check("w_plus", w_plus, stored["ws_psi0.7_cut14"], atol=EG3D_W)


@pytest.mark.parametrize("size", [32, 96])
def test_pictures(system, stored, size):
    generator = system.generator
    w_plus = generator.mapping(stored["z"], stored["c_cond"], 0.7, 14)
    found = generator.synthesis(w_plus, Camera.from_label(stored["c_render"]), size)
    check("raw picture", found.image_raw, stored[f"nrr{size}_image_raw"], atol=EG3D_PICTURE)
    check("depth", found.depth, stored[f"nrr{size}_image_depth"], atol=EG3D_PICTURE)
    check("picture", found.image, stored[f"nrr{size}_image"], atol=EG3D_PICTURE)


def test_discriminator(snapshot, described, stored):
    options = described["init_kwargs"]["D"]
    network = DualDiscriminator(
        options["img_resolution"], label_dim=options["c_dim"], channel_base=options["channel_base"],
        channel_max=options["channel_max"], group=options["epilogue_kwargs"]["mbstd_group_size"],
        clamp=float(options["conv_clamp"]),
    )  # fmt: skip
    load_discriminator(network, snapshot["D"].tensors(), options["img_resolution"])
    with torch.no_grad():
        logits = network(stored["disc_image"], stored["disc_image_raw"], stored["disc_c"])
    check("logits", logits, stored["disc_logits"], relative=EG3D_LOGIT)


@pytest.mark.parametrize("name", ["G", "D", "G_ema"])
def test_every_tensor_is_read(snapshot, described, name):
    tensors = snapshot[name].tensors()
    digests = described["state_dict_digest"][name]
    assert set(tensors) == set(digests)
    for key, (shape, dtype, total, absolute) in digests.items():
        value = tensors[key]
        assert [list(value.shape), str(value.dtype)] == [shape, f"torch.{dtype}"]
        assert value.double().sum().item() == pytest.approx(total, rel=1e-5, abs=1e-4)
        assert value.double().abs().sum().item() == pytest.approx(absolute, rel=1e-5)


def test_attributes_are_read(snapshot, described):
    for name, expected in described["init_kwargs"].items():
        assert snapshot[name]["_init_kwargs"] == expected
    expected = described["attributes"]["G_ema"]
    assert snapshot["G_ema"]["rendering_kwargs"] == expected["rendering_kwargs"]
    assert snapshot["G_ema"]["neural_rendering_resolution"] == expected["neural_rendering_resolution"]
    assert snapshot["augment_pipe"] is None


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def nested_torch_file(command):
    stream = io.BytesIO()
    torch.save(Call(os.system, command), stream, _use_new_zipfile_serialization=False)
    return pickle.dumps({"G_ema": Call(torch.storage._load_from_bytes, stream.getvalue())})


def hostile(command):
    """Return files that would run a command in a careless reader, and two broken ones."""
    argument = b"\x8c" + bytes([len(command)]) + command.encode()
    code = f"__import__('os').system({command!r})"
    return {
        "os.system": pickle.dumps({"G_ema": Call(os.system, command)}),
        "eval": pickle.dumps({"G_ema": Call(eval, code)}),
        "exec": pickle.dumps(Call(exec, code)),
        "getattr": pickle.dumps(Call(getattr, 1, "real")),
        "subprocess": pickle.dumps(Call(subprocess.check_output, command)),
        "nested torch.save": nested_torch_file(command),
        "torch.load": b"\x80\x02ctorch\nload\n(X\x01\x00\x00\x00xtR.",
        "posix global": b"cposix\nsystem\n(S" + repr(command).encode() + b"\ntR.",
        "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + argument + b"\x85R.",
        "dotted global": b"\x80\x04\x8c\x0btorch_utils\x8c\x09os.system\x93.",
        "instance": b"(S" + repr(command).encode() + b"\nios\nsystem\n.",
        "persistent id": b"Psomething\n.",
        "no dictionary": pickle.dumps([1, 2]),
        "no network": pickle.dumps({"training_set_kwargs": {}}),
        "another network": b"\x80\x02}X\x05\x00\x00\x00G_emactraining.networks\nGenerator\n)Rs.",
        "random bytes": random.Random(0).randbytes(4096),
        "empty": b"",
    }  # fmt: skip


@pytest.mark.parametrize("kind", hostile("true"))
def test_hostile_files_are_refused_and_run_nothing(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "models"))
    proof = tmp_path / "proof"
    source = tmp_path / "hostile.pkl"
    source.write_bytes(hostile(f"touch {proof}")[kind])
    with pytest.raises(ModelError) as caught:
        models.import_model(source, "hostile")
    assert not proof.exists()
    assert not list((tmp_path / "models").glob("*"))
    assert "hostile.pkl" in caught.value.message
    assert caught.value.message.count("\n") == 0
    assert caught.value.message.endswith(".")


def test_the_proof_would_appear(tmp_path):
    """The files above do run their command in a careless reader."""
    for number, kind in enumerate(("os.system", "eval", "posix global", "stack global")):
        proof = tmp_path / str(number)
        pickle.loads(hostile(f"touch {proof}")[kind])
        assert proof.exists()


def test_source_text_in_the_file_is_not_executed(source):
    """The fixture's source text raises when executed; here it is only looked for, to know that it is there."""
    texts = {argument for _, argument, _ in pickletools.genops(source.read_bytes()) if isinstance(argument, str)}
    assert any("raise" in text for text in texts)
    assert "G_ema" in read_snapshot(source)


def test_a_changed_network_is_refused(source, tmp_path, monkeypatch):
    """A tensor of the wrong shape is named, and nothing is written."""
    monkeypatch.setattr(
        convert.snapshots.Record, "tensors", lambda self, prefix="": {"backbone.mapping.w_avg": torch.zeros(3)}
    )
    target = tmp_path / "model.safetensors"
    with pytest.raises(ModelError, match=r"w_mean|lacks"):
        convert.convert(source, target)
    assert not target.exists()


def test_import_tells_how_far_it_is_and_can_be_stopped(source, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    told = []
    models.import_model(source, "told", report=lambda *progress: told.append(progress))
    reading = [done for stage, done, _ in told if stage == f"Reading {source.name}"]
    total = source.stat().st_size // 2**20 + 1
    assert reading == sorted(reading)
    assert (reading[0], {of for stage, _, of in told if stage.startswith("Reading")}) == (0, {total})
    assert reading[-1] >= total - 2
    assert [stage for stage, *_ in told if not stage.startswith("Reading")][-1] == "Writing told.safetensors"

    for number in (0, len(told) // 2, len(told) - 1):
        calls = iter(range(len(told)))

        def stop(*_, calls=calls, number=number):
            if next(calls) == number:
                raise PortraitError("Cancelled.", kind="cancelled")

        with pytest.raises(PortraitError, match="Cancelled") as caught:
            models.import_model(source, "stopped", report=stop)
        assert caught.value.kind == "cancelled"
        assert not (tmp_path / "stopped.safetensors").exists()


def test_config_in_the_checkpoint_is_plain_json(imported):
    config = checkpoints.read_header(imported.path).json("config")
    assert json.loads(json.dumps(config)) == config
