# SPDX-License-Identifier: Apache-2.0
"""What lips are learnt from: clips that are read, cut, played faster, and heard in rooms and noise."""

import numpy as np
import pytest
import torch

from neural_core.audio.features import BANDS, levelled, log_mel
from neural_core.audio.lipsync import CLOSE, JAW, MOUTH, LipSync, LipSyncConfig, mouth, values
from neural_core.errors import InputError
from tests import toy_speech
from training.data.speech import Piece, cut, load_spoken
from training.draws import Draws
from training.recipe import Step
from training.recipes import lipsync
from training.recipes.lipsync import AugmentConfig, Config, DataConfig, LipSyncRecipe

PLAIN = AugmentConfig(speed=1.0, head=1.0, room=0, noise=0, microphone=0, telephone=0, hidden=0, hush=0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    toy_speech.write_set(folder, 3)
    return load_spoken([folder])


def recipe(clips, **augment):
    config = Config(
        model=LipSyncConfig(channels=8, dilations=(1,)),
        data=DataConfig(seconds=1.0),
        augment=PLAIN if not augment else AugmentConfig(**{**PLAIN.__dict__, **augment}),
    )
    return LipSyncRecipe(config, clips, torch.device("cpu"))


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def test_clips_are_sound_and_mouths_of_one_length(clips):
    assert (len(clips), clips.minutes) == (3, pytest.approx(0.1))
    for seed, (sound, told) in enumerate(zip(clips.sounds, clips.mouths, strict=True)):
        assert sound.dtype == torch.int16
        assert told.shape == (101, len(MOUTH))
        times = np.arange(100) / 50
        np.testing.assert_allclose(told[:100, JAW] - told[:100, CLOSE], toy_speech.jaw(times, seed), atol=2e-4)
        # Lips that are pursed all the time are a mood.
        assert told[:, MOUTH.index("mouthPucker")].abs().max() == 0


def test_curves_of_another_rate_are_laid_in_time(tmp_path, clips):
    toy_speech.write_clip(tmp_path / "slow", 2.0, 0, fps=25.0)
    told = load_spoken([tmp_path]).mouths[0]
    even = slice(0, 98, 2)
    torch.testing.assert_close(told[even, JAW], clips.mouths[0][even, JAW])
    torch.testing.assert_close(told[1:97:2, JAW], (told[0:96:2, JAW] + told[2:98:2, JAW]) / 2)


def test_folders_without_clips_and_damaged_ones_are_sentences(tmp_path):
    with pytest.raises(InputError, match="no speech with curves"):
        load_spoken([tmp_path])
    toy_speech.write_clip(tmp_path / "a", 1.0, 0)
    assert len(load_spoken([tmp_path], limit=5)) == 1
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="no curves of ours"):
        load_spoken([tmp_path])


def test_a_piece_is_where_it_says_and_silent_beyond_the_clip(clips):
    sound, told = cut(clips, Piece(0, 0.5, 1.0), 11)
    torch.testing.assert_close(sound, clips.sounds[0][8000:11200].float() / 32768)
    torch.testing.assert_close(told, clips.mouths[0][25:36])
    sound, told = cut(clips, Piece(0, -0.1, 1.0), 51)
    assert not sound[:1600].any()
    assert not told[:5].any()
    torch.testing.assert_close(told[5:], clips.mouths[0][:46])
    assert not cut(clips, Piece(0, 2.5, 1.0), 11)[0].any()


def test_faster_speech_is_higher_and_its_mouth_follows():
    from training.data.speech import Spoken

    tone = (9000 * torch.sin(2 * torch.pi * 500 * torch.arange(32000) / 16000)).to(torch.int16)
    ramp = torch.linspace(0, 1, 101)[:, None].expand(-1, len(MOUTH))
    sound, told = cut(Spoken([], [tone], [ramp]), Piece(0, 0.0, 1.5), 41)
    spectrum = torch.fft.rfft(sound).abs()
    assert torch.fft.rfftfreq(len(sound), 1 / 16000)[spectrum.argmax()] == pytest.approx(750, abs=2)
    torch.testing.assert_close(told[:, 0], 1.5 * ramp[:41, 0])


def test_without_changes_the_network_hears_the_clip_itself(clips):
    heard, mouths = recipe(clips).hear(torch.tensor([1, 2]), random())
    assert heard.shape == (2, 101, BANDS)
    assert mouths.shape == (2, 51, len(MOUTH))
    assert heard.isfinite().all()
    again, _ = recipe(clips).hear(torch.tensor([1, 2]), random())
    torch.testing.assert_close(heard, again)


