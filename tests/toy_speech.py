# SPDX-License-Identifier: Apache-2.0
"""Speech of a toy: noise in syllables, with a jaw that opens as loudly as it sounds. No synthesiser is needed."""

import json
import wave
from pathlib import Path

import numpy as np

RATE = 16000
FPS = 50.0


def loudness_of(times: np.ndarray, seed: int) -> np.ndarray:
    """How loud it is at some times, 0..1: syllables of a fifth of a second, each as loud as it likes, some silent."""
    rng = np.random.default_rng(seed)
    heights = rng.choice([0.0, 0.4, 0.7, 1.0], size=100)
    syllable = np.clip((times / 0.2).astype(int), 0, 99)
    return np.where(times >= 0, heights[syllable] * np.sin(np.pi * (times / 0.2 % 1.0)), 0.0)


def sound(seconds: float, seed: int) -> np.ndarray:
    """Samples [n] in -1..1."""
    rng = np.random.default_rng([seed, 1])
    times = np.arange(round(seconds * RATE)) / RATE
    return 0.15 * loudness_of(times, seed) * rng.standard_normal(len(times)).clip(-3, 3)


def jaw(times: np.ndarray, seed: int) -> np.ndarray:
    """The true jawOpen."""
    return 0.5 * loudness_of(times, seed)


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())


def write_clip(stem: Path, seconds: float, seed: int, fps: float = FPS) -> None:
    """A WAV, its curves, and a table in which each syllable is a vowel, or a /p/ where it is silent.

    The lips are pursed all the time, which is a mood.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_wav(stem.with_suffix(".wav"), sound(seconds, seed))
    times = np.arange(round(seconds * fps)) / fps
    open_jaw = jaw(times, seed)
    shut = np.where(loudness_of(times // 0.2 * 0.2 + 0.1, seed) == 0, 1.0, 0.0)
    curves = {
        "jawOpen": (open_jaw + 0.1 * shut).round(4).tolist(),
        "mouthClose": (0.1 * shut).round(4).tolist(),
        "mouthPressLeft": (0.2 * shut).tolist(),
        "mouthPressRight": (0.2 * shut).tolist(),
        "mouthPucker": [0.25] * len(times),
    }
    stem.with_suffix(".json").write_text(json.dumps({"format": "portrait-curves/1", "fps": fps, "curves": curves}))
    rows = ["symbol\tstart\tend\tword\tstress"]
    for k in range(int(seconds / 0.2)):
        symbol = "p" if loudness_of(np.array([k * 0.2 + 0.1]), seed)[0] == 0 else "a"
        rows.append(f"{symbol}\t{k * 0.2:.4f}\t{(k + 1) * 0.2:.4f}\t0\t0")
    stem.with_suffix(".tsv").write_text("\n".join(rows) + "\n")


def write_set(folder: Path, count: int, seconds: float = 2.0, first_seed: int = 0) -> None:
    for k in range(count):
        write_clip(folder / "00000" / f"clip{k:03d}", seconds, first_seed + k)
