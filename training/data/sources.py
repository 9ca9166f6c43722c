# SPDX-License-Identifier: Apache-2.0
"""Files by name, in a folder or in a zip: listed once, then opened one by one when they are asked for.

Nothing stays open, so that a source may be copied into other processes, by fork or by pickle, at any time.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

from neural_core.errors import InputError
from neural_core.files import ARCHIVE_DAMAGE

_LOCAL_HEADER = struct.Struct("<26x2H")
"""What stands before a zip's member: only how long its name and its extra field are matters here."""


class Source(Protocol):
    """Where the files of a data set are. Names have forward slashes and are relative to the data set."""

    path: Path

    def names(self) -> list[str]:
        """Return the names of all files, sorted; hidden ones are not listed."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises InputError if it is missing or damaged."""
        ...


def open_source(path: Path) -> Source:
    """Return the files of a folder or a zip. Raises InputError if it is neither."""
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InputError(f'There is no "{path}".', "Give the folder or the zip of a data set.")
    return ZipSource(path)


class FolderSource:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of all files, sorted; hidden ones, as ours are while they are written, are not listed."""
        found = []
        for folder, _, files in os.walk(self.path):
            inside = Path(folder).relative_to(self.path)
            found += [(inside / file).as_posix() for file in files]
        return sorted(filter(_is_shown, found))

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises InputError if it is missing or cannot be read."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise InputError(f'Cannot read "{name}" in "{self.path}": {error.strerror}.') from error


class ZipSource:
    """The files of a zip, stored or deflated.

    The zip's directory is kept as a few arrays: `zipfile`'s own takes half a kilobyte a file in every process, and one
    open file cannot be shared by processes that each want another place of it.
    """

    def __init__(self, path: Path) -> None:
        """List the files.

        Raises:
            InputError: it is no zip, or one that is encrypted or packed in a way other than EG3D's and `zip`'s.
        """
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename)
        except ARCHIVE_DAMAGE as error:
            raise InputError(f'"{path}" is no zip, or a damaged one ({error}).', "Copy it again.") from error
        members = [member for member in members if _is_shown(member.filename)]
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise InputError(f'"{path}" is encrypted or packed in an unusual way.', "Pack it again: zip -0 -r.")
        self._names = np.array([member.filename for member in members], np.str_)
        facts = [(m.header_offset, m.compress_size, m.CRC, m.compress_type == zipfile.ZIP_DEFLATED) for m in members]
        self._facts = np.array(facts, np.int64).reshape(-1, 4)

    def names(self) -> list[str]:
        """Return the names of all files, sorted; hidden ones and what macOS adds are not listed."""
        return self._names.tolist()

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises InputError if it is missing or damaged."""
        place = int(np.searchsorted(self._names, name))
        if place == len(self._names) or self._names[place] != name:
            raise InputError(f'Cannot read "{name}" in "{self.path}": No such file.')
        offset, size, checksum, deflated = self._facts[place].tolist()
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), os.SEEK_CUR)
                data = file.read(size)
            data = zlib.decompress(data, -zlib.MAX_WBITS) if deflated else data
        except (OSError, struct.error, zlib.error) as error:
            raise InputError(f'Cannot read "{name}" in "{self.path}": {error}.') from error
        if zlib.crc32(data) != checksum:
            raise InputError(f'Cannot read "{name}" in "{self.path}": its checksum is wrong.')
        return data


def _is_shown(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
