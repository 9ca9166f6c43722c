# SPDX-License-Identifier: Apache-2.0
"""Photos and clips of every kind are read as anybody would see them; what cannot be read is one sentence."""

import struct

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from neural_core import media
from neural_core.errors import InputError


def gradient(height=48, width=64):
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([columns * 255 / (width - 1), rows * 255 / (height - 1), 255 - columns * 255 / (width - 1)], -1)
    return np.rint(picture).astype(np.uint8)


def test_a_plain_photo_is_what_it_is(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(media.read_photo(tmp_path / "a.png"), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    """Where the file's first row and first column are in the picture (EXIF 2.3, tag 274), pixel by pixel."""
    upright = gradient()
    height, width = upright.shape[:2]
    shape = (height, width) if orientation < 5 else (width, height)
    r, c = np.indices(shape)
    rows, columns = {
        1: (r, c),  # top, left
        2: (r, width - 1 - c),  # top, right
        3: (height - 1 - r, width - 1 - c),  # bottom, right
        4: (height - 1 - r, c),  # bottom, left
        5: (c, r),  # left, top
        6: (c, width - 1 - r),  # right, top
        7: (height - 1 - c, width - 1 - r),  # right, bottom
        8: (height - 1 - c, r),  # left, bottom
    }[orientation]
    stored = upright[rows, columns]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(media.read_photo(tmp_path / "a.png"), upright)


def test_sixteen_bits_become_eight(tmp_path):
    levels = np.linspace(0, 65535, 64 * 32).reshape(32, 64).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "grey.png")
    read = media.read_photo(tmp_path / "grey.png")
    assert read.shape == (32, 64, 3)
    assert np.abs(read[..., 0] - levels / 65535 * 255).max() <= 0.5
    Image.fromarray((levels / 65535).astype(np.float32)).save(tmp_path / "real.tif")
    assert np.abs(media.read_photo(tmp_path / "real.tif")[..., 1] - levels / 65535 * 255).max() <= 0.5


def test_cmyk_and_palettes_become_rgb(tmp_path):
    colours = np.repeat(np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 16, 0), 16, 1)
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert np.abs(media.read_photo(tmp_path / "a.jpg").astype(int) - colours).max() < 12
    Image.fromarray(colours).quantize(4).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(media.read_photo(tmp_path / "a.gif"), colours)


def test_what_is_transparent_lies_over_grey(tmp_path):
    picture = np.full((8, 8, 4), 200, np.uint8)
    picture[..., 3] = np.arange(8) * 36
    Image.fromarray(picture).save(tmp_path / "a.png")
    cover = picture[..., 3:] / 255
    expected = 200 * cover + 128 * (1 - cover)
    assert np.abs(media.read_photo(tmp_path / "a.png") - expected).max() <= 1


def test_a_colour_profile_is_applied(tmp_path):
    """A profile whose curve is linear: half of the light is 188 of 255 in sRGB."""
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(linear.tobytes())
    assert media.read_photo(saved(tmp_path, bytes(data)))[0, 0, 0] == 128  # sRGB's own profile changes nothing
    # Every curve of the profile becomes "curv" with no entries, which means linear (ICC.1:2022, 10.6).
    count = struct.unpack(">I", data[128:132])[0]
    for entry in range(count):
        name, offset, _ = struct.unpack(">4sII", data[132 + 12 * entry : 144 + 12 * entry])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            data[offset : offset + 12] = b"curv" + bytes(8)
    assert abs(int(media.read_photo(saved(tmp_path, bytes(data)))[0, 0, 0]) - 188) <= 1


