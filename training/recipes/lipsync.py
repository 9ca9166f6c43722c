# SPDX-License-Identifier: Apache-2.0
"""Lips from sound: a small network learns from spoken clips what the mouth does (`neural_core/audio/lipsync.py`).

Our clips are spoken by a synthesiser (`training/synthetic/speech`), which real people do not sound like; so each piece
is changed before the network hears it: speed, size of the head, room, noise, microphone, missing bands.

Files to read next: `training/data/speech.py` (the clips), `training/measure_lipsync.py` (how good it is).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from neural_core import checkpoints
from neural_core.audio.features import BANDS, levelled, log_mel, mel_filters
from neural_core.audio.io import SAMPLE_RATE
from neural_core.audio.lipsync import CLOSE, JAW, RATE, SYSTEM, LipSync, LipSyncConfig, mouth, values

from ..config import RunConfig, above_zero, not_negative
from ..data.speech import Piece, Spoken, cut, load_spoken
from ..recipe import Optimiser, ParameterGroup, Sample, Step
from ..speech_picture import speech_picture
from .one_phase import OnePhase

_MARGIN = 10  # frames at both ends of a piece that do not count: there the network knows less than in a whole clip
_OPEN = 0.1  # jawOpen from which on its closure counts fully
_QUICK = 4.0  # a change from frame to frame is so much smaller than a value
_LEAST = 0.01  # standard deviation of an action, at least: what hardly moves hardly counts


@dataclass(frozen=True)
class DataConfig:
    """Which clips."""

    path: tuple[str, ...] = ("data/speech",)
    """Folders written by `python -m training.synthesize speech --fps 50`."""
    limit: int = 0
    """Use at most this many clips; 0 uses all."""
    seconds: float = 3.0
    """Length of the pieces that are learnt from."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        not_negative("data", self, "limit")
        above_zero("data", self, "seconds")


@dataclass(frozen=True)
class AugmentConfig:
    """How pieces are changed; each is drawn anew every time."""

    speed: float = 1.2
    """A piece is played up to this many times faster or slower."""
    head: float = 1.2
    """A voice seems to come from a head up to this many times larger or smaller."""
    room: float = 0.4
    """Share of the pieces that are heard in a room."""
    noise: float = 0.7
    """Share of the pieces with noise, 5 to 40 dB below the speech."""
    microphone: float = 4.0
    """Decibels, standard deviation of a smooth change over the bands."""
    telephone: float = 0.1
    """Share of the pieces without what is below 300 and above 3,400 Hz."""
    hidden: float = 0.3
    """Share of the pieces of which a few neighbouring bands are hidden."""
    hush: float = 0.04
    """Share of the pieces in which nobody speaks."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms."""

    value: float = 1.0
    close: float = 0.5
    motion: float = 0.5


