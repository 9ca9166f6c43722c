# SPDX-License-Identifier: Apache-2.0
"""The only place that reads or writes pictures and films.

Pictures are uint8 [h, w, 3] or [h, w, 4], sRGB, straight alpha, first row on top. Every file that is written says
where it comes from: JSON in the text chunk "provenance" of a PNG, in the comment of an MP4.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from . import __version__
from .errors import InputError
from .files import write_bytes

PROVENANCE = "provenance"
Picture = NDArray[np.uint8]


def write_png(path: Path, picture: Picture, provenance: Mapping[str, Any]) -> None:
    """Write a PNG with its provenance. Raises PortraitError of kind "output" if it cannot be written."""
    info = PngInfo()
    info.add(b"sRGB", b"\0")  # the samples are sRGB, perceptual intent
    info.add_text(PROVENANCE, statement(provenance))
    data = iio.imwrite("<bytes>", picture, plugin="pillow", extension=".png", pnginfo=info)
    write_bytes(path, data)


def write_mp4(path: Path, frames: Iterable[Picture], fps: float, provenance: Mapping[str, Any]) -> int:
    """Write an H.264 film that every player plays, and return the number of its frames.

    Args:
        path: where to.
        frames: [h, w, 3] each, all of one size; an odd last row or column is cut, since 4:2:0 needs even sides.
        fps: frames a second.
        provenance: what `statement` adds to.
    """
    count = 0
    # Made in memory: the encoder, which would have to write its index at the end, cannot meet a full disk then.
    memory = io.BytesIO()
    with iio.imopen(memory, "w", plugin="pyav", extension=".mp4") as film:
        film.container_metadata["comment"] = statement(provenance)
        film.init_video_stream("libx264", fps=fps, pixel_format="yuv420p")
        for frame in frames:
            height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
            film.write_frame(np.ascontiguousarray(frame[:height, :width, :3]))
            count += 1
    write_bytes(path, memory.getvalue())
    return count


def read_picture(path: Path) -> Picture:
    """Return the picture in a file, [h, w, 3] or [h, w, 4].

    Raises:
        InputError: if the file is missing or holds no picture.
    """
    try:
        picture = iio.imread(path, plugin="pillow")
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f'Cannot read "{path}" as a picture.', "PNG and JPEG files work.") from error
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise InputError(f'"{path}" is no 8-bit still picture.', "Save it as an 8-bit PNG.")
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    return picture


def read_provenance(path: Path) -> dict[str, Any]:
    """Return what `write_png` stored about a picture; {} if it says nothing."""
    text = iio.immeta(path, plugin="pillow").get(PROVENANCE)
    return json.loads(text) if text else {}


def statement(provenance: Mapping[str, Any]) -> str:
    """Return the provenance as the JSON that files carry: what made them, and that it was a program."""
    said = {"generator": f"Neural Portrait {__version__}", "synthetic": True, **provenance}
    return json.dumps(said, sort_keys=True, ensure_ascii=True)


def straight_alpha(colour: NDArray[np.floating], opacity: NDArray[np.floating]) -> Picture:
    """Return RGBA [h, w, 4] from colours that are premultiplied over black.

    Args:
        colour: [h, w, 3] in 0..1, already multiplied by opacity (as volume rendering leaves it).
        opacity: [h, w] in 0..1.
    """
    alpha = np.clip(opacity, 0.0, 1.0)[..., None]
    # Under 1/255 the alpha is stored as 0 and the colour is not seen; dividing by it would only amplify noise.
    straight = np.where(alpha >= 1 / 255, colour / np.maximum(alpha, 1 / 255), 0.0)
    both = np.concatenate([np.clip(straight, 0.0, 1.0), alpha], axis=-1)
    return np.rint(both * 255).astype(np.uint8)


def over(picture: Picture, background: tuple[int, int, int]) -> Picture:
    """Return an RGBA picture laid over one colour, [h, w, 3]."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    mixed = picture[..., :3] * alpha + np.asarray(background, np.float32) * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)
