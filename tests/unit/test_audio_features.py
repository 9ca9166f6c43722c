# SPDX-License-Identifier: Apache-2.0
"""Log-mel spectrograms against a slow transform of one's own, and what levelling takes away."""

import numpy as np
import pytest
import torch

from neural_core.audio import features
from neural_core.audio.features import BANDS, HOP, levelled, log_mel, loudness, mel_filters

RATE = 16000


def speech_like(seconds=1.0, seed=0):
    """Noise in syllables, [1, n]: loud and soft, with silence at the end."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    envelope = np.clip(np.sin(2 * np.pi * 3 * times), 0, 1) * (times < 0.8 * seconds)
    return torch.from_numpy((0.2 * envelope * rng.standard_normal(len(times)))[None]).float()


def slow_log_mel(sound: np.ndarray, frame: int) -> np.ndarray:
    """One frame, from the formulas: a Fourier sum for each frequency, and triangles in mel."""
    around = np.zeros(400)
    for k in range(400):
        at = frame * 160 - 200 + k
        if 0 <= at < len(sound):
            around[k] = sound[at] * 0.5 * (1 - np.cos(2 * np.pi * k / 400))
    hertz = np.arange(513) * 16000 / 1024
    sums = np.array([(around * np.exp(-2j * np.pi * f * np.arange(400) / 16000)).sum() for f in hertz])
    power = np.abs(sums) ** 2 * (2 / 200) ** 2  # the window's samples add up to 200

    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    corners = np.linspace(mel(60), mel(7600), 82)
    corners = 700 * (10 ** (corners / 2595) - 1)
    bands = [power @ np.interp(hertz, corners[b : b + 3], [0, 1, 0]) for b in range(80)]
    return 10 * np.log10(np.maximum(bands, 1e-10))


def test_frames_are_those_of_the_formulas():
    sound = speech_like(0.4)
    found = log_mel(sound)[0].numpy()
    assert found.shape == (0.4 * RATE // HOP + 1, BANDS)
    for frame in (0, 7, 21, 40):
        np.testing.assert_allclose(found[frame], slow_log_mel(sound[0].numpy().astype(float), frame), atol=0.02)


def test_long_sound_is_cut_into_parts_without_a_seam(monkeypatch):
    sound = speech_like(0.6)
    whole = log_mel(sound)
    monkeypatch.setattr(features, "_CHUNK", 7)
    torch.testing.assert_close(log_mel(sound), whole)


def test_every_filter_hears_something_and_only_where_it_is():
    filters = mel_filters()
    assert (filters.amax(1) > 0.4).all()
    assert (filters.argmax(1).diff() >= 0).all()
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)[None]
    frame = log_mel(sine)[0, 50]
    assert 0 <= frame.max() <= 5
    centre = 2595 * np.log10(1 + 1000 / 700)
    expected = (centre - 97.4) / (2787.1 - 97.4) * 81 - 1
    assert int(frame.argmax()) == pytest.approx(expected, abs=1)
    assert frame[: int(frame.argmax()) - 12].max() < -60


def test_a_larger_head_moves_what_is_heard_down():
    """Filters whose centres are 1.1 times higher see what 1.1 times higher sound has in the ordinary ones."""
    times = torch.arange(RATE) / RATE
    low, high = (torch.sin(2 * torch.pi * f * times)[None] for f in (1000.0, 1100.0))
    plain, stretched = log_mel(low)[0, 50], log_mel(high, mel_filters(1.1))[0, 50]
    assert int(plain.argmax()) == int(stretched.argmax())
    assert int(log_mel(high)[0, 50].argmax()) > int(plain.argmax())


def test_loudness_is_that_of_the_samples():
    quiet, loud = (loudness(log_mel(gain * speech_like()))[0] for gain in (0.1, 1.0))
    assert (loud - quiet)[3:13].median() == pytest.approx(20, abs=0.1)


def test_levelling_forgets_gain_and_microphone():
    mel = log_mel(speech_like(2.0))
    plain = levelled(mel)
    torch.testing.assert_close(levelled(mel - 20), plain, atol=0.02, rtol=0)
    microphone = 6 * torch.cos(torch.linspace(0, 3, BANDS))
    speaking = loudness(mel)[0] > loudness(mel)[0].quantile(0.95) - 10
    difference = (levelled(mel + microphone) - plain)[0, speaking]
    assert difference.abs().mean() < 0.1 * (microphone / 20).std()
    # Not so without it.
    assert (microphone / 20).std() > 0.15


def test_silence_stays_silent():
    for sound in (torch.zeros(1, RATE), 1e-4 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))):
        heard = levelled(log_mel(sound))
        assert heard.isfinite().all()
        assert heard.std() < 0.2
