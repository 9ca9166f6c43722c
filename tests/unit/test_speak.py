# SPDX-License-Identifier: Apache-2.0
"""From a recording to curves: through the function, the command, the worker and `animate`."""

import json
import math

import av
import numpy as np
import pytest
import torch

from neural_core import checkpoints, cli, curves, models, protocol
from neural_core.audio import speech
from neural_core.audio.lipsync import JAW, MOUTH, LipSync, LipSyncConfig, load
from neural_core.audio.rhythm import hear
from neural_core.audio.speech import Manner
from neural_core.errors import ModelError, PortraitError, UsageError
from neural_core.human.arkit import ACTIONS
from neural_core.worker.engine import Engine
from tests import moving_ball, toy_speech

SECONDS = 3.0


def loud_jaw() -> LipSync:
    """A network that opens the jaw as loudly as the middle bands sound, and purses the lips evenly."""
    network = LipSync(LipSyncConfig(channels=1, dilations=()))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.listen.weight[0, 20:60, 2] = 1 / 40
        network.listen.bias[0] = 3.0
        network.tell.weight[JAW, 0] = 3.0
        network.tell.bias[:] = -30.0
        network.tell.bias[JAW] = -9.0
        network.tell.bias[MOUTH.index("mouthPucker")] = math.log(0.2 / 0.8)
    return network


def save(path, system="lipsync"):
    network = loud_jaw()
    config = {"channels": 1, "dilations": [], "parted": 0.3, "shut": 0.7}
    licence = {"licence": "CC0-1.0", "use": "any"}
    checkpoints.save(path, network.state_dict(), system, config, licence)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a recording, and the lip-sync model that the user's folder puts in the place of the shipped one."""
    monkeypatch.setenv("NEURAL_PORTRAIT_MODELS", str(tmp_path))
    save(tmp_path / "lipsync.safetensors")
    toy_speech.write_wav(tmp_path / "s.wav", toy_speech.sound(SECONDS, 0))
    return tmp_path


def action(found, name):
    return found.actions[:, ACTIONS.index(name)]


def test_the_mouth_does_what_is_heard_when_it_is_heard(folder):
    found = speech.speak(folder / "s.wav", Manner(gestures=0))
    assert (len(found), found.fps) == (75, 25.0)
    times = np.arange(75) / 25
    jaw = action(found, "jawOpen")
    lags = {
        lag: np.corrcoef(jaw[5:-5], toy_speech.jaw(times + lag / 25, 0)[5:-5])[0, 1] for lag in (-3, -2, -1, 0, 1, 2, 3)
    }
    assert max(lags, key=lags.get) == 0
    assert lags[0] > 0.75
    assert action(found, "mouthPucker") == pytest.approx(0.2, abs=1e-6)
    assert not found.head.any()
    assert not action(found, "eyeBlinkLeft").any()


@pytest.mark.parametrize("fps", [10.0, 24.0, 59.94, 120.0])
def test_any_rate_is_the_same_motion(folder, fps):
    found, fine = (speech.speak(folder / "s.wav", Manner(fps=rate, gestures=0)) for rate in (fps, 50.0))
    assert len(found) == round(SECONDS * fps)
    at = np.arange(len(found)) / fps
    expected = np.interp(at, np.arange(len(fine)) / 50, action(fine, "jawOpen"))
    np.testing.assert_allclose(action(found, "jawOpen")[:-3], expected[:-3], atol=1e-6)


def test_strength_is_the_size_of_the_mouths_movements(folder):
    one, half, large = (action(speech.speak(folder / "s.wav", Manner(strength=s)), "jawOpen") for s in (1, 0.5, 3))
    np.testing.assert_allclose(half, one / 2, atol=1e-9)
    np.testing.assert_allclose(large, (3 * one).clip(max=1.0), atol=1e-9)


