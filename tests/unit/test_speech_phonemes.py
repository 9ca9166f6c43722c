# SPDX-License-Identifier: Apache-2.0
"""Phonemes: their times against sound that we make ourselves, and against what eSpeak NG says in eight languages."""

import ctypes
import itertools
import re
import wave
from dataclasses import replace

import numpy as np
import pytest

from neural_core.curves import FPS
from neural_core.errors import PortraitError, UsageError
from training.synthetic.speech import clip, corpus, espeak, espeak_process
from training.synthetic.speech.espeak import Request, Utterance
from training.synthetic.speech.phonemes import PAUSE, STOPS, VOWELS, letters, table
from training.synthetic.speech.visemes import BY_SYMBOL, VISEMES

RATE = 1000
needs_espeak = pytest.mark.skipif(
    not espeak.available(), reason="eSpeak NG is not installed (apt-get install espeak-ng)"
)


def sound(*spans: tuple[int, int]) -> np.ndarray:
    """[length, loud] one after the other: a tone where loud is 1, silence where it is 0."""
    return np.concatenate([np.full(length, 9000 * loud, np.int16) for length, loud in spans])


def spoken(audio: np.ndarray, *phonemes: tuple[str, int], transcription: str = "") -> Utterance:
    return Utterance(audio, RATE, phonemes, ((0, 1, 0),), transcription)


def times(utterance: Utterance) -> list[tuple[str, float, float]]:
    return [(p.symbol, round(p.start, 4), round(p.end, 4)) for p in table(utterance)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aɪ", "aɪ"),
        ("ɔ̃", "ɔ"),
        ("iː", "i"),
        ("tʃ", "tʃ"),
        ("a-", "a"),
        ("ss", "s"),
        ("ɔːɹ", "ɔɹ"),
        ("(en)", ""),
        ("", ""),
    ],
)
def test_letters_of_an_event(name, expected):
    assert "".join(letters(name)) == expected


def test_a_closure_begins_where_the_silence_does():
    # a for 200 ms, 60 ms of silence, burst of the p at 260 ms, i from 290 ms.
    found = times(spoken(sound((200, 1), (60, 0), (140, 1)), ("a", 0), ("p", 260), ("i", 290)))
    assert [symbol for symbol, _, _ in found] == ["a", "p", "i"]
    assert found[0][2] == found[1][1] == pytest.approx(0.2, abs=0.003)
    assert found[1][2] == 0.29
    assert table(spoken(sound((200, 1), (60, 0), (140, 1)), ("a", 0), ("p", 260), ("i", 290)))[1].burst == 0.26


def test_only_a_stop_takes_the_silence_before_it():
    assert times(spoken(sound((200, 1), (60, 0), (140, 1)), ("a", 0), ("s", 260)))[1] == ("s", 0.26, 0.4)


def test_a_long_pause_stays_a_pause():
    found = times(spoken(sound((100, 1), (500, 0), (100, 1)), ("a", 0), ("", 100), ("p", 600)))
    assert found[1][0] == PAUSE
    assert found[2][1] == pytest.approx(0.49, abs=0.003)


def test_a_soft_sound_before_a_stop_keeps_a_part_of_its_time():
    found = times(spoken(sound((100, 1), (100, 0), (100, 1)), ("a", 0), ("f", 100), ("p", 200)))
    assert found[1][1:] == (0.1, pytest.approx(0.14, abs=0.003))


def test_diphthongs_and_affricates_are_cut():
    assert times(spoken(sound((200, 1)), ("aɪ", 0), ("tʃ", 100))) == [
        ("a", 0.0, 0.06),
        ("ɪ", 0.06, 0.1),
        ("t", 0.1, 0.14),
        ("ʃ", 0.14, 0.2),
    ]


def test_pauses_are_joined_and_language_marks_dropped():
    heard = [("", 50), ("", 80), ("(en)", 90), ("a", 90), ("", 150), ("", 200)]
    audio = sound((90, 0), (60, 1), (50, 0))
    assert times(spoken(audio, *heard)) == [(PAUSE, 0.0, 0.09), ("a", 0.09, 0.15), (PAUSE, 0.15, 0.2)]


