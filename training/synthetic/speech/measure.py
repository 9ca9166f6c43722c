# SPDX-License-Identifier: Apache-2.0
"""Do the lips close? Ten sentences in two languages, rendered, and judged by a network that we did not train.

    python -m training.synthetic.speech.measure --out DIR [--people ten] [--film]

The rig's mean person (the code of zeros) says the sentences to a camera straight in front; with ``--people ten`` each
of ten people says one. Frames are 256 x 256, 25 a second. The people are bald here: hair takes half of the time that a
frame needs, and says nothing about lips. MediaPipe's FaceMesh looks at single frames and finds the inner edges of the
lips (its landmarks 13 and 14). The *gap* of a frame is their distance in the picture, divided by the distance between
the eyes' middles.

- A *case* is one phoneme /p/, /b/ or /m/; its frame is the one nearest to the middle of the closure: for /p/ from the
  beginning of the silence to the burst, for /b/ and /m/ as long as the murmur lasts.
- The *vowels' gap* is the median over the frames nearest to the middle of each vowel (half of a diphthong counts as a
  vowel) of all ten sentences. A case passes if its gap is below 20 % of that.
- The same is told against the median of the vowels of the case's own sentence, where the person is the same too.
- A frame without a face fails its case.

With ten people it is FaceMesh that is measured too: in some faces with full lips it puts the edges of lips that are
pressed together up to three pixels apart, at every instant alike. Rays tell (``tests/unit/test_speech_mouth.py``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from neural_core.capture.detect import face_landmarks
from neural_core.curves import Curves
from neural_core.errors import PortraitError
from neural_core.files import make_folder, write_bytes
from neural_core.human.appearance import CODE_SIZE
from neural_core.human.landmarks import eye_distance
from neural_core.media import over
from training.synthetic.figure import Attire

from . import clip, corpus, espeak, film
from .coarticulation import lip_contacts
from .phonemes import VOWELS, Phoneme
from .visemes import BILABIALS, SHARE

LANGUAGES = ("en", "de")
SENTENCES = 5
"""Of each language: the first ones of its texts, which have many lip sounds."""
_UPPER, _LOWER = 13, 14


@dataclass(frozen=True)
class Sample:
    """A frame that was looked at, and why."""

    sentence: int
    symbol: str
    frame: int
    gap: float | None
    """Distance of the lips' inner edges in distances between the eyes; None: no face was found."""


@dataclass(frozen=True)
class Measure:
    """Render ten sentences and measure the lips with FaceMesh."""

    out: Path
    """Folder of the table; sentences that are measured already are not rendered again."""
    people: Literal["mean", "ten"] = "mean"
    """Who speaks: the mean person, or another person for each sentence."""
    size: int = 256
    """Pixels of a frame's side."""
    seed: int = 77
    """Of the ten people."""
    film: bool = False
    """Also write the sentences as films with sound."""
    sentences: str = "0-9"
    """Which sentences to do, as first-last; the others are taken from DIR or left out."""


