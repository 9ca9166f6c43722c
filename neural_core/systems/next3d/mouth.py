# SPDX-License-Identifier: Apache-2.0
"""The inside of the mouth (Next3D, Sun et al. 2023, section 3.2), which no face mesh has.

A square around the lips is cut out of the front view, redrawn by a style U-Net that knows the person's w, and put back.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ...nn.style_unet import StyleUNet
from ...nn.stylegan2 import NoiseMode
from .config import StyleUNetConfig

OUTER_LIPS = slice(48, 60)
"""The lips' outline among the 68 landmarks."""
_LEFT_CORNER, _RIGHT_CORNER = 0, 6


def mouth_boxes(lips: Float[Tensor, "b 12 2"], resolution: int, crop: float) -> Int[Tensor, "b 4"]:
    """Return a square around each mouth: first row, row after the last, first column, column after the last.

    Args:
        lips: the outline (`OUTER_LIPS`), column and row in the front view, -1..1.
        resolution: of the front view in pixels.
        crop: side of the square as a factor of the outline's larger extent.

    The middle is that of the corners of the mouth; a square that would leave the picture is moved into it.
    """
    pixels = lips.detach() * (resolution / 2) + resolution / 2
    extent = (pixels.amax(1) - pixels.amin(1)).amax(1)
    half = (crop * extent).long().clamp(2, resolution) // 2
    middle = (pixels[:, _LEFT_CORNER] + pixels[:, _RIGHT_CORNER]) / 2
    # An empty or broken outline must still give a square inside the picture.
    first = (middle - half[:, None]).nan_to_num().clamp(0, resolution).long()
    first = torch.minimum(first, (resolution - 2 * half)[:, None])
    column, row = first.unbind(1)
    return torch.stack([row, row + 2 * half, column, column + 2 * half], dim=1)


def style_unet(config: StyleUNetConfig, channels: int, w_dim: int) -> StyleUNet:
    """Return the network of a config, over drawings of some channels."""
    return StyleUNet(
        channels, w_dim, config.channels, input_resolution=config.input_resolution, smallest=config.smallest,
        clamp=config.clamp,
    )  # fmt: skip


class Mouth(nn.Module):
    """Redraws the mouth in the front view."""

    def __init__(self, config: StyleUNetConfig, channels: int, w_dim: int) -> None:
        """Build it over drawings of some channels."""
        super().__init__()
        self.unet = style_unet(config, channels, w_dim)

    def forward(
        self,
        front: Float[Tensor, "b c r r"],
        boxes: Int[Tensor, "b 4"],
        w_plus: Float[Tensor, "b n d"],
        noise_mode: NoiseMode = "const",
    ) -> Float[Tensor, "b c r r"]:
        """Return the front view with new mouths.

        Args:
            front: drawn features.
            boxes: from `mouth_boxes`.
            w_plus: the person's, as many as the network has layers.
            noise_mode: of the synthesis.

        Differentiable in all but the boxes.
        """
        mouths = self.unet(self.cut(front, boxes), w_plus, noise_mode)
        stitched = front.clone()
        for number, (top, bottom, left, right) in enumerate(boxes.tolist()):
            stitched[number, :, top:bottom, left:right] = _resize(mouths[number], bottom - top)
        return stitched

    def cut(self, front: Float[Tensor, "b c r r"], boxes: Int[Tensor, "b 4"]) -> Float[Tensor, "b c s s"]:
        """Return the squares at the size that the network sees."""
        size = self.unet.input_resolution
        squares = [
            _resize(picture[:, top:bottom, left:right], size)
            for picture, (top, bottom, left, right) in zip(front, boxes.tolist(), strict=True)
        ]
        return torch.stack(squares)


def _resize(picture: Float[Tensor, "c h w"], size: int) -> Float[Tensor, "c s s"]:
    return F.interpolate(picture[None], size=(size, size), mode="bilinear", align_corners=False, antialias=True)[0]
