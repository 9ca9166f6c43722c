# SPDX-License-Identifier: Apache-2.0
"""Sound files of many kinds become the same samples; bad ones become a sentence."""

import struct
import wave

import av
import numpy as np
import pytest
from scipy.signal import resample_poly

from neural_core.audio import io
from neural_core.errors import InputError

SECONDS = 1.5


def chirp(rate: int) -> np.ndarray:
    """Two tones, [n] in -0.5..0.5, with silence at both ends, which codecs blur."""
    times = np.arange(round(SECONDS * rate)) / rate
    inside = (times > 0.2) & (times < 1.3)
    return inside * (0.3 * np.sin(2 * np.pi * 300 * times) + 0.2 * np.sin(2 * np.pi * 1700 * times))


def write_wav(path, samples, rate, width=2):
    """Samples [n] or [n, channels] in -1..1."""
    whole = np.rint(samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
    data = whole.astype("<i4").tobytes() if width == 4 else whole.astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)


def encode(path, codec, rate=44100):
    samples = np.rint(chirp(rate) * 32767).astype(np.int16)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("width", [2, 4])
def test_wav_of_any_rate_and_width_is_the_same_sound(tmp_path, rate, width):
    write_wav(tmp_path / "a.wav", chirp(rate), rate, width)
    sound = io.read_sound(tmp_path / "a.wav")
    assert sound.dtype == np.float32
    expected = resample_poly(chirp(48000), 1, 3)
    assert len(sound) == pytest.approx(len(expected), abs=20)
    count = min(len(sound), len(expected))
    inner = slice(int(0.3 * 16000), int(1.2 * 16000))
    assert np.abs(sound[:count] - expected[:count])[inner].max() < 0.01


def test_channels_are_mixed_evenly(tmp_path):
    left = chirp(16000)
    write_wav(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], 1), 16000)
    assert np.abs(io.read_sound(tmp_path / "a.wav") - left / 2).max() < 1e-3


@pytest.mark.parametrize(("suffix", "codec"), [(".flac", "flac"), (".mp3", "libmp3lame"), (".m4a", "aac")])
def test_packed_sound_and_films_are_read(tmp_path, suffix, codec):
    encode(tmp_path / f"a{suffix}", codec)
    sound = io.read_sound(tmp_path / f"a{suffix}")
    assert len(sound) / io.SAMPLE_RATE == pytest.approx(SECONDS, abs=0.06)
    spectrum = np.abs(np.fft.rfft(sound[6000:18000]))
    hertz = np.fft.rfftfreq(12000, 1 / io.SAMPLE_RATE)
    assert sorted(hertz[np.argsort(spectrum)[-2:]]) == pytest.approx([300, 1700], abs=3)


@pytest.mark.parametrize(("there", "kept"), [(1, 1), (2, 2), (6, 1)])
def test_a_track_to_listen_to_has_a_full_rate_and_at_most_two_channels(tmp_path, there, kept):
    loudness = np.linspace(1.0, 0.5, there)
    write_wav(tmp_path / "a.wav", chirp(22050)[:, None] * loudness, 22050)
    track = io.read_track(tmp_path / "a.wav")
    assert (track.rate, len(track.samples)) == (48000, kept)
    assert track.samples.shape[1] == pytest.approx(SECONDS * 48000, abs=50)
    found = track.samples.std(1) / chirp(22050).std()
    assert found == pytest.approx(loudness if kept == there else [0.75], rel=0.01)


def test_a_wav_of_unknown_length_is_read(tmp_path):
    """As programs leave it that write into a pipe."""
    write_wav(tmp_path / "a.wav", chirp(16000), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(data)
    assert len(io.read_sound(tmp_path / "a.wav")) == SECONDS * 16000


def broken(folder):
    """File names and what their complaints say."""
    write_wav(folder / "whole.wav", chirp(16000), 16000)
    data = (folder / "whole.wav").read_bytes()
    (folder / "cut.wav").write_bytes(data[: len(data) // 2])
    (folder / "head.wav").write_bytes(data[:20])
    write_wav(folder / "none.wav", np.zeros(0), 16000)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("hello " * 100)
    (folder / "folder.wav").mkdir()
    encode(folder / "a.flac", "flac")
    flac = (folder / "a.flac").read_bytes()
    (folder / "torn.flac").write_bytes(flac[: len(flac) // 2])
    encode(folder / "a.m4a", "aac")
    packed = (folder / "a.m4a").read_bytes()
    (folder / "torn.m4a").write_bytes(packed[: len(packed) // 2])
    nonsense = np.full((1, 1600), np.nan, np.float32)
    with av.open(str(folder / "nan.wav"), "w") as file:
        stream = file.add_stream("pcm_f32le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(nonsense, format="flt", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    from neural_core import media

    media.write_mp4(folder / "silent.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3, 25, {})
    return {
        "cut.wav": "was cut: it has 50%",
        "head.wav": "was cut",
        "none.wav": "length 0",
        "empty.wav": "no sound file, or a damaged one",
        "text.wav": "no sound file, or a damaged one",
        "folder.wav": "Is a directory",
        "absent.wav": "No such file",
        "torn.flac": "is damaged after",
        "torn.m4a": "no sound file, or a damaged one",
        "nan.wav": "numbers that are no sound",
        "silent.mp4": "has no sound",
    }


def test_bad_files_are_a_sentence_that_names_them(tmp_path):
    complaints = broken(tmp_path)
    for name, says in complaints.items():
        with pytest.raises(InputError) as raised:
            io.read_sound(tmp_path / name)
        assert says in raised.value.message, name
        assert name in raised.value.message
        assert raised.value.hint
    assert len(io.read_sound(tmp_path / "whole.wav")) == SECONDS * 16000


def test_a_long_recording_is_refused_before_all_of_it_is_read(tmp_path, monkeypatch):
    write_wav(tmp_path / "a.wav", chirp(16000), 16000)
    monkeypatch.setattr(io, "LONGEST", 1.2)
    with pytest.raises(InputError, match="longer than"):
        io.read_sound(tmp_path / "a.wav")
