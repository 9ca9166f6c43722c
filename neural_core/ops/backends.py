# SPDX-License-Identifier: Apache-2.0
"""Which implementation of an operation is in use, and why.

Every operation has a torch reference. Some have a C++ back end in ``native/<operation>.cpp``, compiled when it is first
needed, once for a version of its source, into the user's cache folder. Nothing is compiled at import. The environment
variable ``NEURAL_PORTRAIT_OPS`` decides:

    auto        the back end if it is there or can be compiled, else the reference (the default)
    reference   never compile, never load
    native      the back end, or an error
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import platform
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

VARIABLE = "NEURAL_PORTRAIT_OPS"
OPERATIONS = ("rasterize",)
"""The operations that have a back end."""

_SOURCES = Path(__file__).parent / "native"
# Contraction into fused multiply-adds would round differently from the reference, and break ties differently.
_FLAGS = ("/O2", "/fp:precise", "/std:c++17") if os.name == "nt" else ("-O3", "-ffp-contract=off", "-std=c++17")
_LINK = () if os.name == "nt" else ("-pthread",)


@dataclass(frozen=True)
class Choice:
    """An implementation, and why it was chosen."""

    name: str
    """``"native"`` or ``"reference"``."""
    reason: str


_loaded: dict[str, ctypes.CDLL | str] = {}  # the library, or why there is none; building twice would be no use
_lock = threading.Lock()


def choice(operation: str) -> Choice:
    """Return which implementation serves an operation in this process, compiling it if that is what is asked for.

    Raises:
        UsageError: if the environment variable has no meaning, or asks for a back end that cannot be had.
    """
    wanted = os.environ.get(VARIABLE, "auto") or "auto"
    if wanted not in ("auto", "reference", "native"):
        raise UsageError(f'{VARIABLE} is "{wanted}".', "Set it to auto, reference or native.")
    if operation not in OPERATIONS:
        return Choice("reference", "it is plain torch")
    if wanted == "reference":
        return Choice("reference", f"{VARIABLE}=reference")
    library = _library(operation, announce=wanted == "auto")
    if isinstance(library, str):
        if wanted == "native":
            raise UsageError(
                f"The C++ back end of {operation} cannot be had ({library}).",
                f"Install a C++ compiler, or unset {VARIABLE}.",
            )
        return Choice("reference", library)
    return Choice("native", f"{VARIABLE}=native" if wanted == "native" else "it is compiled")


def native(operation: str) -> ctypes.CDLL | None:
    """Return the compiled library of an operation, or None where the reference serves. Raises as `choice`."""
    if choice(operation).name == "reference":
        return None
    library = _loaded[operation]
    return None if isinstance(library, str) else library


def cache_folder() -> Path:
    """Return where compiled libraries are kept: ``$XDG_CACHE_HOME`` if that is absolute, or what the system uses."""
    if os.name == "nt":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        wanted = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # "All paths must be absolute ... a relative path should be considered invalid" (XDG Base Directory 0.8).
        root = wanted if wanted.is_absolute() else Path.home() / ".cache"
    return root / "neural-portrait" / "ops"


def _library(operation: str, announce: bool) -> ctypes.CDLL | str:
    with _lock:
        if operation not in _loaded:
            try:
                _loaded[operation] = _load(_SOURCES / f"{operation}.cpp")
            except Exception as error:  # whatever a compiler, a linker or a disk can do: the reference works
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                _loaded[operation] = reason
                if announce:
                    warnings.warn(
                        f"{operation} runs in plain torch, several times slower: its C++ back end could not be "
                        f"compiled or loaded ({reason}).",
                        RuntimeWarning,
                        stacklevel=5,
                    )
        return _loaded[operation]


def _load(source: Path) -> ctypes.CDLL:
    """Return the library of a source file, compiled now if nobody did before."""
    digest = hashlib.sha256(source.read_bytes() + " ".join([*_FLAGS, *_LINK]).encode()).hexdigest()[:16]
    kind = f"{sys.platform}-{platform.machine().lower()}"
    finished = cache_folder() / f"{source.stem}-{kind}-{digest}{'.pyd' if os.name == 'nt' else '.so'}"
    _make_private(finished.parent)
    if not finished.is_file():
        _compile(source, finished)
    _check_private(finished)
    return ctypes.CDLL(str(finished))


def _compile(source: Path, finished: Path) -> None:
    """Compile a source file; the library appears under its name at once or not at all, whoever else compiles it."""
    with tempfile.TemporaryDirectory(prefix=".build-", dir=finished.parent) as folder, _with_ninja():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about compilers that torch has not heard of
            from torch.utils import cpp_extension

            cpp_extension.load(
                f"np_{source.stem}",
                [str(source)],
                extra_cflags=list(_FLAGS),
                extra_ldflags=list(_LINK),
                build_directory=folder,
                is_python_module=False,
                with_cuda=False,
            )
        # Torch numbers the file where one of this name was built before in this process.
        (library,) = Path(folder).glob(f"*{finished.suffix}")
        library.chmod(0o700)
        library.replace(finished)


def _make_private(folder: Path) -> None:
    """Make the cache folder, for its owner alone. Raises OSError, also if others could write into it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    _check_private(folder)


def _check_private(path: Path) -> None:
    """Raise PermissionError if somebody else could have put code there that we would run."""
    if os.name == "nt":
        return  # the folder is in the user's profile, and modes mean nothing
    about = path.lstat()
    if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others may write to {path}")


@contextlib.contextmanager
def _with_ninja() -> Iterator[None]:
    """Let torch find the ninja of this environment, which is not on the path of a program started by its full name."""
    before = os.environ.get("PATH", "")
    places = [str(Path(sys.executable).parent), before]
    if importlib.util.find_spec("ninja") is not None:
        places.insert(0, importlib.import_module("ninja").BIN_DIR)
    os.environ["PATH"] = os.pathsep.join(places)
    try:
        yield
    finally:
        os.environ["PATH"] = before
