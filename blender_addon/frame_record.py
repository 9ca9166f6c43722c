# SPDX-License-Identifier: GPL-3.0-or-later
"""The record beside files that jobs write: from what each was made, so that nothing is made twice. Pure.

`frames.jsonl` has one JSON object a line; `file` is a name in the same folder, `key` a digest of all that decides what
is in it, `bytes` its size. Of several lines about a file the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from .neural_core import errors, files

RECORD = "frames.jsonl"
_PNG = b"\x89PNG\r\n\x1a\n"


def key_of(facts: dict[str, Any]) -> str:
    """Return a digest of plain values; the order of names does not matter."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise errors.InputError(f'"{path}" cannot be read: {error.strerror}.') from error


def png_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a PNG file that is complete and undamaged, None of anything else.

    All checksums are looked at, so a file that was cut, or written only in part, is seen.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data.startswith(_PNG):
        return None
    at, size = len(_PNG), None
    while at + 12 <= len(data):  # a chunk: length, type, content, checksum of type and content
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return None
        kind = data[at + 4 : at + 8]
        if kind == b"IHDR" and length >= 8:
            size = struct.unpack_from(">II", data, at + 8)
        if kind == b"IEND":
            return size
        at = end
    return None


class FrameRecord:
    """The record of one folder."""

    def __init__(self, folder: Path) -> None:
        """Read the record, if there is one; a line that a crash cut short is ignored."""
        self._path = folder / RECORD
        self._lines: dict[str, dict[str, Any]] = {}
        self._cut = False
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # none yet; or one that cannot be written either, which `add` says
            return
        self._cut = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._lines[entry["file"]] = entry
            except (ValueError, KeyError, TypeError):
                continue

    def holds_picture(self, path: Path, key: str, size: tuple[int, int]) -> bool:
        """Return whether the PNG file is there, made from `key`, undamaged, and [width, height] pixels large."""
        return self._lines.get(path.name, {}).get("key") == key and png_size(path) == size

    def holds(self, path: Path, key: str) -> bool:
        """Return whether the file is there, made from `key`, and as long as it was then."""
        entry = self._lines.get(path.name, {})
        return entry.get("key") == key and path.is_file() and entry.get("bytes") == path.stat().st_size

    def add(self, path: Path, key: str, **facts: Any) -> dict[str, Any]:
        """Note a file that was just written, and return its line.

        Raises:
            PortraitError: kind "output", if the record cannot be written.
        """
        line = {"file": path.name, "key": key, **facts}
        try:
            line["bytes"] = path.stat().st_size
            with self._path.open("ab") as record:
                # After a line that was cut, ours would be lost with it.
                record.write(b"\n" * self._cut + json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise files.output_error(self._path, error) from error
        self._cut = False
        self._lines[path.name] = line
        return line
