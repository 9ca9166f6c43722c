# SPDX-License-Identifier: Apache-2.0
"""One clip: what is said and how, the sound, and the curves of the face that says it."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_core.audio import gestures
from neural_core.curves import FPS, Curves, as_actions, write_curves
from neural_core.files import write_bytes

from . import coarticulation, corpus, espeak
from .phonemes import Phoneme, table
from .rhythm import rhythm_of

SAMPLE_RATE = 16000
_FRAME = 882  # of eSpeak's samples (22,050 a second) in 1/25 s; 640 of ours
_UP, _DOWN = 320, 441  # 22,050 -> 16,000
_EFFORTS = (0.75, 1.25)
_ORDINARY_DECIBEL = -23.0  # RMS of the speech against full scale
_DECIBEL_PER_EFFORT = 28.0  # from mumbling to calling: 14 dB
_HIGHEST_PEAK = 0.97


@dataclass(frozen=True)
class Plan:
    """What a clip will be."""

    language: str
    request: espeak.Request
    effort: float = 1.0
    """Size of all movements; loudness goes with it."""
    decibel: float = _ORDINARY_DECIBEL
    """RMS level of the speech, against full scale."""
    silence: tuple[float, float] = (0.4, 0.6)
    """Before and after the speech, seconds."""
    smile: float = 0.0
    """Mood: mouthSmile when nothing else moves the corners."""
    chance: tuple[int, ...] = (0,)
    """Seed of blinks, brows and head."""


@dataclass(frozen=True)
class Performance:
    """A spoken clip. Sound, phonemes and curves last equally long, a whole number of frames."""

    audio: NDArray[np.int16]
    """[n] samples, SAMPLE_RATE a second."""
    phonemes: tuple[Phoneme, ...]
    curves: Curves

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.audio) / SAMPLE_RATE


def sample_plan(
    seed: int,
    index: int,
    languages: Sequence[str],
    variants: Sequence[str] = corpus.VARIANTS,
    texts: corpus.Texts = "all",
) -> Plan:
    """Clip ``index`` of the set ``seed``: a pure function of its arguments; languages take turns."""
    language = languages[index % len(languages)]
    rng = np.random.default_rng([seed, index])
    effort = float(np.clip(rng.normal(1.0, 0.12), *_EFFORTS))
    request = espeak.Request(
        text=corpus.sample_text(language, rng, texts),
        voice=corpus.sample_voice(language, rng, variants),
        rate=int(rng.integers(125, 195)),
        pitch=int(rng.integers(25, 75)),
        pitch_range=int(np.clip(rng.normal(50 * effort, 12), 15, 95)),
    )
    return Plan(
        language=language,
        request=request,
        effort=effort,
        decibel=_ORDINARY_DECIBEL + _DECIBEL_PER_EFFORT * (effort - 1.0) + float(rng.normal(0.0, 1.5)),
        silence=(float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.4, 0.9))),
        smile=float(rng.uniform(0.0, 0.15)),
        chance=(seed, index, 1),
    )


def perform(plan: Plan, fps: float = FPS) -> Performance:
    """Speak a plan and move the face to it, ``fps`` frames a second. Raises PortraitError if eSpeak NG cannot."""
    utterance = between_silences(espeak.speak(plan.request), *plan.silence)
    phonemes = table(utterance)
    times = np.arange(round(len(utterance.audio) / utterance.sample_rate * fps)) / fps
    return Performance(_at_level(utterance.audio, plan.decibel), phonemes, move(plan, phonemes, times, fps))


def move(plan: Plan, phonemes: Sequence[Phoneme], times: NDArray[np.float64], fps: float = FPS) -> Curves:
    """The curves of a face that says these phonemes, at the given times [n] in seconds, 1 / fps apart."""
    rng = np.random.default_rng(plan.chance)
    rhythm = rhythm_of(phonemes, corpus.is_question(plan.request.text))
    lids = gestures.lids(gestures.blinks(rhythm, rng), times)
    head = gestures.head(rhythm, times, plan.effort, rng)
    brows = gestures.brows(rhythm, times, plan.effort, rng)
    other = {"eyeBlink": lids, "mouthSmile": np.full(len(times), plan.smile), **brows, **gestures.gaze(head)}
    mouth = coarticulation.mouth(phonemes, times, plan.effort)
    actions = (mouth + as_actions(other, len(times))).clip(0.0, 1.0)
    return Curves(fps, actions, head)


def between_silences(utterance: espeak.Utterance, before: float, after: float) -> espeak.Utterance:
    """The utterance with silence around it, of a whole number of frames in all."""
    first = round(before * utterance.sample_rate)
    length = first + len(utterance.audio) + round(after * utterance.sample_rate)
    audio = np.zeros(-(-length // _FRAME) * _FRAME, np.int16)
    audio[first : first + len(utterance.audio)] = utterance.audio
    return replace(
        utterance,
        audio=audio,
        # The end of what eSpeak said is a pause of ours.
        phonemes=(*((s, at + first) for s, at in utterance.phonemes), ("", first + len(utterance.audio))),
        words=tuple((begin, count, at + first) for begin, count, at in utterance.words),
    )


def wav(audio: NDArray[np.int16]) -> bytes:
    """A WAV file: 16 bits, one channel."""
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(audio.astype("<i2").tobytes())
    return memory.getvalue()


def phoneme_lines(phonemes: Sequence[Phoneme]) -> str:
    """The table as tab-separated text with a heading; times in seconds."""
    lines = ["symbol\tstart\tend\tword\tstress"]
    lines += [f"{p.symbol}\t{p.start:.4f}\t{p.end:.4f}\t{p.word}\t{p.stress}" for p in phonemes]
    return "\n".join(lines) + "\n"


def files_of(folder: Path, index: int) -> tuple[Path, Path, Path]:
    """The files of a clip: phonemes, sound, and, written last, curves: where they are, the clip is finished."""
    stem = folder / f"{index // 1000:05d}" / f"speech{index:08d}"
    return tuple(stem.with_suffix(suffix) for suffix in (".tsv", ".wav", ".json"))  # type: ignore[return-value]


def save(performance: Performance, folder: Path, index: int) -> None:
    """Write the files of a clip. Raises PortraitError of kind "output"."""
    phonemes, sound, curves = files_of(folder, index)
    write_bytes(phonemes, phoneme_lines(performance.phonemes).encode())
    write_bytes(sound, wav(performance.audio))
    write_curves(curves, performance.curves)


def _at_level(audio: NDArray[np.int16], decibel: float) -> NDArray[np.int16]:
    """16,000 samples a second, at a level [dB against full scale] that is lowered where the peaks would clip."""
    from scipy.signal import resample_poly

    samples = resample_poly(audio.astype(np.float64) / 32768, _UP, _DOWN)
    sounding = np.abs(samples) > 1e-3
    level = np.sqrt((samples[sounding] ** 2).mean()) if sounding.any() else 1.0
    gain = min(10 ** (decibel / 20) / level, _HIGHEST_PEAK / max(np.abs(samples).max(), 1e-9))
    return np.rint(samples * gain * 32767).astype(np.int16)
