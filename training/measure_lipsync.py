# SPDX-License-Identifier: Apache-2.0
"""How well are lips read from sound? The network, and two simple ways to do it, against the true curves of clips.

    python -m training.measure_lipsync --data HELD --train-data TRAIN [--model lipsync] [--picture FILE.png]

HELD and TRAIN are folders of `python -m training.synthesize speech --fps 50`; HELD has other texts and voices. Told are
the correlation over all frames and the mean absolute error of some actions, and of the *opening*: jawOpen less what
mouthClose takes back. The simple ways are

- *mean*: every action always has its mean over TRAIN;
- *loudness*: a ridge regression over TRAIN from the loudness of a frame, and of those 40 and 80 ms before and after it.

Lips: a case is a phoneme /p/, /b/ or /m/, at the frame at which the true lips are shut most firmly; it is *closed* if
its opening is below 20 % of the median opening of all vowels (as in `training.synthetic.speech.measure`, which looks
at pictures). A vowel, at its middle, is *swallowed* if its opening is so small although the true one is not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from neural_core import models
from neural_core.audio.features import HOP, log_mel, loudness
from neural_core.audio.io import SAMPLE_RATE
from neural_core.audio.lipsync import CLOSE, DEFAULT_MODEL, JAW, MOUTH, RATE, LipSync, load, mouth
from neural_core.errors import PortraitError

from .data.speech import Spoken, load_spoken
from .pictures import save_picture
from .speech_picture import speech_picture
from .synthetic.speech.phonemes import VOWELS
from .synthetic.speech.visemes import BILABIALS, SHARE

TOLD = ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthStretch", "mouthUpperUp", "mouthLowerDown")
_PRESS = MOUTH.index("mouthPress")  # only closed lips press
_AROUND = (-4, -2, 0, 2, 4)  # frames of the mouth
_RIDGE = 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """Compare a lip-sync model and simpler ways with true curves."""

    data: Path
    """Folder of the clips that are measured."""
    train_data: Path
    """Folder of the clips that the simple ways are made from."""
    model: str = DEFAULT_MODEL
    """Name of an installed model, or a .safetensors file."""
    train_clips: int = 150
    """How many of them."""
    picture: Path | None = None
    """FILE.png with the first clip's curves over its spectrogram."""


@dataclass(frozen=True)
class Heard:
    """Clips as they are compared."""

    truth: list[Array]
    """[t, len(MOUTH)] each."""
    levels: list[Array]
    """[t, len(_AROUND)] loudness in units of 20 dB below the loud frames, each."""
    mels: list[torch.Tensor]


def listen(spoken: Spoken) -> Heard:
    """Return what there is to compare of some clips."""
    truth, levels, mels = [], [], []
    for sound, true in zip(spoken.sounds, spoken.mouths, strict=True):
        mel = log_mel(sound.float()[None] / 32768)
        level = loudness(mel)[0].double().numpy()[:: round(SAMPLE_RATE / HOP / RATE)][: len(true)]
        level = (level - np.quantile(level, 0.95)).clip(-60) / 20
        padded = np.pad(level, (-_AROUND[0], _AROUND[-1]), mode="edge")
        levels.append(np.stack([padded[shift - _AROUND[0] :][: len(level)] for shift in _AROUND], axis=1))
        truth.append(true[: len(level)].double().numpy())
        mels.append(mel[0])
    return Heard(truth, levels, mels)


def by_mean(train: Heard, held: Heard) -> list[Array]:
    """Return what the mean mouth does."""
    mean = np.concatenate(train.truth).mean(0)
    return [np.broadcast_to(mean, true.shape) for true in held.truth]


def by_loudness(train: Heard, held: Heard) -> list[Array]:
    """Return what a ridge regression from loudness makes of it."""
    inputs, outputs = np.concatenate(train.levels), np.concatenate(train.truth)
    centre, mean = inputs.mean(0), outputs.mean(0)
    inputs = inputs - centre
    weights = np.linalg.solve(inputs.T @ inputs + _RIDGE * np.eye(len(_AROUND)), inputs.T @ (outputs - mean))
    return [((levels - centre) @ weights + mean).clip(0, 1) for levels in held.levels]


