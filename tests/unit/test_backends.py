# SPDX-License-Identifier: Apache-2.0
"""Which implementation serves, and that a failing compiler costs a sentence and nothing else."""

import os
import subprocess
import sys

import pytest
import torch

from neural_core.errors import UsageError
from neural_core.ops import backends
from neural_core.ops.rasterize import rasterize


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No library loaded yet, and an empty cache."""
    monkeypatch.setattr(backends, "_loaded", {})
    monkeypatch.setattr(backends, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv(backends.VARIABLE, "auto")
    return tmp_path


@pytest.fixture
def broken(fresh, monkeypatch):
    """The source of the back end does not compile."""
    (fresh / "rasterize.cpp").write_text("this is not C++\n")
    monkeypatch.setattr(backends, "_SOURCES", fresh)
    return fresh


def draw():
    vertices = torch.tensor([[[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]])
    return rasterize(vertices, torch.tensor([[0, 1, 2]]), 4).triangle


def test_a_failed_build_is_told_once_and_the_reference_serves(broken):
    with pytest.warns(RuntimeWarning, match=r"^rasterize runs in plain torch.*could not be compiled or loaded") as told:
        first = draw()
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    second = draw()  # a second warning would be an error here
    assert first.tolist() == second.tolist()
    assert (first >= 0).sum() == 6
    choice = backends.choice("rasterize")
    assert choice.name == "reference"
    assert "rasterize" in choice.reason
    assert list(broken.glob("cache/*")) == []  # nothing half-built is left behind


def test_asking_for_a_back_end_that_cannot_be_had_is_an_error(broken, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "native")
    with pytest.raises(UsageError, match=r"C\+\+ back end of rasterize cannot be had"):
        draw()


def test_the_reference_on_request_compiles_nothing(broken, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "reference")
    assert (draw() >= 0).sum() == 6
    assert backends.choice("rasterize") == backends.Choice("reference", "NEURAL_PORTRAIT_OPS=reference")


def test_a_value_that_means_nothing_is_refused(monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "fast")
    with pytest.raises(UsageError, match=r'NEURAL_PORTRAIT_OPS is "fast"\. Set it to auto'):
        draw()


def test_operations_without_a_back_end_say_so():
    assert backends.choice("upfirdn2d") == backends.Choice("reference", "it is plain torch")


def test_it_is_compiled_once_and_found_again(fresh, monkeypatch):
    assert backends.choice("rasterize").name == "native"
    (library,) = fresh.glob("cache/*")
    written = library.stat().st_mtime_ns
    monkeypatch.setattr(backends, "_loaded", {})
    monkeypatch.setattr(backends, "_compile", lambda *_: pytest.fail("compiled again"))
    assert backends.choice("rasterize") == backends.Choice("native", "it is compiled")
    assert library.stat().st_mtime_ns == written


def test_the_cache_is_its_owners_alone(fresh):
    assert backends.choice("rasterize").name == "native"
    (library,) = fresh.glob("cache/*")
    assert (library.parent.stat().st_mode & 0o777, library.stat().st_mode & 0o777) == (0o700, 0o700)


@pytest.mark.skipif(os.name == "nt", reason="modes mean nothing there")
@pytest.mark.parametrize(("which", "mode"), [("folder", 0o770), ("folder", 0o707), ("file", 0o720), ("file", 0o702)])
def test_what_others_may_write_is_not_loaded(fresh, monkeypatch, which, mode):
    monkeypatch.setattr(backends.ctypes, "CDLL", lambda _: pytest.fail("loaded"))
    folder = fresh / "cache"
    folder.mkdir(mode=0o700)

    def compiled(_, finished):
        finished.write_bytes(b"")
        finished.chmod(mode if which == "file" else 0o700)

    monkeypatch.setattr(backends, "_compile", compiled)
    if which == "folder":
        folder.chmod(mode)
    with pytest.warns(RuntimeWarning, match=r"loaded \(others may write to"):
        assert backends.native("rasterize") is None


@pytest.mark.skipif(os.name == "nt", reason="there are no such owners")
def test_what_belongs_to_another_is_not_loaded(fresh, monkeypatch):
    monkeypatch.setattr(backends.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(RuntimeWarning, match=r"loaded \(others may write to"):
        assert backends.native("rasterize") is None


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="they have other places")
@pytest.mark.parametrize(("said", "root"), [("here", "{home}/.cache"), ("", "{home}/.cache"), ("/there", "/there")])
def test_only_an_absolute_cache_folder_is_heard(monkeypatch, tmp_path, said, root):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", said)
    assert str(backends.cache_folder()) == root.format(home=tmp_path) + "/neural-portrait/ops"


def test_ninja_is_found_beside_the_interpreter(fresh, monkeypatch):
    """A program started by its full name has no environment's folder on its path."""
    monkeypatch.setenv("PATH", os.pathsep.join(p for p in ("/usr/bin", "/bin") if os.path.isdir(p)))  # noqa: PTH112
    path = os.environ["PATH"]
    assert backends.choice("rasterize").name == "native"
    assert os.environ["PATH"] == path


def test_nothing_is_compiled_or_loaded_at_import():
    program = (
        "import sys; from neural_core.ops import backends, rasterize; "
        "sys.exit(bool(backends._loaded) or 'torch.utils.cpp_extension' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