def test_a_nameless_sound_goes_to_a_neighbour():
    audio = sound((400, 1))
    assert times(spoken(audio, ("p", 0), ("", 100), ("r", 130))) == [("p", 0.0, 0.1), ("r", 0.1, 0.4)]
    assert times(spoken(audio, ("i", 0), ("", 100), ("a", 130))) == [("i", 0.0, 0.13), ("a", 0.13, 0.4)]
    assert times(spoken(audio, ("i", 0), ("", 100), ("p", 130))) == [("i", 0.0, 0.13), ("p", 0.13, 0.4)]
    quiet = sound((100, 1), (30, 0), (270, 1))
    assert times(spoken(quiet, ("i", 0), ("", 100), ("a", 130)))[1] == (PAUSE, 0.1, 0.13)


def test_stress_comes_from_the_transcription():
    heard = [("b", 0), ("ə", 50), ("n", 100), ("a", 150), ("n", 200), ("ɐ", 250)]
    found = table(spoken(sound((300, 1)), *heard, transcription="bənˈanɐ"))
    assert [p.stress for p in found if p.symbol in VOWELS] == [0, 2, 0]


def test_a_vowel_that_the_events_lack_shifts_no_stress():
    heard = [("ɛ", 0), ("v", 50), ("i", 100), ("d", 150), ("e", 200)]
    found = table(spoken(sound((300, 1)), *heard, transcription="ˈɛvəɹi dˌe"))
    assert [p.stress for p in found if p.symbol in VOWELS] == [2, 0, 1]


def test_no_letter_is_in_two_classes():
    symbols = [symbol for viseme in VISEMES for symbol in viseme.symbols]
    assert len(symbols) == len(set(symbols))
    assert set(symbols) >= VOWELS | STOPS


def test_every_language_has_what_its_patterns_ask_for():
    assert set(corpus.LANGUAGES) >= {"en", "de", "fr", "es", "it", "pt", "pl", "tr"}
    for language in corpus.LANGUAGES:
        sections = corpus.sections(language)
        combinations = 0
        for pattern in sections["patterns"]:
            slots = re.findall(r"\{(\w+)\}", pattern)
            combinations += np.prod([len(sections[slot]) for slot in slots])
        assert combinations > 100_000, language
        assert len(sections["sentences"]) >= 20


def test_texts_have_no_slot_left_and_begin_with_a_capital():
    rng = np.random.default_rng(0)
    for language in corpus.LANGUAGES:
        texts = [corpus.sample_text(language, rng) for _ in range(100)]
        assert len(set(texts)) > 80
        for text in texts:
            assert not set(text) & set("{}[]"), text
            assert text.lstrip("¿¡")[0].isupper(), text


def test_a_language_that_we_lack_is_named():
    with pytest.raises(UsageError, match='no texts in "xx"'):
        corpus.sections("xx")


def test_without_the_library_the_process_says_so(monkeypatch):
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(SystemExit) as caught:
        espeak_process.speak({"text": "a", "voice": "en", "rate": 160, "pitch": 50, "pitch_range": 50})
    assert caught.value.code == espeak_process.MISSING


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        (
            f"raise SystemExit({espeak_process.MISSING})",
            PortraitError,
            "eSpeak NG, and it was not found.*apt-get install",
        ),
        (f"raise SystemExit({espeak_process.NO_VOICE})", UsageError, 'no voice "en".*espeak-ng --voices'),
        ("import os; os.abort()", PortraitError, "ended with code -6"),
    ],
)
def test_each_way_to_fail_has_its_sentence(tmp_path, monkeypatch, program, kind, message):
    stub = tmp_path / "stub.py"
    stub.write_text(program)
    monkeypatch.setattr(espeak_process, "__file__", str(stub))
    with pytest.raises(kind, match=message):
        espeak.speak(Request("a", "en"))