def by_network(network: LipSync, held: Heard) -> list[Array]:
    """Return what the network tells."""
    pairs = zip(held.mels, held.truth, strict=True)
    return [mouth(network, mel)[: len(true)].double().numpy() for mel, true in pairs]


def curves_of(mouths: list[Array]) -> dict[str, Array]:
    """Return the curves that are compared, of all clips one after another."""
    values = np.concatenate(mouths)
    opening = values[:, JAW] - values[:, CLOSE]
    return {"opening": opening, **{name: values[:, MOUTH.index(name)] for name in TOLD}}


def figures(found: list[Array], held: Heard) -> dict[str, dict[str, float]]:
    """Return correlation and mean absolute error of each curve; a curve that never moves correlates with nothing."""
    truth, told = curves_of(held.truth), curves_of(found)
    result = {}
    for name in truth:
        still = min(told[name].std(), truth[name].std()) < 1e-9
        correlation = 0.0 if still else float(np.corrcoef(truth[name], told[name])[0, 1])
        result[name] = {"correlation": correlation, "error": float(np.abs(truth[name] - told[name]).mean())}
    return result


def lips(found: list[Array], held: Heard, files: list[Path]) -> dict[str, float]:
    """Return the shares of lip sounds that are closed and of vowels that are swallowed, and how many there are."""
    cases, vowels, true_vowels = [], [], []
    for told, true, file in zip(found, held.truth, files, strict=True):
        opening, true_opening = told[:, JAW] - told[:, CLOSE], true[:, JAW] - true[:, CLOSE]
        for symbol, start, end in _phonemes(file):
            if symbol in BILABIALS:
                first, last = int(start * RATE), min(int(np.ceil(end * RATE)), len(true) - 1)
                cases.append(opening[first + int(true[first : last + 1, _PRESS].argmax())])
            elif symbol in VOWELS:
                middle = min(round((start + end) / 2 * RATE), len(true) - 1)
                vowels.append(opening[middle])
                true_vowels.append(true_opening[middle])
    limit = SHARE * float(np.median(vowels))
    open_vowels = np.array(true_vowels) > SHARE * np.median(true_vowels)
    swallowed = (np.array(vowels) < limit)[open_vowels]
    return {
        "cases": len(cases),
        "vowels": int(open_vowels.sum()),
        "closed": float((np.array(cases) < limit).mean()),
        "swallowed": float(swallowed.mean()),
    }


def _phonemes(file: Path) -> Iterator[tuple[str, float, float]]:
    """Yield symbol, start and end of each phoneme of a clip, from the table beside its curves."""
    for line in file.with_suffix(".tsv").read_text(encoding="utf-8").splitlines()[1:]:
        symbol, start, end, *_ = line.split("\t")
        yield symbol, float(start), float(end)


def table(results: dict[str, tuple[dict[str, dict[str, float]], dict[str, float]]]) -> str:
    """Return what is printed: a line a curve, a pair of columns a way."""
    lines = [f"{'correlation, error':16}" + "".join(f"{way:>16}" for way in results)]
    for name in ("opening", *TOLD):
        cells = [f"{shown[name]['correlation']:8.3f} {shown[name]['error']:7.4f}" for shown, _ in results.values()]
        lines.append(f"{name:16}" + "".join(cells))
    for name, title in (("closed", "p b m closed"), ("swallowed", "vowels swallowed")):
        lines.append(f"{title:16}" + "".join(f"{100 * counted[name]:15.1f}%" for _, counted in results.values()))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 done, 1 failed."""
    options = tyro.cli(Measure, args=arguments, prog="training.measure_lipsync")
    try:
        network = load(models.find(options.model))
        spoken = load_spoken([options.data])
        held, train = listen(spoken), listen(load_spoken([options.train_data], options.train_clips))
        told = by_network(network, held)
        ways = {"network": told, "loudness": by_loudness(train, held), "mean": by_mean(train, held)}
        results = {way: (figures(found, held), lips(found, held, spoken.files)) for way, found in ways.items()}
        print(table(results))
        print(json.dumps({way: {**shown, "lips": counted} for way, (shown, counted) in results.items()}))
        if options.picture is not None:
            shown = speech_picture(held.mels[0], torch.from_numpy(told[0]), torch.from_numpy(held.truth[0]))
            save_picture(options.picture, shown, "training.measure_lipsync")
    except PortraitError as error:
        print(f"training.measure_lipsync: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
