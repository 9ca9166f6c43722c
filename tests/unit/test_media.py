# SPDX-License-Identifier: Apache-2.0
"""Pictures and films: what is written is what is read, with its provenance."""

import struct
import zlib

import av
import numpy as np
import pytest

from neural_core import media
from neural_core.errors import InputError


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_keeps_every_pixel(tmp_path, noise, channels):
    path = tmp_path / "a.png"
    media.write_png(path, noise[..., :channels], {"seed": 7})
    assert np.array_equal(media.read_picture(path), noise[..., :channels])


def chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG by type, after the PNG specification."""
    found, position = {}, 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length)[0] == zlib.crc32(kind + body)
        found[kind] = body
        position += 12 + length
    return found


def test_a_png_says_that_it_is_srgb_and_where_it_comes_from(tmp_path, noise):
    path = tmp_path / "a.png"
    media.write_png(path, noise, {"seed": 7, "model": "default-eg3d"})
    found = chunks(path.read_bytes())
    assert found[b"sRGB"] == b"\0"
    assert found[b"tEXt"].startswith(b"provenance\0{")
    said = media.read_provenance(path)
    assert (said["seed"], said["model"], said["synthetic"]) == (7, "default-eg3d", True)
    assert said["generator"].startswith("Neural Portrait ")


def test_a_film_has_its_frames_and_says_where_it_comes_from(tmp_path):
    path = tmp_path / "a.mp4"
    frames = [np.full((33, 64, 3), 20 * i, np.uint8) for i in range(10)]
    assert media.write_mp4(path, iter(frames), 24.0, {"seed": 7}) == 10
    with av.open(str(path)) as film:
        assert film.streams.video[0].average_rate == 24
        assert '"seed": 7' in film.metadata["comment"]
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"
        read = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(read) == 10
    assert read[0].shape == (32, 64, 3)  # the odd row is cut
    for frame, expected in zip(read, frames, strict=True):
        assert abs(int(frame.mean()) - int(expected.mean())) <= 3


def test_a_film_whose_frames_fail_is_not_written(tmp_path):
    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise KeyError("stopped")

    with pytest.raises(KeyError):
        media.write_mp4(tmp_path / "a.mp4", frames(), 24.0, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_is_a_sentence(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match="Cannot read"):
        media.read_picture(path)
    with pytest.raises(InputError, match="Cannot read"):
        media.read_picture(tmp_path / "none.png")


def test_straight_alpha_undoes_premultiplication():
    straight, opacity = np.array([[[0.2, 0.4, 0.8]] * 4]), np.array([[1.0, 0.5, 0.1, 0.0]])
    picture = media.straight_alpha(straight * opacity[..., None], opacity)
    assert picture[0, :3, :3].tolist() == [[51, 102, 204]] * 3
    assert picture[0, :, 3].tolist() == [255, 128, 26, 0]
    assert picture[0, 3].tolist() == [0, 0, 0, 0]


def test_over_a_background_is_the_usual_mixture():
    picture = np.array([[[200, 100, 0, 255], [200, 100, 0, 51], [200, 100, 0, 0]]], np.uint8)
    assert media.over(picture, (0, 50, 100)).tolist() == [[[200, 100, 0], [40, 60, 80], [0, 50, 100]]]