def plan_of(number: int) -> clip.Plan:
    """How sentence ``number`` of the ten is said."""
    language = LANGUAGES[number // SENTENCES]
    entries = corpus.sections(language)
    voice = f"{entries['voice'][0]}+{('m3', 'f2', 'm1', 'f5', 'm7')[number % SENTENCES]}"
    request = espeak.Request(entries["sentences"][number % SENTENCES], voice, rate=(150, 165, 140)[number % 3])
    return clip.Plan(language, request, chance=(number,))


def frames_of(phonemes: Sequence[Phoneme], curves: Curves) -> Iterator[tuple[str, int]]:
    """Symbol and frame of every case and every vowel of a sentence."""

    def nearest(seconds: float) -> int:
        return int(np.clip(round(seconds * curves.fps), 0, len(curves) - 1))

    closures = {interval[0]: interval for interval, near in lip_contacts(phonemes) if near == 1.0}
    for phoneme in phonemes:
        if phoneme.symbol in BILABIALS:
            start, end = closures[phoneme.start]
            yield phoneme.symbol, nearest((start + end) / 2)
        elif phoneme.symbol in VOWELS:
            yield phoneme.symbol, nearest(phoneme.middle)


def measure_sentence(number: int, options: Measure) -> list[Sample]:
    """Render the frames of a sentence that matter, and measure them."""
    performance = clip.perform(plan_of(number))
    wanted = list(frames_of(performance.phonemes, performance.curves))
    frames = sorted({frame for _, frame in wanted})
    code = person(options, number)
    shown = film.pictures(code, performance.curves, frames, options.size, attire=Attire(hair="bald"))
    pictures = dict(zip(frames, shown, strict=True))
    gaps = dict(zip(frames, lip_gaps(np.stack([over(pictures[f], film.BACKGROUND) for f in frames])), strict=True))
    return [Sample(number, symbol, frame, gaps[frame]) for symbol, frame in wanted]


def person(options: Measure, number: int) -> NDArray[np.float64]:
    """The code [64] of the person who says a sentence."""
    if options.people == "mean":
        return np.zeros(CODE_SIZE)
    return np.random.default_rng([options.seed, number]).standard_normal(CODE_SIZE)


def lip_gaps(pictures: NDArray[np.uint8]) -> list[float | None]:
    """The gap in each picture [n, h, w, 3]."""
    scale = np.array([pictures.shape[2], pictures.shape[1]])
    found = [None if points is None else points * scale for points in face_landmarks(pictures)]
    return [
        None if points is None else float(np.linalg.norm(points[_UPPER] - points[_LOWER]) / eye_distance(points))
        for points in found
    ]


def summary(samples: Sequence[Sample]) -> dict[str, float | int | dict[str, float]]:
    """The figures of the table: shares, medians and counts."""

    def median_gap(chosen: Sequence[Sample]) -> float:
        return float(np.median([s.gap for s in chosen if s.gap is not None]))

    def share(cases: Sequence[Sample], limits: Sequence[float]) -> float:
        return float(np.mean([s.gap is not None and s.gap < lim for s, lim in zip(cases, limits, strict=True)]))

    vowels = [s for s in samples if s.symbol in VOWELS]
    cases = [s for s in samples if s.symbol in BILABIALS]
    everywhere = median_gap(vowels)
    own = {n: median_gap([v for v in vowels if v.sentence == n]) for n in {s.sentence for s in samples}}
    return {
        "sentences": len(own),
        "cases": len(cases),
        "vowels": len(vowels),
        "frames_without_face": sum(s.gap is None for s in samples),
        "vowels_median_gap": everywhere,
        "closures_median_gap": median_gap(cases),
        "closed_share": share(cases, [SHARE * everywhere] * len(cases)),
        "closed_share_of_own_sentence": share(cases, [SHARE * own[s.sentence] for s in cases]),
        "closed_share_by_symbol": {
            symbol: share(chosen, [SHARE * everywhere] * len(chosen))
            for symbol in BILABIALS
            if (chosen := [s for s in cases if s.symbol == symbol])
        },
    }


def table(samples: Sequence[Sample]) -> str:
    """What is printed: a line a sentence, then the figures."""
    lines = ["sentence  vowels  their median gap  p b m  their median  below 20 %"]
    figures = summary(samples)
    for number in sorted({s.sentence for s in samples}):
        here = summary([s for s in samples if s.sentence == number])
        lines.append(
            f"{LANGUAGES[number // SENTENCES]} {number:5d}  {here['vowels']:6d}  {here['vowels_median_gap']:16.4f}"
            f"  {here['cases']:5d}  {here['closures_median_gap']:12.4f}"
            f"  {here['closed_share_of_own_sentence']:10.0%} of own vowels"
        )
    lines += [f"{name}: {value}" for name, value in figures.items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line: 0 when at least 90 % of the cases are closed, 1 otherwise."""
    options = tyro.cli(Measure, args=arguments, prog="training.synthetic.speech.measure")
    first, _, last = options.sentences.partition("-")
    samples: list[Sample] = []
    try:
        make_folder(options.out)
        for number in range(len(LANGUAGES) * SENTENCES):
            file = options.out / f"{options.people}_{number}.json"
            asked = int(first) <= number <= int(last or first)
            if asked and not file.is_file():
                print(f"sentence {number}: {plan_of(number).request.text}", file=sys.stderr, flush=True)
                done = measure_sentence(number, options)
                write_bytes(file, json.dumps([asdict(sample) for sample in done]).encode())
            if file.is_file():
                samples += [Sample(**sample) for sample in json.loads(file.read_text())]
            if asked and options.film:
                path = file.with_suffix(".mp4")
                film.write(clip.perform(plan_of(number)), person(options, number), path, options.size)
        write_bytes(options.out / f"lips_{options.people}.json", json.dumps(summary(samples), indent=2).encode())
    except PortraitError as error:
        print(f"training.synthetic.speech.measure: {error}", file=sys.stderr)
        return 1
    print(table(samples))
    return 0 if float(str(summary(samples)["closed_share"])) >= 0.9 else 1


if __name__ == "__main__":
    raise SystemExit(main())
