# SPDX-License-Identifier: Apache-2.0
"""A film with sound: what a decoder finds in it is what was put in."""

import json

import av
import numpy as np
import pytest

from neural_core import media
from neural_core.audio.io import Track

RATE = 16000


def tone(seconds: float, begins: float) -> np.ndarray:
    """A tone of 440 Hz that begins after silence."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * times) * (times >= begins)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_film_has_its_frames_and_its_sound(tmp_path, channels):
    count = 50
    frames = [np.full((64, 48, 3), (5 * k, 128, 250 - 5 * k), np.uint8) for k in range(count)]
    # The second channel, where there is one, is silent.
    track = Track(np.stack([tone(2.0, 1.0), np.zeros(2 * RATE, np.float32)][:channels]), RATE)
    path = tmp_path / "a.mp4"
    assert media.write_mp4(path, iter(frames), 25.0, {"seed": 7}, track) == count
    with av.open(str(path)) as film:
        video, sound = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, float(video.average_rate or 0)) == (48, 64, 25.0)
        assert json.loads(film.metadata["comment"])["seed"] == 7
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video)]
    with av.open(str(path)) as film:
        heard = np.concatenate([frame.to_ndarray() for frame in film.decode(film.streams.audio[0])], axis=1)
    assert len(pictures) == count
    for picture, frame in zip(pictures, frames, strict=True):
        assert np.abs(picture.mean((0, 1)) - frame.mean((0, 1))).max() < 8
    assert len(heard) == channels
    # The coder's blocks of 1024 samples may add up to two at the ends.
    assert abs(heard.shape[1] - 2 * RATE) <= 2 * 1024
    before, after = heard[0, : int(0.9 * RATE)], heard[0, int(1.1 * RATE) : int(1.8 * RATE)]
    assert np.abs(before).max() < 0.02 * np.abs(after).max()
    spectrum = np.abs(np.fft.rfft(after))
    assert abs(np.fft.rfftfreq(len(after), 1 / RATE)[spectrum.argmax()] - 440) < 5
    assert np.abs(heard[1:]).max(initial=0.0) < 0.01


@pytest.mark.parametrize(("seconds", "expected"), [(4.0, 2.0), (1.0, 1.0)])
def test_sound_ends_with_the_pictures_or_before(tmp_path, seconds, expected):
    frames = [np.zeros((32, 32, 3), np.uint8)] * 50
    media.write_mp4(tmp_path / "a.mp4", frames, 25.0, {}, Track(tone(seconds, 0.0)[None], RATE))
    with av.open(str(tmp_path / "a.mp4")) as film:
        heard = sum(frame.samples for frame in film.decode(audio=0)) / RATE
    assert heard == pytest.approx(expected, abs=2 * 1024 / RATE)


def test_sound_lies_beside_the_pictures_that_it_goes_with(tmp_path):
    """Whoever plays the film while it is loaded hears it: no second of sound lies far from its pictures."""
    frames = [np.random.default_rng(k).integers(0, 255, (32, 32, 3), np.uint8) for k in range(250)]
    media.write_mp4(tmp_path / "a.mp4", frames, 25.0, {}, Track(tone(10.0, 0.0)[None], RATE))
    with av.open(str(tmp_path / "a.mp4")) as film:
        packets = [p for p in film.demux() if p.pts is not None and p.time_base is not None]
        places = {
            kind: np.array([[float(p.pts * p.time_base), p.pos] for p in packets if p.stream.type == kind])
            for kind in ("audio", "video")
        }
    size = (tmp_path / "a.mp4").stat().st_size
    video, audio = (places[kind][places[kind][:, 0].argsort()] for kind in ("video", "audio"))
    apart = np.abs(np.interp(audio[:, 0], video[:, 0], video[:, 1]) - audio[:, 1])
    assert apart.max() < 0.35 * size
