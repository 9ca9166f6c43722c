# SPDX-License-Identifier: Apache-2.0
"""Films for Sync: rates, the common beginning of pictures and sound, and faces that are not found for a while."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from neural_core.errors import InputError
from training.metrics import film as film_module
from training.metrics.film import face_tracks, film_sync, read_talking_film
from training.metrics.sync import Sync


def write_film(path, fps: int, frames: int, rate: int, click: float, late: float = 0.0, channels: int = 1) -> None:
    """Pictures that grow brighter by 5 a frame, and a click in the sound, which begins `late` seconds after them."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as container:  # which has no leading silence, as AAC in MP4 has
        video = container.add_stream("ffv1", rate=fps)
        video.width = video.height = 16
        video.pix_fmt = "bgr0"
        sound = container.add_stream("pcm_s16le", rate=rate, layout="stereo" if channels == 2 else "mono")
        wave = np.zeros((1, round(frames / fps * rate) * channels), np.int16)
        wave[0, round(click * rate) * channels :][: 20 * channels] = 20_000
        piece = av.AudioFrame.from_ndarray(wave, format="s16", layout="stereo" if channels == 2 else "mono")
        piece.sample_rate, piece.pts, piece.time_base = rate, round(max(late, 0) * rate), Fraction(1, rate)
        container.mux(sound.encode(piece))
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 5 * index, np.uint8), "rgb24")
            frame.pts, frame.time_base = index + round(max(-late, 0) * fps), Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    path.write_bytes(memory.getvalue())


@pytest.mark.parametrize(
    ("fps", "frames", "expected"),
    [
        (25, 10, range(10)),
        (50, 20, range(0, 20, 2)),
        (10, 4, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]),  # at 0, 40, 80 | 120, 160 | 200, 240, 280 | 320, 360 ms
        (25, 1, [0]),
    ],
)
def test_frames_are_those_that_a_player_shows(fps, frames, expected, tmp_path):
    write_film(tmp_path / "x.mkv", fps, frames, 16_000, 0.1)
    shown = read_talking_film(tmp_path / "x.mkv").frames[:, 0, 0, 0].astype(int) // 5
    assert shown.tolist() == list(expected)


@pytest.mark.parametrize("late", [0.0, 0.04, -0.08])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_sound_begins_with_the_pictures(late, rate, channels, tmp_path):
    write_film(tmp_path / "x.mkv", 25, 15, rate, click=0.2, late=late, channels=channels)
    sound = read_talking_film(tmp_path / "x.mkv").sound
    assert sound.dtype == np.int16
    assert np.abs(sound.astype(int)).argmax() == pytest.approx((0.2 + late) * 16_000, abs=24)
    assert np.abs(sound.astype(int)).max() == pytest.approx(20_000, rel=0.15)


def test_films_without_sound_and_other_files_are_a_sentence(tmp_path):
    with av.open(str(tmp_path / "mute.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width = video.height = 16
        video.pix_fmt = "bgr0"
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")))
        container.mux(video.encode(None))
    with pytest.raises(InputError, match="has no sound, or no pictures"):
        read_talking_film(tmp_path / "mute.mkv")
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(InputError, match="Cannot read the sound"):
        read_talking_film(tmp_path / "text.mp4")


def test_the_face_is_followed_through_frames_where_it_is_lost():
    points = np.array([[10.0, 20.0], [30.0, 25.0], [20.0, 60.0]])
    tracks = face_tracks([points, None, points + 4, points + 4], "x")
    assert tracks[0].tolist() == [[10, 20], [30, 60]]
    assert tracks[1].tolist() == [[12, 22], [32, 62]]
    assert tracks[3].tolist() == [[14, 24], [34, 64]]
    with pytest.raises(InputError, match='"x" shows a face in only 2 of 4 frames'):
        face_tracks([points, None, points, None], "x")


def test_a_film_is_cut_and_compared(tmp_path, monkeypatch):
    """FaceMesh and SyncNet are stood in for: what reaches the comparison are crops of all frames, and the sound."""
    write_film(tmp_path / "x.mkv", 25, 12, 16_000, 0.1)
    monkeypatch.setattr(film_module, "detect", lambda pictures: [np.array([[2.0, 2.0], [14.0, 14.0]])] * len(pictures))
    seen = []
    monkeypatch.setattr(film_module, "sync", lambda *given: seen.append(given) or Sync(1.0, 2.0, 3))
    assert film_sync("network", tmp_path / "x.mkv") == Sync(1.0, 2.0, 3)
    ((network, crops, sound),) = seen
    assert network == "network"
    assert crops.shape == (12, 3, 224, 224)
    torch.testing.assert_close(crops[:, 0, 80, 112], torch.arange(12) * 5 / 255)
    assert len(sound) == 12 * 640
