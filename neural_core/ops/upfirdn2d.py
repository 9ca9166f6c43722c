# SPDX-License-Identifier: Apache-2.0
"""Upsample, filter, downsample: the resampling of StyleGAN2 (Karras et al. 2020), in plain torch.

Filters are correlated with the picture after being flipped, which is convolution; `flip_filter` leaves that out.
Paddings are (left, right, top, bottom); a negative one crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Pair = int | Sequence[int]
Padding = int | Sequence[int]

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
"""The taps that StyleGAN2 and EG3D filter with in every layer."""
_SEPARABLE_FROM = 8  # taps; a shorter filter is cheaper as an outer product


def make_filter(
    taps: Sequence[float | int] | Sequence[Sequence[float | int]],
    *,
    normalize: bool = True,
    flip: bool = False,
    gain: float = 1.0,
) -> Float[Tensor, "..."]:
    """Return a filter for `upfirdn2d`.

    Args:
        taps: one row of taps (the filter is its outer product), or rows of rows.
        normalize: whether the taps are divided by their sum.
        flip: whether the taps are reversed.
        gain: factor of the filter's sum.

    Returns:
        [h, w], or [taps] if one row has at least eight taps (then it is applied along x and y in turn).
    """
    kernel = torch.as_tensor(taps, dtype=torch.float32)
    if kernel.ndim == 1 and kernel.numel() < _SEPARABLE_FROM:
        kernel = torch.outer(kernel, kernel)
    if normalize:
        kernel = kernel / kernel.sum()
    if flip:
        kernel = kernel.flip(tuple(range(kernel.ndim)))
    return kernel * gain ** (kernel.ndim / 2)


def upfirdn2d(
    x: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "..."] | None,
    *,
    up: Pair = 1,
    down: Pair = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Float[Tensor, "b c h2 w2"]:
    """Return the pictures after zero insertion, padding, filtering and decimation, in this order.

    Args:
        x: pictures.
        kernel: from `make_filter`; None is the identity.
        up: factor (x, y) of zero insertion; the zeros follow each pixel.
        down: factor (x, y) of decimation, which keeps pixel 0.
        padding: after zero insertion: one number, (x, y), or (left, right, top, bottom).
        flip_filter: True correlates with the filter as it stands, False convolves.
        gain: factor of the result.

    Differentiable any number of times in x.
    """
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    left, right, top, bottom = parse_padding(padding)
    if up_x > 1 or up_y > 1:
        x = _insert_zeros(x, up_x, up_y)
    if any((left, right, top, bottom)):
        x = F.pad(x, [left, right, top, bottom])
    if kernel is None:
        x = x * gain if gain != 1 else x
        return x[:, :, ::down_y, ::down_x]
    taps = (kernel * gain ** (kernel.ndim / 2)).to(x.dtype)
    if not flip_filter:
        taps = taps.flip(tuple(range(taps.ndim)))
    # Every channel by itself: channels join the batch, since one-channel convolutions outrun grouped ones on CPUs.
    planes = x.reshape(-1, 1, *x.shape[2:])
    if taps.ndim == 1:
        planes = _correlate(planes, taps[None, :])[:, :, :, ::down_x]
        planes = _correlate(planes, taps[:, None])[:, :, ::down_y]
    else:
        planes = _correlate(planes, taps)[:, :, ::down_y, ::down_x]
    return planes.reshape(*x.shape[:2], *planes.shape[2:])


def _correlate(planes: Float[Tensor, "n 1 h w"], taps: Float[Tensor, "kh kw"]) -> Float[Tensor, "n 1 h2 w2"]:
    """Return one-channel pictures correlated with constant taps, where these fit in."""
    return cast("Tensor", _Correlation.apply(planes, taps))


class _Correlation(torch.autograd.Function):
    """Correlation whose gradient is another correlation.

    The generic gradient of a one-channel convolution is ten times slower on CPUs. This one can be differentiated any
    number of times in the pictures; the taps are constants.
    """

    @staticmethod
    def forward(ctx: Any, planes: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(taps)
        with torch.autocast(planes.device.type, enabled=False):  # the caller chose the precision: that of `planes`
            return F.conv2d(planes, taps[None, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (taps,) = ctx.saved_tensors
        height, width = taps.shape
        padded = F.pad(gradients[0], [width - 1, width - 1, height - 1, height - 1])
        return _correlate(padded, taps.flip(0, 1)), None


def filter2d(
    x: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "..."],
    *,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Float[Tensor, "b c h2 w2"]:
    """Return the pictures filtered, of the same size if `padding` is 0."""
    width, height = _size(kernel)
    pads = _add(parse_padding(padding), width // 2, (width - 1) // 2, height // 2, (height - 1) // 2)
    return upfirdn2d(x, kernel, padding=pads, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "..."],
    *,
    up: int = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Float[Tensor, "b c h2 w2"]:
    """Return the pictures `up` times larger; the filter's gain makes up for the inserted zeros."""
    pads = _add(parse_padding(padding), *up_padding(kernel, up))
    return upfirdn2d(x, kernel, up=up, padding=pads, flip_filter=flip_filter, gain=gain * up**2)


def downsample2d(
    x: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "..."],
    *,
    down: int = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Float[Tensor, "b c h2 w2"]:
    """Return the pictures filtered and `down` times smaller."""
    pads = _add(parse_padding(padding), *down_padding(kernel, down))
    return upfirdn2d(x, kernel, down=down, padding=pads, flip_filter=flip_filter, gain=gain)


def up_padding(kernel: Float[Tensor, "..."], up: int) -> tuple[int, int, int, int]:
    """Return the padding that keeps an upsampled picture centred and exactly `up` times as large."""
    width, height = _size(kernel)
    return (width + up - 1) // 2, (width - up) // 2, (height + up - 1) // 2, (height - up) // 2


def down_padding(kernel: Float[Tensor, "..."], down: int) -> tuple[int, int, int, int]:
    """Return the padding that keeps a downsampled picture centred and exactly `down` times as small."""
    width, height = _size(kernel)
    return (width - down + 1) // 2, (width - down) // 2, (height - down + 1) // 2, (height - down) // 2


def parse_padding(padding: Padding) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom) of one number, (x, y), or all four."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        x, y = padding
        return x, x, y, y
    left, right, top, bottom = padding
    return left, right, top, bottom


def _insert_zeros(x: Float[Tensor, "b c h w"], up_x: int, up_y: int) -> Float[Tensor, "b c h2 w2"]:
    batch, channels, height, width = x.shape
    # Padding two new axes puts each pixel at the start of its own up_y x up_x cell.
    cells = F.pad(x.reshape(batch, channels, height, 1, width, 1), [0, up_x - 1, 0, 0, 0, up_y - 1])
    return cells.reshape(batch, channels, height * up_y, width * up_x)


def _pair(factor: Pair) -> tuple[int, int]:
    if isinstance(factor, int):
        return factor, factor
    x, y = factor
    return x, y


def _size(kernel: Float[Tensor, "..."]) -> tuple[int, int]:
    """Return the width and the height."""
    return kernel.shape[-1], kernel.shape[0]


def _add(pads: tuple[int, int, int, int], *more: int) -> tuple[int, int, int, int]:
    left, right, top, bottom = (a + b for a, b in zip(pads, more, strict=True))
    return left, right, top, bottom
