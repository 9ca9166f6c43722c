# SPDX-License-Identifier: Apache-2.0
"""Blinks, brows, head and eyes: rates and lengths over long runs, and that they fall where speech asks for them."""

import numpy as np
import pytest

from neural_core.audio import gestures
from neural_core.curves import FPS
from training.synthetic.speech.phonemes import PAUSE, Phoneme
from training.synthetic.speech.rhythm import phrase_ends, rhythm_of, stressed


def speech(seconds: float) -> list[Phoneme]:
    """Phrases of two seconds with a pause of 0.3 s; every fourth vowel is stressed."""
    found, now, count = [], 0.0, 0
    while now < seconds:
        for symbol in "tatatatatata":
            found.append(Phoneme(symbol, now, now + 1 / 6, 0, 2 if symbol == "a" and count % 4 == 0 else 0))
            now, count = now + 1 / 6, count + (symbol == "a")
        found.append(Phoneme(PAUSE, now, now + 0.3, 0, 0))
        now += 0.3
    return found


LONG = speech(1200.0)


def runs(shut: np.ndarray) -> list[int]:
    """Lengths of the stretches that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shut, [False]]).astype(int)))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_blinks_have_human_rates_and_lengths(seed):
    found = gestures.blinks(rhythm_of(LONG), np.random.default_rng(seed))
    times = np.arange(0, 1200, 0.004)
    lids = gestures.lids(found, times)
    lengths = 4 * np.array(runs(lids > 0.05))
    assert 8 <= len(lengths) / 20 <= 30
    assert lengths.min() >= 100
    assert lengths.max() <= 400
    # Every blink is seen at 25 frames a second, and the lids meet in it.
    frames = gestures.lids(found, np.arange(0, 1200, 1 / FPS))
    assert len(runs(frames > 0.05)) == len(lengths)
    assert len(runs(frames > 0.95)) == len(lengths)


def test_blinks_gather_at_pauses():
    starts = np.array([blink[0] for blink in gestures.blinks(rhythm_of(LONG), np.random.default_rng(1))])
    pauses = np.array(phrase_ends(LONG))
    distance = np.abs(starts[:, None] - pauses).min(1)
    # Chance alone would put a tenth of the blinks within 0.12 s of one of the pauses, which come every 2.3 s.
    assert 0.3 < (distance < 0.12).mean() < 0.9


def test_the_head_sways_slowly_and_nods_at_stress():
    times = np.arange(0, 300, 1 / FPS)
    turn = np.degrees(gestures.head(rhythm_of(LONG[:1700]), times, 1.0, np.random.default_rng(2)))
    assert 1.0 < turn[:, 0].std() < 5.0
    assert np.abs(turn).max() < 20
    assert np.abs(np.diff(turn, axis=0)).max() * FPS < 60  # degrees a second
    spectrum = np.abs(np.fft.rfft(turn - turn.mean(0), axis=0)) ** 2
    hertz = np.fft.rfftfreq(len(times), 1 / FPS)
    assert (spectrum[hertz > 5].sum(0) < 1e-3 * spectrum.sum(0)).all()
    # At the stressed vowels the head is lower than around them, on the average.
    middles = [p.middle for p in stressed(LONG[:1700]) if 1 < p.middle < 299]
    pitch = [np.interp(np.array(middles) + shift, times, turn[:, 1]).mean() for shift in (-0.25, 0.0, 0.3)]
    assert pitch[1] < min(pitch[0], pitch[2]) - 0.4


def test_a_question_ends_with_raised_brows_and_head():
    phonemes = [*speech(2.0), Phoneme(PAUSE, 2.3, 3.0, 0, 0)]
    times = np.arange(0, 3.0, 1 / FPS)
    end = round(1.9 * FPS)
    asked, told = (
        (
            gestures.brows(rhythm_of(phonemes, question), times, 1.0, np.random.default_rng(4))["browInnerUp"][end],
            gestures.head(rhythm_of(phonemes, question), times, 1.0, np.random.default_rng(4))[end, 1],
        )
        for question in (True, False)
    )
    assert asked[0] > told[0] + 0.2
    assert asked[1] > told[1] + np.radians(1.0)


def test_brows_mark_some_of_the_stressed_syllables():
    times = np.arange(0, 300, 1 / FPS)
    brow = gestures.brows(rhythm_of(LONG[:1700]), times, 1.0, np.random.default_rng(3))["browInnerUp"]
    assert brow.min() >= 0.0
    assert brow.max() <= 1.0
    marked = len(runs(brow > 0.15)) / len(stressed(LONG[:1700]))
    assert 0.1 < marked < 0.35


def test_the_eyes_stay_on_the_listener():
    """The head turns to the subject's left and up: the eyes turn right and down, by 85 % of it."""
    eyes = gestures.gaze(np.radians([[10.0, 5.0, 0.0], [-10.0, -5.0, 0.0]]))
    assert eyes["eyeLookOutRight"][0] * 20 == pytest.approx(8.5)
    assert eyes["eyeLookInLeft"][0] * 20 == pytest.approx(8.5)
    assert eyes["eyeLookDown"][0] * 17 == pytest.approx(4.25)
    assert eyes["eyeLookOutLeft"][1] * 20 == pytest.approx(8.5)
    assert eyes["eyeLookUp"][1] * 10 == pytest.approx(4.25)
    assert all(min(values) >= 0 for values in eyes.values())
    assert eyes["eyeLookOutLeft"][0] == eyes["eyeLookUp"][0] == 0


def test_a_diphthong_is_one_stress():
    vowels = [Phoneme("a", 0.0, 0.1, 0, 2), Phoneme("ɪ", 0.1, 0.2, 0, 2), Phoneme("t", 0.2, 0.3, 0, 0)]
    assert [p.symbol for p in stressed([*vowels, Phoneme("o", 0.3, 0.4, 1, 2)])] == ["a", "o"]