@dataclass(frozen=True)
class Config:
    """Everything a run of this recipe is made of."""

    model: LipSyncConfig = field(default_factory=LipSyncConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    rate: float = 2e-3
    """Adam's learning rate."""
    run: RunConfig = field(default_factory=RunConfig)


def build(config: Config, device: torch.device) -> LipSyncRecipe:
    """Return the recipe, with its clips in memory. Raises InputError if there are none."""
    return LipSyncRecipe(config, load_spoken([Path(path) for path in config.data.path], config.data.limit), device)


class LipSyncRecipe(OnePhase[LipSync]):
    """The recipe that the trainer runs."""

    def __init__(self, config: Config, spoken: Spoken, device: torch.device) -> None:
        """Build the network; the clips stay on the CPU."""
        self.config, self.spoken, self.device = config, spoken, device
        super().__init__(LipSync(config.model).to(device))
        everything = torch.cat(spoken.mouths)
        self.scale = everything.std(0).clamp(min=_LEAST).to(device)

    def optimisers(self) -> dict[str, Optimiser]:
        """Return one group of parameters."""
        group = ParameterGroup("all", list(self.module.parameters()), self.config.rate)
        return {"G": Optimiser([group], betas=(0.9, 0.99), schedule="warmup_cosine")}

    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """Return the numbers of the clips; which pieces of them are heard, and how, is drawn in `losses`."""
        return TensorDataset(torch.arange(len(self.spoken)))

    def losses(self, phase: str, batch: list[Tensor], step: Step) -> dict[str, Tensor]:
        """Compare what the network tells with what the mouths do."""
        heard, mouths = self.hear(batch[0], step.draws.generator)
        inner = slice(_MARGIN, -_MARGIN)
        logits, truth = self.module(heard.to(self.device))[:, inner], mouths.to(self.device)[:, inner]
        jaw = truth[..., JAW]
        share = (truth[..., CLOSE] / jaw.clamp(min=1e-3)).clamp(0, 1)
        close = F.binary_cross_entropy_with_logits(logits[..., CLOSE], share, (jaw / _OPEN).clamp(max=1))
        found, truth = values(logits) / self.scale, truth / self.scale
        weights = self.config.loss
        return {
            "value": weights.value * F.smooth_l1_loss(found, truth, beta=0.5),
            "close": weights.close * close,
            "motion": weights.motion
            * F.smooth_l1_loss(_QUICK * found.diff(dim=1), _QUICK * truth.diff(dim=1), beta=0.5),
        }

    def hear(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return pieces of some clips as the network hears them, [b, frames, BANDS], and the mouths, [b, t, MOUTH]."""
        augment, frames = self.config.augment, round(self.config.data.seconds * RATE) + 1

        def chance() -> Tensor:
            return torch.rand(len(clips), 1, generator=generator)

        pieces = [self._piece(int(clip), generator) for clip in clips]
        cuts = [cut(self.spoken, piece, frames) for piece in pieces]
        sound, mouths = torch.stack([c[0] for c in cuts]), torch.stack([c[1] for c in cuts])
        hush = chance() < augment.hush
        sound, mouths = sound.masked_fill(hush, 0.0), mouths.masked_fill(hush[..., None], 0.0)
        for share, change in ((augment.room, in_a_room), (augment.noise, with_noise)):
            chosen = (chance() < share)[:, 0]
            if chosen.any():
                sound[chosen] = change(sound[chosen], generator)
        mel = log_mel(sound, mel_filters(float(augment.head ** (2 * torch.rand(1, generator=generator) - 1))))
        mel = mel + microphone(len(clips), augment.microphone, generator)
        mel = torch.where((chance() < augment.telephone)[..., None], mel + _telephone(), mel)
        heard = levelled(mel)
        hidden = (chance() < augment.hidden) & some_bands(len(clips), generator)
        return heard.masked_fill(hidden[:, None], 0.0), mouths

    def _piece(self, clip: int, generator: torch.Generator) -> Piece:
        """Return a random piece of a clip."""
        place, pace = torch.rand(2, generator=generator).tolist()
        speed = self.config.augment.speed ** (2 * pace - 1)
        # A third of it may be silence, which is enough to know it by.
        third = self.config.data.seconds * speed / 3
        last = len(self.spoken.sounds[clip]) / SAMPLE_RATE - 2 * third
        return Piece(clip, -third + place * max(0.0, last + third), speed)

    def samples(self, averaged: Mapping[str, nn.Module], step: Step) -> Iterator[Sample]:
        """Yield what the network tells of the first clip, over its spectrogram, with the truth."""
        mel = log_mel(self.spoken.sounds[0].float()[None] / 32768)[0]
        told = mouth(cast(LipSync, averaged["G"]), mel.to(self.device)).cpu()
        yield Sample("first", speech_picture(mel, told, self.spoken.mouths[0])[None])

    def export(self, averaged: Mapping[str, nn.Module], trained: dict[str, Any], path: Path) -> None:
        """Write the averaged weights in half precision, with how they came about."""
        metadata = {
            "licence": "CC0-1.0",
            "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
            "use": "any",
            "source": {"title": "Neural Portrait, lips from sound", "method": "supervised"},
            "data": {
                "clips": len(self.spoken), "minutes": round(self.spoken.minutes, 1),
                "made_by": "python -m training.synthesize speech", "licence": "CC0-1.0",
            },
            "trained": trained,
        }  # fmt: skip
        tensors = {name: tensor.half() for name, tensor in averaged["G"].state_dict().items()}
        checkpoints.save(path, tensors, SYSTEM, asdict(self.config.model), metadata)


def in_a_room(sound: Tensor, generator: torch.Generator) -> Tensor:
    """Return sounds [b, n] with the echoes of rooms: noise that fades by 60 dB within 0.15 to 0.7 s."""
    seconds = 0.15 + 0.55 * torch.rand(len(sound), 1, generator=generator)
    times = torch.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    echo = torch.randn(len(sound), len(times), generator=generator) * 10 ** (-3 * times / seconds)
    loudness = 10 ** (-(2 + 16 * torch.rand(len(sound), 1, generator=generator)) / 20)
    echo = loudness * echo / echo.norm(dim=1, keepdim=True)
    echo[:, 0] += 1.0
    length = sound.shape[1] + len(times)
    return torch.fft.irfft(torch.fft.rfft(sound, length) * torch.fft.rfft(echo, length), length)[:, : sound.shape[1]]


def with_noise(sound: Tensor, generator: torch.Generator) -> Tensor:
    """Return sounds [b, n] with noise, 5 to 40 dB below each, from white to one that falls by 6 dB an octave."""
    spectrum = torch.fft.rfft(torch.randn(sound.shape, generator=generator))
    slope = torch.rand(len(sound), 1, generator=generator)
    spectrum = spectrum / torch.arange(1, spectrum.shape[1] + 1) ** slope
    noise = torch.fft.irfft(spectrum, sound.shape[1])
    below = 10 ** (-(5 + 35 * torch.rand(len(sound), 1, generator=generator)) / 20)
    level = sound.square().mean(1, keepdim=True).sqrt().clamp(min=1e-4)
    return sound + below * level * noise / noise.square().mean(1, keepdim=True).sqrt()


def microphone(count: int, decibels: float, generator: torch.Generator) -> Tensor:
    """Return what microphones add to bands, [count, 1, BANDS] dB: three slow waves over the bands."""
    waves = torch.cos(torch.pi * torch.arange(1, 4)[:, None] * (torch.arange(BANDS) + 0.5) / BANDS)
    return decibels * (torch.randn(count, 1, 3, generator=generator) @ waves) / 3**0.5


def some_bands(count: int, generator: torch.Generator) -> Tensor:
    """Return up to a dozen neighbouring bands, [count, BANDS], true where they are."""
    first = torch.randint(BANDS, (count, 1), generator=generator)
    width = torch.randint(2, 13, (count, 1), generator=generator)
    bands = torch.arange(BANDS)
    return (bands >= first) & (bands < first + width)


def _telephone() -> Tensor:
    """Return what a telephone takes from the bands, [BANDS] dB."""
    centres = mel_filters().argmax(1) * (SAMPLE_RATE / 2) / (mel_filters().shape[1] - 1)
    return torch.where((centres > 300) & (centres < 3400), 0.0, -40.0)