def test_gestures_begin_and_end_at_rest_and_depend_on_the_seed_alone(folder):
    found, again, other = (speech.speak(folder / "s.wav", Manner(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(found.head, again.head)
    np.testing.assert_array_equal(found.actions, again.actions)
    assert np.abs(found.head - other.head).max() > np.radians(0.3)
    degrees = np.degrees(np.abs(found.head))
    assert degrees[0].max() < 1e-6
    assert degrees[-1].max() < 0.2
    assert 0.5 < degrees.max() < 20
    np.testing.assert_array_equal(action(found, "jawOpen"), action(other, "jawOpen"))
    twice = speech.speak(folder / "s.wav", Manner(seed=1, gestures=2.0))
    # The slow sway is always there; nods and brows grow.
    assert np.abs(twice.head[:, 1]).sum() >= np.abs(found.head[:, 1]).sum() * 0.9


def test_people_blink_at_pauses_of_what_they_say():
    """Five minutes of speech with a pause every two seconds."""
    rate = 100
    times = np.arange(300 * rate) / rate
    level = np.where(times % 2 < 1.7, -20 + 6 * np.sin(2 * np.pi * 4 * times), -80.0)
    rhythm = hear(level, rate)
    assert rhythm.seconds == 300
    np.testing.assert_allclose(rhythm.phrase_ends, np.arange(150) * 2 + 1.7, atol=0.02)
    # Four syllables a second, of which each is as loud as the next.
    middles = np.array([stress.middle for stress in rhythm.stresses])
    away = np.abs((middles * 4) % 1 - 0.25)
    assert (away < 0.2).mean() > 0.95
    assert 600 < len(middles) <= 300 / 2 * 7


def test_the_silence_before_the_first_sound_is_no_pause_between_phrases():
    level = np.repeat([-80.0, -20.0, -80.0], [50, 100, 50])
    assert hear(level, 100).phrase_ends == pytest.approx((1.5,))


def test_a_recording_in_which_nobody_speaks_has_no_stress():
    assert hear(np.full(500, -80.0), 100).stresses == ()
    assert hear(np.full(500, -80.0), 100).phrase_ends == ()


@pytest.mark.parametrize("change", [{"fps": 5}, {"fps": math.nan}, {"strength": -1}, {"gestures": 4}, {"seed": -1}])
def test_manners_that_make_no_sense_are_refused(change):
    with pytest.raises(UsageError):
        Manner(**change)


def test_a_model_of_another_kind_or_a_damaged_one_is_a_sentence(folder):
    save(folder / "other.safetensors", "eg3d")
    with pytest.raises(ModelError, match="makes no lips of sound"):
        load(models.find("other"))
    data = (folder / "lipsync.safetensors").read_bytes()
    (folder / "lipsync.safetensors").write_bytes(data.replace(b'\\"parted\\"', b'\\"partes\\"'))
    with pytest.raises(ModelError, match="partes"):
        load(models.find("lipsync"))
    with pytest.raises(ModelError, match='no model "lipsynk"'):
        speech.speak(folder / "s.wav", model="lipsynk")


# The command -------------------------------------------------------------------------------------------------------


def run(*words):
    return cli.main([str(word) for word in words])


def test_the_command_writes_curves_that_say_the_same(folder, capsys):
    assert run("speak", folder / "s.wav", "--out", folder / "c.json", "--fps", 30, "--seed", 4, "--json") == 0
    read = curves.read_curves(folder / "c.json")
    expected = speech.speak(folder / "s.wav", Manner(fps=30, seed=4))
    np.testing.assert_allclose(read.actions, expected.actions, atol=1e-4)
    np.testing.assert_allclose(read.head, expected.head, atol=1e-4)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["frames"], said["fps"]) == (90, 30)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("none.wav", "--out", "c.json"), 1, "none.wav"),
        (("s.wav", "--out", "c.txt"), 2, ".json"),
        (("s.wav", "--out", "c.json", "--fps", "0"), 2, "frames a second"),
        (("s.wav", "--out", "c.json", "--model", "nobody"), 1, "nobody"),
        (("lipsync.safetensors", "--out", "c.json"), 1, "no sound file"),
    ],
)
def test_wrong_use_is_a_sentence_and_writes_nothing(folder, monkeypatch, capsys, words, code, says):
    monkeypatch.chdir(folder)
    assert run("speak", *words) == code
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert not (folder / "c.json").exists()


def test_animate_makes_a_film_that_is_heard(folder, monkeypatch, capsys):
    moving_ball.register(monkeypatch)
    moving_ball.save(folder / "ball.safetensors")
    assert run("generate", "--model", "ball", "--out", folder / "p.portrait") == 0
    options = ("--out", folder / "f.mp4", "--size", 32, "--background", "black", "--frames", 50)
    assert run("animate", folder / "p.portrait", "--drive", folder / "s.wav", *options) == 0
    assert "last 1.0 s" in capsys.readouterr().err
    with av.open(str(folder / "f.mp4")) as film:
        radii = [np.sqrt((f.to_ndarray(format="rgb24")[..., 1] > 64).sum() / np.pi) for f in film.decode(video=0)]
    with av.open(str(folder / "f.mp4")) as film:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
        rate = film.streams.audio[0].rate
    assert len(radii) == 50
    jaw = action(speech.speak(folder / "s.wav"), "jawOpen")[:50]
    assert np.corrcoef(radii, jaw)[0, 1] > 0.9
    assert len(heard) / rate == pytest.approx(2.0, abs=0.06)
    blocks = np.abs(heard[: 50 * rate // 25].reshape(50, -1)).mean(1)
    assert np.corrcoef(blocks, toy_speech.loudness_of((np.arange(50) + 0.5) / 25, 0))[0, 1] > 0.9


# The worker --------------------------------------------------------------------------------------------------------


def ask(request):
    return list(Engine("cpu", lambda message: None).answer(request, lambda *_: None))


def test_the_worker_tells_curves_by_name(folder):
    (done,) = ask(protocol.Speak(3, str(folder / "s.wav"), 24.0, 0.5, 1.0, 9))
    assert isinstance(done, protocol.Done)
    assert done.fields["fps"] == 24
    assert done.fields["seconds"] == pytest.approx(SECONDS)
    sent = done.arrays["curves"]
    values = np.frombuffer(sent.data, "<f4").reshape(sent.shape)
    expected = speech.speak(folder / "s.wav", Manner(24.0, 0.5, 1.0, 9))
    columns = dict(zip(done.fields["names"], values.T, strict=True))
    np.testing.assert_allclose(columns["jawOpen"], action(expected, "jawOpen"), atol=1e-4)
    np.testing.assert_allclose(columns["headYaw"], expected.head[:, 0], atol=1e-4)
    assert "cheekPuff" not in columns


def test_the_worker_refuses_in_sentences(folder):
    with pytest.raises(PortraitError, match="No such file"):
        ask(protocol.Speak(3, str(folder / "none.wav")))
    with pytest.raises(UsageError, match="strength"):
        ask(protocol.Speak(3, str(folder / "s.wav"), strength=-2.0))
