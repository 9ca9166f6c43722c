# SPDX-License-Identifier: Apache-2.0
"""Whether lips move with the sound: confidence, distance and offset of SyncNet (Chung and Zisserman 2016, section 4).

The network embeds 0.2 s of pictures (5 frames at 25 a second) and of sound (20 columns of MFCC, 100 a second). Windows
are compared at every offset up to 15 frames; the confidence is how much nearer they are at the best offset than at the
median one. Wav2Lip's LSE-C and LSE-D (Prajwal et al. 2020), and the Sync of later papers, are this confidence and this
distance. The network is the user's; its published file was never seen here, the layout is tested with random weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor, nn
from torch.nn import functional

from neural_core import others
from neural_core.errors import InputError

from .crops import boxes, sample, square

FRAME_RATE = 25
SAMPLE_RATE = 16_000
WINDOW = 5
"""Frames of a window."""
COLUMNS_PER_FRAME = 4
"""Columns of MFCC."""
SHIFT = 15
"""Largest offset that is tried, in frames."""
SIZE = 224
_MARGIN = 0.4
"""Room around the detected face, in halves of its height; below there is twice as much."""
_GREY = 110 / 255
"""Of what lies beyond the picture."""


@dataclass(frozen=True)
class Sync:
    """How well sound and lips of a clip agree."""

    confidence: float
    """Median over the offsets of the mean distance, less the smallest. Higher is better; SyncNet's unit."""
    distance: float
    """The smallest mean distance. Lower is better."""
    offset: int
    """Frames by which the sound is early (negative: late) where it agrees best."""


def compare(lips: Float[Tensor, "n c"], sounds: Float[Tensor, "n c"], shift: int = SHIFT) -> Sync:
    """Return the agreement of embeddings of the same windows.

    As published, windows of sound beyond the ends count as zeros.
    """
    padded = functional.pad(sounds, (0, 0, shift, shift))
    shifted = padded.unfold(0, len(lips), 1).movedim(2, 1)  # [2 shift + 1, n, c]: column k is sound k - shift later
    means = (lips - shifted).norm(dim=2).mean(1)
    best = int(means.argmin())
    return Sync(float(means.median() - means[best]), float(means[best]), shift - best)


class SyncNet(nn.Module):
    """Both towers, with the published names."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_layer(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1),
            *_layer(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_layer(nn.Conv2d(192, 384, 3, padding=1)),
            *_layer(nn.Conv2d(384, 256, 3, padding=1)),
            *_layer(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_layer(nn.Conv2d(256, 512, (5, 4))),
        )
        near, half = (0, 1, 1), (1, 2, 2)
        self.netcnnlip = nn.Sequential(
            *_layer(nn.Conv3d(3, 96, (WINDOW, 7, 7), half)),
            nn.MaxPool3d((1, 3, 3), half),
            *_layer(nn.Conv3d(96, 256, (1, 5, 5), half, near)),
            nn.MaxPool3d((1, 3, 3), half, near),
            *_layer(nn.Conv3d(256, 256, (1, 3, 3), padding=near)),
            *_layer(nn.Conv3d(256, 256, (1, 3, 3), padding=near)),
            *_layer(nn.Conv3d(256, 256, (1, 3, 3), padding=near)),
            nn.MaxPool3d((1, 3, 3), half),
            *_layer(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud, self.netfclip = (
            nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024)) for _ in range(2)
        )

    def lips(self, windows: Float[Tensor, "n 3 5 224 224"]) -> Float[Tensor, "n 1024"]:
        """Embed pictures; 0..255, blue first, as OpenCV reads them."""
        return self.netfclip(self.netcnnlip(windows).flatten(1))

    def sound(self, windows: Float[Tensor, "n 1 13 20"]) -> Float[Tensor, "n 1024"]:
        """Embed columns of MFCC."""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))


def syncnet(path: Path, device: str | torch.device = "cpu") -> SyncNet:
    """Return the network of a file. Raises InputError if it is another."""
    network = SyncNet()
    others.fill(network, others.read_tensors(path), path.name)
    return network.to(device)


def mouth_crops(frames: Float[Tensor, "t 3 h w"], landmarks: Float[Tensor, "t p 2"]) -> Float[Tensor, "t 3 224 224"]:
    """Return the squares that SyncNet sees: the face with room around it, below most; steadied over 13 frames.

    Args:
        frames: 0..1.
        landmarks: FaceMesh's, in pixels from the corner of the picture.

    Note:
        Published figures take the boxes of a detector (S3FD); here they are the extent of FaceMesh's landmarks, from
        the forehead to the chin, which is about the same.
    """
    from scipy.ndimage import median_filter

    found = boxes(landmarks)
    half = (found[:, 2:] - found[:, :2]).amax(1) / 2
    centre = (found[:, 2:] + found[:, :2]) / 2
    tracks = torch.cat([centre, half[:, None]], dim=1)
    steady = torch.from_numpy(median_filter(tracks.cpu().numpy(), size=(13, 1), mode="nearest")).to(tracks)
    centre, half = steady[:, :2], steady[:, 2]
    corner = centre - half[:, None] * centre.new_tensor([1 + _MARGIN, 1])
    return sample(frames, square(corner, 2 * (1 + _MARGIN) * half, SIZE), SIZE, outside=_GREY)


def mfcc(audio: Int16[np.ndarray, " n"]) -> Float[Tensor, "13 t"]:
    """Return the mel cepstrum that SyncNet hears, 100 columns a second, of 16-bit sound at 16 kHz.

    Raises:
        UsageError: if python_speech_features, whose settings it was trained with, is not installed.
    """
    speech = others.library("python_speech_features", "The metric Sync", "metrics")
    return torch.from_numpy(speech.mfcc(audio, SAMPLE_RATE).T).float()


@torch.inference_mode()
def sync(
    network: SyncNet, crops: Float[Tensor, "t 3 224 224"], audio: Int16[np.ndarray, " n"], batch: int = 20
) -> Sync:
    """Return how well a clip's sound and lips agree.

    Args:
        network: of `syncnet`.
        crops: `mouth_crops` in 0..1, at 25 frames a second.
        audio: mono, 16 bit, 16 kHz, from the first frame on; the longer of the two is cut.
        batch: windows computed at once.

    Raises:
        InputError: if the clip is shorter than six frames.
    """
    # As published; one window more would fit.
    windows = min(len(crops), len(audio) * FRAME_RATE // SAMPLE_RATE) - WINDOW
    if windows < 1:
        raise InputError(
            f"Sync needs a clip of at least {WINDOW + 1} frames with sound, and got {windows + WINDOW}.",
            f"Frames are taken at {FRAME_RATE} a second.",
        )
    device = next(network.parameters()).device
    columns = mfcc(audio)
    lips, sounds = [], []
    for start in range(0, windows, batch):
        places = range(start, min(start + batch, windows))
        pictures = torch.stack([crops[i : i + WINDOW].flip(1).movedim(0, 1) for i in places]) * 255
        heard = torch.stack(
            [columns[None, :, COLUMNS_PER_FRAME * i :][..., : COLUMNS_PER_FRAME * WINDOW] for i in places]
        )
        lips.append(network.lips(pictures.to(device)).cpu())
        sounds.append(network.sound(heard.to(device)).cpu())
    return compare(torch.cat(lips), torch.cat(sounds))


def _layer(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, nn.Module, nn.Module]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return convolution, norm(convolution.out_channels), nn.ReLU()
