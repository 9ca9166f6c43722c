# SPDX-License-Identifier: Apache-2.0
"""A spoken clip as a film: the rig, rendered by our rasteriser, with its sound."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from neural_core.curves import Curves
from neural_core.files import make_folder, write_bytes
from neural_core.human.anny import load_anny_head
from neural_core.media import Picture, over, read_picture, statement, write_png
from training.synthetic.figure import Attire, Pose
from training.synthetic.lighting import STUDIO
from training.synthetic.raster import photograph
from training.synthetic.sitter import Atelier
from training.synthetic.views import follow, framed

from .clip import SAMPLE_RATE, Performance

BACKGROUND = (196, 200, 204)
"""Grey, sRGB, behind the person."""
_QUALITY = "21"  # of H.264 (its crf): no artefacts to the eye
_SOUND_BITS = 64_000  # a second


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
        write_png(files[frame], over(picture, BACKGROUND), {"system": "training.synthetic.speech"})
    write_bytes(path, with_sound((read_picture(file) for file in files), performance.audio, performance.curves.fps))


def with_sound(frames: Iterable[Picture], audio: NDArray[np.int16], fps: float) -> bytes:
    """An MP4 of pictures [h, w, 3] with even sides and one channel of sound: H.264 and AAC, which all players play."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        container.metadata["comment"] = statement({"system": "training.synthetic.speech"})
        sound = container.add_stream("aac", rate=SAMPLE_RATE, bit_rate=_SOUND_BITS, layout="mono")
        video = None
        for frame in frames:
            if video is None:
                video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                video.height, video.width, video.pix_fmt = frame.shape[0], frame.shape[1], "yuv420p"
                video.options = {"crf": _QUALITY, "preset": "slow"}
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[..., :3]), "rgb24")))
        wave = av.AudioFrame.from_ndarray(audio[None], format="s16", layout="mono")
        wave.sample_rate = SAMPLE_RATE
        wave.pts = 0
        container.mux(sound.encode(wave))
        for stream in (video, sound):
            if stream is not None:
                container.mux(stream.encode(None))
    return memory.getvalue()


@cache
def _atelier() -> Atelier:
    return Atelier(load_anny_head())
