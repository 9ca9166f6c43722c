# SPDX-License-Identifier: Apache-2.0
"""Files by name, written as the layouts that data sets come in."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(picture: np.ndarray, kind: str = "png") -> bytes:
    """A picture [h, w, 1, 3 or 4] as a file."""
    memory = io.BytesIO()
    Image.fromarray(picture.squeeze()).save(memory, kind)
    return memory.getvalue()


def write_zip(path: Path, files: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    """Pack files; the path is returned."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder; the path is returned."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
