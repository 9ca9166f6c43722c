# SPDX-License-Identifier: Apache-2.0
"""The network that reads lips from sound: log-mel spectrogram -> what the mouth does, 50 times a second.

A convolution halves the rate, then residual blocks of dilated convolutions over time look 0.4 s back and ahead: lips
round before an "oo" is heard, and close before the burst of a "p". The lips' closure is told as a *share* of the jaw's
opening that they take back, so that a share of 1 shuts them, however wrong the jaw is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import checkpoints
from ..errors import ModelError
from .features import BANDS, levelled

if TYPE_CHECKING:
    from ..models import Model

SYSTEM = "lipsync"
"""What checkpoints of this network call their system."""

DEFAULT_MODEL = "lipsync"

RATE = 50.0
"""Frames a second that come out: one for two of the spectrogram's."""

MOUTH: tuple[str, ...] = (
    *("jawOpen", "mouthClose", "mouthPucker", "mouthFunnel", "mouthStretch", "mouthSmile", "mouthUpperUp"),
    *("mouthLowerDown", "mouthPress", "mouthShrugLower", "mouthRollUpper", "mouthRollLower", "tongueOut"),
)
"""What comes out, in order; a name stands for both sides (`curves.as_actions`)."""

_AROUND = 30
"""Frames before and after a recording that are told, and thrown away: further than the network looks."""

JAW, CLOSE = MOUTH.index("jawOpen"), MOUTH.index("mouthClose")


@dataclass(frozen=True)
class LipSyncConfig:
    """Size of the network, and what its shares mean."""

    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 1)
    """Of the blocks; steps of 20 ms."""
    parted: float = 0.3
    """Share of closure up to which lips are taken for parted, ..."""
    shut: float = 0.7
    """... and from which they are taken for shut: what is said in between is doubt, which films as mumbling."""


class LipSync(nn.Module):
    """The network."""

    def __init__(self, config: LipSyncConfig) -> None:
        super().__init__()
        self.config = config
        self.listen = nn.Conv1d(BANDS, config.channels, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_Block(config.channels, dilation) for dilation in config.dilations)
        self.tell = nn.Conv1d(config.channels, len(MOUTH), 1)

    def forward(self, heard: Tensor) -> Tensor:
        """Return logits [b, ceil(frames / 2), len(MOUTH)] of a spectrogram [b, frames, BANDS] as `levelled` makes it.

        That of mouthClose is of the share of jawOpen that it takes back.
        """
        x = self.listen(heard.movedim(1, 2))
        for block in self.blocks:
            x = block(x)
        return self.tell(F.gelu(x)).movedim(1, 2)


class _Block(nn.Module):
    """What is heard around a moment, added to what is known of it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.look = nn.Conv1d(channels, channels, 3, dilation=dilation, padding=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [b, channels, frames]."""
        return x + self.mix(F.gelu(self.look(self.norm(x.movedim(1, 2)).movedim(1, 2))))


def values(logits: Tensor, parted: float = 0.0, shut: float = 1.0) -> Tensor:
    """Return the actions [..., len(MOUTH)] in 0..1 that logits stand for; `parted`, `shut` as in LipSyncConfig."""
    found = logits.sigmoid()
    share = ((found[..., CLOSE] - parted) / (shut - parted)).clamp(0, 1)
    return torch.cat([found[..., :CLOSE], (found[..., JAW] * share)[..., None], found[..., CLOSE + 1 :]], dim=-1)


@torch.inference_mode()
def mouth(network: LipSync, mel: Tensor) -> Tensor:
    """Return the actions [ceil(frames / 2), len(MOUTH)] in 0..1 that go with a spectrogram in dB [frames, BANDS]."""
    heard = levelled(mel[None])
    # Before and after a recording it is as silent as in its quietest moments; convolutions would take it for noise.
    silence = heard.amin(1, keepdim=True).expand(-1, 2 * _AROUND, -1)
    logits = network(torch.cat([silence, heard, silence], 1))[:, _AROUND : _AROUND + (len(mel) + 1) // 2]
    return values(logits, network.config.parted, network.config.shut)[0]


def load(model: Model, device: torch.device | str = "cpu") -> LipSync:
    """Return the network of a checkpoint file.

    Raises:
        ModelError: the file is damaged, or holds no network of this kind.
    """
    checkpoint = checkpoints.load(model.path)
    if checkpoint.system != SYSTEM:
        raise ModelError(
            f'Model "{model.name}" is of the system "{checkpoint.system}", which makes no lips of sound.',
            f'Choose one of the system "{SYSTEM}", such as {DEFAULT_MODEL}.',
        )
    network = LipSync(checkpoints.as_config(LipSyncConfig, checkpoint.config, SYSTEM, checkpoint.name))
    checkpoints.fill(network, checkpoint.tensors, checkpoint.name)
    return network.to(device).eval().requires_grad_(False)
