# SPDX-License-Identifier: Apache-2.0
"""Pictures and turntables for people to look at while and after training."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neural_core.files import write_bytes


def save_picture(path: Path, picture: Float[Tensor, "3 h w"], made_by: str) -> None:
    """Write colours in 0..1 as a PNG, with the name of what made it in its provenance where imageio is installed."""
    pixels = _pixels(picture)
    try:
        from neural_core import media
    except ImportError:  # a bare GPU machine
        write_bytes(path, plain_png(pixels))
    else:
        media.write_png(path, pixels, {"made_by": made_by})


def save_turntable(stem: Path, frames: Float[Tensor, "n 3 h w"], made_by: str, fps: float = 12.0) -> Path:
    """Write a film `stem`.mp4; a strip of at most eight of its frames, `stem`.png, where no encoder is installed."""
    try:
        import av  # noqa: F401  what imageio encodes with

        from neural_core import media
    except ImportError:
        chosen = torch.linspace(0, len(frames) - 1, min(len(frames), 8)).round().long()
        save_picture(stem.with_name(stem.name + ".png"), torch.cat(list(frames[chosen]), dim=2), made_by)
        return stem.with_name(stem.name + ".png")
    path = stem.with_name(stem.name + ".mp4")
    media.write_mp4(path, (_pixels(frame) for frame in frames), fps, {"made_by": made_by})
    return path


def plain_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels [h, w, 3] as the bytes of a PNG, with the standard library alone (PNG specification, 5 and 9)."""
    height, width, _ = pixels.shape
    rows = np.pad(pixels.reshape(height, width * 3), ((0, 0), (1, 0)))  # each row begins with its filter: 0, none

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, no interlacing
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def _pixels(picture: Float[Tensor, "3 h w"]) -> NDArray[np.uint8]:
    return (picture.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
