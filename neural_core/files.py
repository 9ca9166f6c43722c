# SPDX-License-Identifier: Apache-2.0
"""Writing files so that nothing half-written is ever found under its final name. Standard library only."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

from .errors import PortraitError

ARCHIVE_DAMAGE = (
    *(OSError, EOFError, BadZipFile, zlib.error, struct.error, MemoryError, NotImplementedError, RuntimeError),
    *(ValueError, KeyError, TypeError, AttributeError, SyntaxError, TokenError),  # the last two: a header's
)
"""What reading an ``.npz`` file raises that was cut, has other bits, or holds something else."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; rename it to `path` when the block succeeds.

    When the block fails the temporary file is deleted and `path` is as it was before.

    Raises:
        PortraitError: kind "output", if the operating system refuses (full disk, no such folder, no permission).
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        # After a successful rename there is nothing to delete.
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` at once or not at all. Raises PortraitError as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are missing. Raises PortraitError of kind "output"."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def check_folder_of(path: Path) -> None:
    """Raise PortraitError of kind "output" now, rather than after long work, if `path` has no folder or is one."""
    if path.is_dir():
        raise output_error(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
    if path.parent.exists() and not path.parent.is_dir():
        raise output_error(path, NotADirectoryError(errno.ENOTDIR, "its folder is a file"))
    if not path.parent.is_dir():
        raise output_error(path, FileNotFoundError(errno.ENOENT, "no such folder"))
    if not os.access(path.parent, os.W_OK):
        raise output_error(path, PermissionError(errno.EACCES, "permission denied"))


def output_error(path: Path, error: OSError) -> PortraitError:
    """Return the sentence for a file that could not be written."""
    hints = {
        errno.ENOSPC: "The disk is full: free some space or choose another folder.",
        errno.EDQUOT: "The disk quota is used up: free some space or choose another folder.",
        errno.ENOENT: "That folder does not exist: create it or choose another.",
        errno.ENOTDIR: "A part of that path is a file, not a folder: choose another.",
        errno.EISDIR: "That is a folder: give a file name.",
        errno.EACCES: "You may not write there: choose another folder.",
        errno.EROFS: "That place is read-only: choose another folder.",
    }
    reason = error.strerror or str(error)
    return PortraitError(f'Cannot write "{path}": {reason}.', hints.get(error.errno or 0, ""), kind="output")