@pytest.mark.parametrize("change", [{"room": 1}, {"noise": 1}, {"microphone": 6.0}, {"telephone": 1}, {"hidden": 1}])
def test_each_change_is_heard_and_leaves_the_mouth_alone(clips, change):
    plain, same = (recipe(clips, **changes).hear(torch.arange(3), random()) for changes in ({}, change))
    # The piece is drawn first, so it is the same one.
    torch.testing.assert_close(plain[1], same[1])
    assert 0.02 < (plain[0] - same[0]).abs().mean() < 1.5


def test_hush_is_silence_and_a_mouth_at_rest(clips):
    heard, mouths = recipe(clips, hush=1.0).hear(torch.arange(3), random())
    assert not mouths.any()
    assert heard.std() < 0.05


def test_noise_has_the_level_that_it_says():
    sound = torch.randn(64, 8000, generator=random())
    noise = lipsync.with_noise(sound, random(1)) - sound
    below = -20 * (noise.square().mean(1).sqrt() / sound.square().mean(1).sqrt()).log10()
    assert 5 <= below.min() < 9
    assert 36 < below.max() <= 40


def test_a_room_echoes_and_fades():
    click = torch.zeros(8, 8000)
    click[:, 1000] = 1.0
    room = lipsync.in_a_room(click, random())
    assert room[:, :990].abs().max() < 1e-5
    early, late = room[:, 1010:2600].square().mean(1), room[:, 6000:7400].square().mean(1)
    assert (early > 4 * late).all()
    assert (room[:, 1000] > 0.5).all()


def test_losses_are_zero_for_the_truth_and_fall_while_it_learns(clips):
    learner = recipe(clips)
    draws = Draws(0, "compare", [0, 1, 2])
    step = Step(0, 0, 0.0, draws)
    optimiser = torch.optim.Adam(learner.module.parameters(), 3e-3)
    history = []
    for k in range(120):
        batch = [torch.arange(3)]
        total = sum(learner.losses("compare", batch, Step(k, 0, 0.0, Draws(0, "compare", [k]))).values())
        assert isinstance(total, torch.Tensor)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        history.append(float(total.detach()))
    assert np.mean(history[-10:]) < 0.5 * np.mean(history[:5])
    assert set(learner.losses("compare", [torch.arange(3)], step)) == {"value", "close", "motion"}


def test_closure_is_a_share_of_the_jaws_opening():
    logits = torch.full((1, len(MOUTH)), -20.0)
    logits[0, JAW] = 0.0  # half open
    for share, parted, shut, expected in (
        (0.5, 0.0, 1.0, 0.25),
        (0.5, 0.3, 0.7, 0.25),
        (0.8, 0.3, 0.7, 0.5),
        (0.2, 0.3, 0.7, 0),
    ):
        logits[0, CLOSE] = float(np.log(share / (1 - share)))
        found = values(logits, parted, shut)[0]
        assert found[JAW] == pytest.approx(0.5)
        assert found[CLOSE] == pytest.approx(expected, abs=1e-6)


def test_the_network_looks_both_ways_and_keeps_the_time():
    torch.manual_seed(0)
    network = LipSync(LipSyncConfig(channels=8, dilations=(1, 2))).eval()
    heard = torch.randn(1, 121, BANDS, generator=random())
    changed = heard.clone()
    changed[0, 60] += 3.0
    moved = (network(changed) - network(heard)).abs().amax(-1)[0].detach()
    assert len(moved) == 61
    (touched,) = torch.nonzero(moved > 1e-6, as_tuple=True)
    # Frame 60 is the mouth's 30; convolutions reach 1 + 2 frames further, the first one 1.
    assert (touched.min(), touched.max()) == (26, 34)
    assert int(moved.argmax()) in (29, 30, 31)


def test_the_ends_of_a_recording_are_silence_like_any_other():
    torch.manual_seed(0)
    network = LipSync(LipSyncConfig(channels=8, dilations=(1, 2))).eval()
    speech = torch.from_numpy(toy_speech.sound(1.0, 0)).float()
    sound = torch.cat([torch.zeros(8000), speech, torch.zeros(8000)])
    told = mouth(network, log_mel(sound[None])[0])
    assert len(told) == 101
    assert told[25:75].std(0).max() > 1e-4
    torch.testing.assert_close(told[:12], told[12:13].expand(12, -1))
    torch.testing.assert_close(told[-12:], told[-13:-12].expand(12, -1))


def test_gain_does_not_matter(clips):
    torch.manual_seed(0)
    network = LipSync(LipSyncConfig(channels=8, dilations=(1, 2))).eval()
    sound = clips.sounds[0].float()[None] / 32768
    one, other = (mouth(network, log_mel(gain * sound)[0]) for gain in (1.0, 0.25))
    torch.testing.assert_close(one, other, atol=0.01, rtol=0)
    assert levelled(log_mel(sound)).shape[1] == 2 * len(one) - 1
