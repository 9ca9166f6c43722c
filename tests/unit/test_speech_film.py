# SPDX-License-Identifier: Apache-2.0
"""A film with sound: what a decoder finds in it is what was put in."""

import io
import json

import av
import numpy as np

from training.synthetic.speech.clip import SAMPLE_RATE
from training.synthetic.speech.film import with_sound


def test_a_film_has_its_frames_and_its_sound():
    count = 50
    frames = [np.full((64, 48, 3), (5 * k, 128, 250 - 5 * k), np.uint8) for k in range(count)]
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    # A tone of 440 Hz in the second second, silence before.
    audio = np.rint(9000 * np.sin(2 * np.pi * 440 * times) * (times >= 1)).astype(np.int16)
    data = with_sound(iter(frames), audio, 25.0)
    with av.open(io.BytesIO(data)) as film:
        video, sound = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, float(video.average_rate or 0)) == (48, 64, 25.0)
        assert json.loads(film.metadata["comment"])["synthetic"] is True
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video)]
    with av.open(io.BytesIO(data)) as film:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(film.streams.audio[0])])
    assert len(pictures) == count
    for picture, frame in zip(pictures, frames, strict=True):
        assert np.abs(picture.mean((0, 1)) - frame.mean((0, 1))).max() < 8
    # The coder's blocks of 1024 samples may add up to two at the ends.
    assert abs(len(heard) - len(audio)) <= 2 * 1024
    before, after = heard[: int(0.9 * SAMPLE_RATE)], heard[int(1.1 * SAMPLE_RATE) : int(1.8 * SAMPLE_RATE)]
    assert np.abs(before).max() < 0.02 * np.abs(after).max()
    spectrum = np.abs(np.fft.rfft(after))
    assert abs(np.fft.rfftfreq(len(after), 1 / SAMPLE_RATE)[spectrum.argmax()] - 440) < 5
