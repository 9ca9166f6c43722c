# SPDX-License-Identifier: Apache-2.0
"""The worker's request that brings a file of the user's in."""

import pytest

from neural_core import models, protocol
from neural_core.errors import ModelError, UsageError
from neural_core.progress import silent
from neural_core.worker.engine import Engine
from tests.tiny_models import save_tiny


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path / "models"))
    return Engine("cpu", lambda message: None)


def bring_in(engine, path, name, kind="model"):
    (done,) = engine.answer(protocol.Import(1, kind, str(path), name), silent)
    return done.fields


def test_weights_of_ours_become_a_model_of_the_users(engine, tmp_path):
    save_tiny(tmp_path / "tiny.safetensors")
    said = bring_in(engine, tmp_path / "tiny.safetensors", "mine")
    assert said["name"] == "mine"
    assert said["path"] == str(tmp_path / "models" / "mine.safetensors")
    assert (said["licence"], said["use"], said["note"]) == ("CC0-1.0", "any", "")
    assert models.find("mine").path.read_bytes() == (tmp_path / "tiny.safetensors").read_bytes()
    with pytest.raises(UsageError, match='There is a "mine" already'):
        bring_in(engine, tmp_path / "tiny.safetensors", "mine")


def test_what_is_no_model_is_a_sentence(engine, tmp_path):
    (tmp_path / "photo.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(ModelError):
        bring_in(engine, tmp_path / "photo.safetensors", "mine")
    with pytest.raises(UsageError, match="neither a model nor a face"):
        bring_in(engine, tmp_path / "photo.safetensors", "mine", kind="song")
    assert not list((tmp_path / "models").glob("*.safetensors"))


def test_a_model_that_was_removed_while_in_use_goes_on_and_then_is_missed(engine, tmp_path):
    """What is in memory stays; what has to be read again is asked for in a sentence."""
    save_tiny(tmp_path / "tiny.safetensors")
    bring_in(engine, tmp_path / "tiny.safetensors", "mine")
    (made,) = engine.answer(protocol.Create(1, "mine", 3, 0.7, "p"), silent)
    models.find("mine").path.unlink()
    image, _ = engine.answer(protocol.Render(2, "p", tuple(made.fields["camera"]), 16), silent)
    assert image.arrays["image"].shape == (16, 16, 4)
    list(engine.answer(protocol.Free(3), silent))
    with pytest.raises(ModelError, match='There is no model "mine"'):
        list(engine.answer(protocol.Create(4, "mine", 3, 0.7, "p"), silent))
