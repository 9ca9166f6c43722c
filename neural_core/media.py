# SPDX-License-Identifier: Apache-2.0
"""The only place that reads or writes pictures and films.

Pictures are uint8 [h, w, 3] or [h, w, 4], sRGB, straight alpha, first row on top. Every file that is written says
where it comes from: JSON in the text chunk "provenance" of a PNG, in the comment of an MP4.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from . import __version__
from .errors import InputError
from .files import ARCHIVE_DAMAGE, write_bytes

if TYPE_CHECKING:
    from av.container import OutputContainer
    from PIL import Image

    from .audio.io import Track

PROVENANCE = "provenance"
Picture = NDArray[np.uint8]

_CLIPS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg")
_PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif")

_SOUND_BITS = 80_000
"""A second, for each channel."""

_MORE_BITS = ("I", "F")
_TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
"""What Pillow calls pictures of more than 8 bits, and those with an alpha channel."""

_TIFF = (b"II*\0", b"MM\0*")  # how they begin

_BEHIND = (128, 128, 128)
"""What is seen through transparent parts of a photo."""


def write_png(path: Path, picture: Picture, provenance: Mapping[str, Any]) -> None:
    """Write a PNG with its provenance. Raises PortraitError of kind "output" if it cannot be written."""
    info = PngInfo()
    info.add(b"sRGB", b"\0")  # the samples are sRGB, perceptual intent
    info.add_text(PROVENANCE, statement(provenance))
    data = iio.imwrite("<bytes>", picture, plugin="pillow", extension=".png", pnginfo=info)
    write_bytes(path, data)


def write_mp4(
    path: Path, frames: Iterable[Picture], fps: float, provenance: Mapping[str, Any], track: Track | None = None
) -> int:
    """Write an H.264 film, with AAC sound, that every player plays, and return the number of its frames.

    Args:
        path: where to.
        frames: [h, w, 3] each, all of one size; an odd last row or column is cut, since 4:2:0 needs even sides.
        fps: frames a second.
        provenance: what `statement` adds to.
        track: what is heard, from the first frame to the last.
    """
    import av

    count = 0
    # Made in memory: the encoder, which would have to write its index at the end, cannot meet a full disk then.
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as film:
        film.metadata["comment"] = statement(provenance)
        video = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        video.pix_fmt = "yuv420p"
        sound = None if track is None else _SoundOfFilm(film, track)
        for frame in frames:
            height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
            if not count:
                video.height, video.width = height, width
            film.mux(
                video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width, :3]), "rgb24"))
            )
            count += 1
            if sound is not None:
                sound.go_on(count / fps)
        film.mux(video.encode(None))
        if sound is not None:
            sound.end()
    write_bytes(path, memory.getvalue())
    return count


class _SoundOfFilm:
    """The sound of a film that is written: beside the pictures that it goes with, so that players need not search."""

    def __init__(self, film: OutputContainer, track: Track) -> None:
        layout = "mono" if len(track.samples) == 1 else "stereo"
        self._film, self._track, self._layout, self._done = film, track, layout, 0
        self._stream = film.add_stream("aac", rate=track.rate, layout=layout)
        self._stream.bit_rate = _SOUND_BITS * len(track.samples)

    def go_on(self, seconds: float) -> None:
        """Write the sound up to a time."""
        import av

        end = min(round(seconds * self._track.rate), self._track.samples.shape[1])
        if end <= self._done:
            return
        part = np.ascontiguousarray(self._track.samples[:, self._done : end], np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._track.rate, self._done, Fraction(1, self._track.rate)
        self._film.mux(self._stream.encode(frame))
        self._done = end

    def end(self) -> None:
        """Write what the encoder still holds."""
        self._film.mux(self._stream.encode(None))


def read_picture(path: Path) -> Picture:
    """Return the picture in a file, [h, w, 3] or [h, w, 4].

    Raises:
        InputError: if the file is missing or holds no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'Cannot read "{path}" as a picture.', "PNG and JPEG files work.") from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, name: str) -> Picture:
    """Return the picture in a file's bytes, [h, w, 3] or, if any of it can be transparent, [h, w, 4].

    The numbers are those of the file: neither its orientation nor its colour profile is applied.

    Args:
        data: a PNG, JPEG or any other format that Pillow knows.
        name: what the error calls it.

    Raises:
        InputError: the bytes are damaged or no 8-bit still picture.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")  # of many pixels and of odd metadata; what is wrong raises
            if image.mode in _MORE_BITS or image.mode.startswith("I;16") or getattr(image, "n_frames", 1) > 1:
                raise InputError(f'"{name}" is no 8-bit still picture.', "Save it as an 8-bit PNG.")
            transparent = image.mode in _TRANSPARENT or "transparency" in image.info
            return np.array(image.convert("RGBA" if transparent else "RGB"))
    except (*ARCHIVE_DAMAGE, Image.DecompressionBombError) as error:
        raise InputError(f'Cannot read "{name}" as a picture.', "PNG and JPEG files work.") from error


def read_photo(path: Path) -> Picture:
    """Return a photo as anybody would see it: [h, w, 3] sRGB, upright.

    EXIF orientation and colour profiles are applied, CMYK, palettes, grey and 16 bits become RGB, and what is
    transparent lies over grey. Of an animation the first frame is taken.

    Raises:
        InputError: if the file is missing, damaged, or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if not path.stat().st_size:
            raise InputError(f'"{path}" is empty.', "It has no bytes: copy it again.")
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # of many pixels and of odd EXIF; what is wrong raises
            image.load()
            return _eight_bit_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        if path.suffix.lower() in (".heic", ".heif"):
            raise InputError(f'"{path}" is a HEIC picture, which cannot be read.', "Save it as a JPEG.") from error
        if path.read_bytes()[:4] in _TIFF:  # Pillow knows 8 and 16 bits, and floating point only in grey
            raise InputError(
                f'"{path}" is a TIFF of a kind that cannot be read, such as floating point.',
                "Save it with 8 or 16 bits a colour.",
            ) from error
        raise InputError(f'"{path}" is no picture.', "JPEG, PNG, WebP and TIFF files work.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f'"{path}" has too many pixels.', "Make it smaller, up to 170 million pixels.") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        raise InputError(f'Cannot read "{path}": {reason}.', "JPEG, PNG, WebP and TIFF files work.") from error


@dataclass(frozen=True)
class Frame:
    """A picture of a film.

    Attributes:
        picture: [h, w, 3] sRGB, upright.
        time: seconds since the first frame; rising.
    """

    picture: Picture
    time: float


def is_clip(path: Path) -> bool:
    """Say whether a file is a film by its name."""
    return path.suffix.lower() in _CLIPS


def is_photo(path: Path) -> bool:
    """Say whether a file is a photo by its name; HEIC too, which cannot be read."""
    return path.suffix.lower() in _PHOTOS


def read_clip(path: Path) -> Iterator[Frame]:
    """Yield the frames of a film in the order of their times, upright as a player would show them.

    Raises:
        InputError: if the file is missing, damaged from its start, or has no pictures. If a later part is damaged, the
            frames before it are all there is.
    """
    import av
    from av.error import FFmpegError
    from av.stream import Disposition

    seen = False
    try:
        with av.open(str(path)) as film:
            streams = [stream for stream in film.streams.video if not stream.disposition & Disposition.attached_pic]
            if not streams:
                raise InputError(f'"{path}" has no pictures, only sound.', "Give a video.")
            streams[0].thread_type = "AUTO"
            step = float(1 / (streams[0].average_rate or 25))
            start, time = None, -step
            for frame in film.decode(streams[0]):  # in the order in which they are shown
                start = frame.time if start is None else start
                time = _time_after(time, frame.time, start, step)
                picture = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
                yield Frame(np.ascontiguousarray(picture, np.uint8), time)
                seen = True
    except (FFmpegError, OSError) as error:
        if not seen:
            reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "it is damaged"
            raise InputError(f'Cannot read "{path}" as a video: {reason}.', "MP4, MOV and WebM files work.") from error
    else:
        if not seen:
            raise InputError(f'"{path}" is a video without a single frame.', "Record it again.")


def frame_count(path: Path) -> int:
    """Return how many frames a film says that it has; 0 where it says nothing, or cannot be read."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as film:
            return max((stream.frames for stream in film.streams.video), default=0)
    except (FFmpegError, OSError):
        return 0


def has_sound(path: Path) -> bool:
    """Say whether a film can be heard; one that cannot be read is silent."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as film:
            return bool(film.streams.audio)
    except (FFmpegError, OSError):
        return False


def _time_after(before: float, said: float | None, start: float | None, step: float) -> float:
    """Return when a frame is shown, in seconds since the first.

    Args:
        before: the frame before it.
        said: what the file says, or None.
        start: what it says of the first frame that has a time.
        step: a frame later, where the file says nothing or goes back (a damaged film, or two that were joined).
    """
    time = None if said is None or start is None else float(said - start)
    return time if time is not None and time > before else before + step


def read_provenance(path: Path) -> dict[str, Any]:
    """Return what `write_png` stored about a picture; {} if it says nothing."""
    text = iio.immeta(path, plugin="pillow").get(PROVENANCE)
    return json.loads(text) if text else {}


def statement(provenance: Mapping[str, Any]) -> str:
    """Return the provenance as the JSON that files carry: what made them, and that it was a program."""
    said = {"generator": f"Neural Portrait {__version__}", "synthetic": True, **provenance}
    return json.dumps(said, sort_keys=True, ensure_ascii=True)


def _eight_bit_rgb(image: Image.Image) -> Picture:
    """Return any still picture as [h, w, 3] sRGB."""
    from PIL import Image

    if image.mode in _MORE_BITS or image.mode.startswith("I;16"):
        levels = np.asarray(image, np.float64)
        # Integers come from files with 16 bits; floating point has white at 1.
        grey = np.rint(np.clip(levels * (255 if image.mode == "F" else 1 / 257), 0, 255)).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    transparent = image.mode in _TRANSPARENT or "transparency" in image.info
    image = _in_srgb(image)
    if not transparent:
        return np.asarray(image.convert("RGB"))
    backdrop = Image.new("RGBA", image.size, (*_BEHIND, 255))
    return np.asarray(Image.alpha_composite(backdrop, image.convert("RGBA")).convert("RGB"))


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return a picture with its colour profile applied; itself if it has none that can be used."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    target = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=target)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


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
