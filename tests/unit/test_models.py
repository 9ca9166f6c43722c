# SPDX-License-Identifier: Apache-2.0
"""Which models are found, and how others come in."""

from pathlib import Path

import pytest

from neural_core import models
from neural_core.errors import ModelError, PortraitError, UsageError
from tests.tiny_models import save_tiny


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty folder of the user's, and one of shipped models with "tiny"."""
    user, shipped = tmp_path / "user", tmp_path / "assets" / "models"
    shipped.mkdir(parents=True)
    save_tiny(shipped / "tiny.safetensors")
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(user))
    monkeypatch.setattr(models, "assets", lambda: tmp_path / "assets")
    return user, shipped


def test_shipped_models_are_found_without_a_folder_of_the_users(folders):
    assert [model.name for model in models.installed()] == ["tiny"]
    assert models.find("tiny").path == folders[1] / "tiny.safetensors"


def test_a_users_model_hides_a_shipped_one_of_the_same_name(folders):
    folders[0].mkdir()
    mine = save_tiny(folders[0] / "tiny.safetensors", seed=1)
    assert models.find("tiny").path == mine
    assert [model.path for model in models.installed()] == [mine]


def test_a_path_is_taken_as_it_is(folders, tmp_path):
    path = save_tiny(tmp_path / "elsewhere.safetensors")
    assert models.find(str(path)).path == path


def test_a_model_is_described_by_its_header(folders):
    about = models.find("tiny").describe()
    assert (about["name"], about["system"], about["licence"], about["use"]) == ("tiny", "eg3d", "CC0-1.0", "any")
    assert about["size_mb"] == pytest.approx((folders[1] / "tiny.safetensors").stat().st_size / 1e6, abs=0.05)


def test_a_missing_model_is_named_with_the_nearest(folders):
    with pytest.raises(ModelError, match='no model "tinny"') as caught:
        models.find("tinny")
    assert 'Did you mean "tiny"?' in caught.value.hint
    with pytest.raises(ModelError) as caught:
        models.find("zzz")
    assert "Installed: tiny" in caught.value.hint


def test_a_damaged_file_is_listed_with_its_problem_and_not_found(folders):
    folders[0].mkdir()
    (folders[0] / "bad.safetensors").write_bytes(b"nothing")
    problems = {model.name: model.problem for model in models.installed()}
    assert problems["tiny"] == ""
    assert "no safetensors file" in problems["bad"]
    with pytest.raises(ModelError, match="no safetensors file"):
        models.find("bad")


def test_half_written_files_are_not_listed(folders):
    folders[0].mkdir()
    save_tiny(folders[0] / ".x.1.part.safetensors")
    assert [model.name for model in models.installed()] == ["tiny"]


def test_the_users_folder_has_a_default(monkeypatch):
    monkeypatch.delenv("NEURAL_PORTRAIT_MODELS", raising=False)
    assert models.user_folder().is_absolute()
    assert models.user_folder().parts[-2:] == ("neural-portrait", "models")


def test_the_assets_are_beside_the_package(repository):
    assert models.assets() == repository / "assets"


def test_one_of_our_checkpoints_is_imported_as_it_is(folders, tmp_path):
    source = save_tiny(tmp_path / "other.safetensors", seed=3)
    imported = models.import_model(source, "mine")
    assert imported.path == folders[0] / "mine.safetensors"
    assert imported.path.read_bytes() == source.read_bytes()
    assert {model.name for model in models.installed()} == {"mine", "tiny"}


def test_a_published_checkpoint_is_converted(folders, parity_folder):
    imported = models.import_model(parity_folder / "eg3d" / "official_format_tiny.pkl", "published")
    assert imported.header is not None
    assert imported.header.system == "eg3d"
    assert imported.header.metadata["use"] != "any"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x.safetensors", "a b", "a" * 65])
def test_a_name_that_is_no_name_is_refused(folders, tmp_path, name):
    with pytest.raises(UsageError):
        models.import_model(save_tiny(tmp_path / "other.safetensors"), name)
    assert not folders[0].exists() or list(folders[0].iterdir()) == []


def test_a_taken_name_is_refused_and_the_model_kept(folders, tmp_path):
    first = models.import_model(save_tiny(tmp_path / "a.safetensors", seed=1), "mine").path.read_bytes()
    with pytest.raises(UsageError, match="already"):
        models.import_model(save_tiny(tmp_path / "b.safetensors", seed=2), "mine")
    assert (folders[0] / "mine.safetensors").read_bytes() == first


@pytest.mark.parametrize("name", ["x.pkl", "x.safetensors", "x.txt"])
def test_what_is_no_model_leaves_nothing(folders, tmp_path, name):
    source = tmp_path / name
    source.write_bytes(b"\x80\x04cos\nsystem\n(S'echo'\ntR.")
    with pytest.raises(PortraitError):
        models.import_model(source, "mine")
    assert [path for path in folders[0].iterdir() if path.is_file()] == []


def test_a_missing_source_is_a_sentence(folders, tmp_path):
    for name in ("none.pkl", "none.safetensors"):
        with pytest.raises(PortraitError, match=r"none"):
            models.import_model(Path(tmp_path / name), "mine")