@needs_espeak
def test_the_real_library_refuses_a_voice_that_it_lacks():
    with pytest.raises(UsageError, match='no voice "xx"'):
        espeak.speak(Request("a", "xx"))


@needs_espeak
@pytest.mark.parametrize("language", corpus.LANGUAGES)
def test_real_phonemes_cover_the_sound(language):
    """In every language, for every voice of it: no gap, no overlap, no unknown letter; the sound is where they are."""
    sections = corpus.sections(language)
    for index, voice in enumerate(dict.fromkeys(sections["voice"])):
        request = Request(" ".join(sections["sentences"][index : index + 4]), f"{voice}+{('m3', 'f2')[index % 2]}")
        performance = clip.perform(clip.Plan(language, request))
        phonemes = performance.phonemes
        assert phonemes[0].start == 0.0
        assert phonemes[-1].end == pytest.approx(performance.seconds, abs=1e-9)
        assert all(a.end == b.start for a, b in itertools.pairwise(phonemes))
        assert all(p.end > p.start for p in phonemes)
        assert {p.symbol for p in phonemes} <= set(BY_SYMBOL)
        assert len(performance.curves) == performance.seconds * FPS
        loudness = np.abs(performance.audio / np.abs(performance.audio).max())

        def loud(start: float, end: float, loudness: np.ndarray = loudness) -> float:
            inside = loudness[round(start * clip.SAMPLE_RATE) : round(end * clip.SAMPLE_RATE)]
            return float(inside.max(initial=0.0))

        vowels = [loud(p.start, p.end) for p in phonemes if p.symbol in VOWELS]
        assert np.median(vowels) > 0.3
        assert all(loud(p.start + 0.02, p.end - 0.02) < 0.06 for p in phonemes if p.symbol == PAUSE)
        stresses = [p.stress for p in phonemes if p.symbol in VOWELS]
        assert 0.15 < np.mean([s == 2 for s in stresses]) < 0.75


@needs_espeak
def test_closures_of_p_t_k_are_silent():
    text = "Papa packte die Koppel. Ein paar Kappen, eine Mappe, etwas Watte, eine Hacke."
    performance = clip.perform(clip.Plan("de", Request(text, "de+m3")))
    closures = [(p.start, p.burst) for p in performance.phonemes if p.symbol in "ptk" and p.burst is not None]
    lengths = [burst - start for start, burst in closures]
    assert len(closures) >= 12
    assert np.mean([length > 0.02 for length in lengths]) > 0.8
    loudness = np.abs(performance.audio / np.abs(performance.audio).max())
    for start, burst in closures:
        inside = loudness[round((start + 0.005) * clip.SAMPLE_RATE) : round((burst - 0.005) * clip.SAMPLE_RATE)]
        assert inside.max(initial=0.0) < 0.06


@needs_espeak
def test_a_request_always_sounds_the_same_and_words_follow_each_other():
    request = Request("Maybe Bob will buy a pair of boots.", "en-us+f2")
    one, two = espeak.speak(request), espeak.speak(request)
    np.testing.assert_array_equal(one.audio, two.audio)
    assert replace(one, audio=two.audio) == two
    assert [request.text[first : first + length] for first, length, _ in one.words] == request.text[:-1].split()
    starts = [sample for _, _, sample in one.words]
    assert starts == sorted(starts)


@needs_espeak
def test_the_wav_file_is_what_was_spoken(tmp_path):
    performance = clip.perform(clip.Plan("es", Request("Mi mamá.", "es"), decibel=-23.0))
    (tmp_path / "a.wav").write_bytes(clip.wav(performance.audio))
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, clip.SAMPLE_RATE)
        assert file.getnframes() / file.getframerate() == performance.seconds
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    sounding = samples[np.abs(samples) > 3e-3]
    assert 10 * np.log10((sounding**2).mean()) == pytest.approx(-23.0, abs=1.0)
