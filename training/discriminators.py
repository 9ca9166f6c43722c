# SPDX-License-Identifier: Apache-2.0
"""The discriminators of EG3D (Chan et al. 2022, section 4.1) and Next3D (Sun et al. 2023, section 3.5).

StyleGAN2's, which may see several pictures at once: the finished one, its volume rendering, and the driving mesh as it
should appear. What is in a picture can also be told as a label: the camera, and the expression.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neural_core.nn.layers import Convolution, FullyConnected, MinibatchDeviation
from neural_core.nn.stylegan2 import MappingNetwork, channels_at

EXPRESSION_FEATURES = 32
"""Numbers in the embedding of a label's second part."""


class ResidualBlock(nn.Module):
    """Two convolutions and a short cut, at half the resolution afterwards (StyleGAN2, figure 7c)."""

    def __init__(self, in_channels: int, out_channels: int, clamp: float | None) -> None:
        """Draw the weights; `clamp` limits the absolute value of a convolution's output."""
        super().__init__()
        self.conv0 = Convolution(in_channels, in_channels, 3, activation="lrelu", clamp=clamp)
        self.conv1 = Convolution(in_channels, out_channels, 3, activation="lrelu", down=2, clamp=clamp)
        self.skip = Convolution(in_channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Return features at half the resolution; both ways are scaled so that their sum keeps its variance."""
        return self.skip(x, gain=math.sqrt(0.5)) + self.conv1(self.conv0(x), gain=math.sqrt(0.5))


class Head(nn.Module):
    """Features of 4x4 pixels -> logit, by the product with the label's embedding (Miyato and Koyama 2018)."""

    def __init__(self, channels: int, label_features: int, group: int | None, clamp: float | None) -> None:
        """Draw the weights.

        Args:
            channels: of the input.
            label_features: numbers in the label's embedding; 0 for no label.
            group: samples whose differences are measured together.
            clamp: limit of the absolute value of the convolution's output.
        """
        super().__init__()
        self.deviation = MinibatchDeviation(group)
        self.conv = Convolution(channels + 1, channels, 3, activation="lrelu", clamp=clamp)
        self.hidden = FullyConnected(channels * 16, channels, activation="lrelu")
        self.output = FullyConnected(channels, max(label_features, 1))

    def forward(self, x: Float[Tensor, "b c 4 4"], label: Float[Tensor, "b l"] | None) -> Float[Tensor, "b 1"]:
        """Return the logit."""
        x = self.output(self.hidden(self.conv(self.deviation(x)).flatten(1)))
        if label is None:
            return x
        return (x * label).sum(dim=1, keepdim=True) / math.sqrt(label.shape[1])


class Discriminator(nn.Module):
    """Pictures and their camera labels -> logits, positive for real."""

    def __init__(
        self,
        resolution: int,
        *,
        picture_channels: int = 3,
        label_dim: int = 25,
        expression_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        group: int | None = 4,
        clamp: float | None = 256.0,
    ) -> None:
        """Draw the weights.

        Args:
            resolution: of the pictures: a power of two, at least 8.
            picture_channels: channels of the pictures.
            label_dim: numbers in a label that are embedded together; 0 for none.
            expression_dim: numbers that follow them and have an embedding of their own, `EXPRESSION_FEATURES` wide (the
                published code's DualLabelDualDiscriminator); 0 for none.
            channel_base: feature channels times resolution, before the maximum is applied.
            channel_max: most feature channels of a resolution.
            group: samples whose differences are measured together; None for the whole batch.
            clamp: limit of the absolute value of a convolution's output.
        """
        super().__init__()
        sizes = [resolution >> i for i in range(resolution.bit_length() - 2)]  # resolution, ..., 8, 4
        channels = [channels_at(size, channel_base, channel_max) for size in sizes]
        self.from_rgb = Convolution(picture_channels, channels[0], 1, activation="lrelu", clamp=clamp)
        self.blocks = nn.ModuleDict(
            {
                str(size): ResidualBlock(before, after, clamp)
                for size, before, after in zip(sizes[:-1], channels[:-1], channels[1:], strict=True)
            }
        )
        self.label_parts = [size for size in (label_dim, expression_dim) if size]
        self.mapping_network = self.expression_network = None
        embedded = 0
        if label_dim:
            self.mapping_network = MappingNetwork(0, label_dim, channels[-1], layers=8, track_mean=False)
            embedded += channels[-1]
        if expression_dim:
            self.expression_network = MappingNetwork(0, expression_dim, EXPRESSION_FEATURES, layers=8, track_mean=False)
            embedded += EXPRESSION_FEATURES
        self.head = Head(channels[-1], embedded, group, clamp)

    def forward(
        self, picture: Float[Tensor, "b c r r"], label: Float[Tensor, "b l"] | None = None
    ) -> Float[Tensor, "b 1"]:
        """Return the logits."""
        x = self.from_rgb(picture)
        for block in self.blocks.values():
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # 16 bits are for large pictures
            x = x.to(self.head.output.weight.dtype)
            return self.head(x, self.embedded(label))

    def embedded(self, label: Float[Tensor, "b l"] | None) -> Float[Tensor, "b e"] | None:
        """Return the label's embedding; None for a discriminator that is told nothing."""
        networks = [network for network in (self.mapping_network, self.expression_network) if network is not None]
        if not networks:
            return None
        assert label is not None
        parts = label.split(self.label_parts, dim=1)
        return torch.cat([network(None, part) for network, part in zip(networks, parts, strict=True)], dim=1)


class DualDiscriminator(nn.Module):
    """Sees the finished picture and the enlarged volume rendering at once, so that they have to agree.

    Next3D's sees the driving mesh besides (section 3.5, the synthetic rendering, which the published code has not), so
    that a picture has to show the expression that was asked for, and not just any.
    """

    def __init__(
        self,
        resolution: int,
        *,
        sees_driver: bool = False,
        label_dim: int = 25,
        expression_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        group: int | None = 4,
        clamp: float | None = 256.0,
    ) -> None:
        """Draw the weights.

        Args:
            resolution: of the finished pictures.
            sees_driver: whether it is shown the driving mesh.
            label_dim: this and all others are as in `Discriminator`.
            expression_dim: see there.
            channel_base: see there.
            channel_max: see there.
            group: see there.
            clamp: see there.
        """
        super().__init__()
        self.network = Discriminator(
            resolution, picture_channels=9 if sees_driver else 6, label_dim=label_dim, expression_dim=expression_dim,
            channel_base=channel_base, channel_max=channel_max, group=group, clamp=clamp,
        )  # fmt: skip

    def forward(
        self,
        image: Float[Tensor, "b 3 r r"],
        image_raw: Float[Tensor, "b 3 h w"],
        label: Float[Tensor, "b l"] | None = None,
        driver: Float[Tensor, "b 3 h2 w2"] | None = None,
    ) -> Float[Tensor, "b 1"]:
        """Return the logits.

        Args:
            image: finished pictures, -1..1.
            image_raw: their volume renderings; of real pictures the shrunk ones.
            label: what it is told.
            driver: the driving meshes, -1..1, of any size, where it sees them.
        """
        others = [image_raw] if driver is None else [image_raw, driver]
        pictures = [image, *(self.enlarged(other, image.shape[-1]) for other in others)]
        return self.network(torch.cat(pictures, dim=1), label)

    def enlarged(self, picture: Float[Tensor, "b 3 h w"], size: int) -> Float[Tensor, "b 3 s s"]:
        """Return volume renderings, or driving meshes, at the size of the finished pictures."""
        return F.interpolate(picture, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