def saved(folder, profile):
    Image.fromarray(np.full((4, 4, 3), 128, np.uint8)).save(folder / "p.png", icc_profile=profile)
    return folder / "p.png"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.png", b"hello", "is no picture"),
        ("photo.heic", b"\0\0\0\x18ftypheic", "HEIC"),
        ("missing.jpg", None, "No such file"),
    ],
)
def test_no_picture_is_one_sentence(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        media.read_photo(tmp_path / name)
    assert name in caught.value.message


def test_a_tiff_of_an_odd_kind_is_one_sentence(tmp_path):
    """Three floating-point channels: tags of TIFF 6.0 by hand, four bytes each, little-endian."""
    tags = {256: 2, 257: 2, 258: 170, 259: 1, 262: 2, 273: 182, 277: 3, 278: 2, 279: 48, 284: 1, 339: 176}
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 3, value) if tag in (258, 339) else struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in tags.items()
    )
    header = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    header = header.ljust(170, b"\0") + struct.pack("<3H", 32, 32, 32) + struct.pack("<3H", 3, 3, 3)
    (tmp_path / "real.tif").write_bytes(header + np.full((2, 2, 3), 0.5, np.float32).tobytes())
    with pytest.raises(InputError, match="is a TIFF of a kind that cannot be read"):
        media.read_photo(tmp_path / "real.tif")


def test_a_cut_picture_is_one_sentence(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    with pytest.raises(InputError, match="damaged"):
        media.read_photo(tmp_path / "cut.jpg")


def test_a_clip_is_read_frame_by_frame(tmp_path):
    levels = [20 * i for i in range(10)]
    media.write_mp4(tmp_path / "a.mp4", [np.full((32, 64, 3), level, np.uint8) for level in levels], 25, {})
    frames = list(media.read_clip(tmp_path / "a.mp4"))
    assert [frame.picture.shape for frame in frames] == [(32, 64, 3)] * 10
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(10) / 25, atol=1e-6)
    np.testing.assert_allclose([frame.picture.mean() for frame in frames], levels, atol=3)


def test_times_rise_whatever_the_file_says():
    """At 10 frames a second: it begins at 5, says nothing once, and goes back once."""
    time, times = -0.1, []
    for said in (5.0, 5.1, None, 5.35, 2.0, 5.6):
        time = media._time_after(time, said, 5.0, 0.1)
        times.append(time)
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.35, 0.45, 0.6])
    assert media._time_after(-0.1, None, None, 0.1) == 0


def test_a_clip_of_a_turned_phone_is_upright(tmp_path):
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :16] = 250  # its left
    media.write_mp4(tmp_path / "a.mp4", [picture] * 3, 25, {})
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    # The matrix of the track header (ISO 14496-12, 8.3.2) that turns a quarter clockwise: left becomes top.
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    upright = next(media.read_clip(tmp_path / "turned.mp4")).picture
    assert upright.shape == (64, 32, 3)
    assert upright[:14].mean() > 240
    assert upright[20:].mean() < 10


def write_sound(path):
    with av.open(str(path), "w") as film:
        stream = film.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        for packet in (*stream.encode(sound), *stream.encode(None)):
            film.mux(packet)


def test_sound_without_pictures_is_one_sentence(tmp_path):
    write_sound(tmp_path / "sound.mp4")
    with pytest.raises(InputError, match="no pictures, only sound"):
        list(media.read_clip(tmp_path / "sound.mp4"))


def test_no_video_is_one_sentence(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"hello, this is no film at all")
    for name, says in (("empty.mp4", "damaged"), ("text.mp4", "damaged"), ("missing.mp4", "No such file")):
        with pytest.raises(InputError, match=says):
            list(media.read_clip(tmp_path / name))


def test_of_a_cut_clip_the_beginning_is_read(tmp_path):
    """An MPEG transport stream has no index that could be missing."""
    with av.open(str(tmp_path / "whole.ts"), "w", format="mpegts") as film:
        stream = film.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (64, 64, 3), np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    with av.open(str(tmp_path / "whole.ts")) as film:
        assert (film.streams.video[0].start_time or 0) > 0  # such streams do not begin at zero
    times = [frame.time for frame in media.read_clip(tmp_path / "whole.ts")]
    np.testing.assert_allclose(times, np.arange(50) / 25, atol=1e-4)
    data = (tmp_path / "whole.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[: len(data) // 2])
    assert 10 < len(list(media.read_clip(tmp_path / "cut.ts"))) < 50
