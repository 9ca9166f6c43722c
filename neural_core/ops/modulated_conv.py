# SPDX-License-Identifier: Apache-2.0
"""Convolution with resampling, and with weights modulated per sample (StyleGAN2, Karras et al. 2020, section 2.2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .upfirdn2d import Padding, down_padding, parse_padding, up_padding, upfirdn2d


def conv2d_resample(
    x: Float[Tensor, "b i h w"],
    weight: Float[Tensor, "o i2 kh kw"],
    kernel: Float[Tensor, "..."] | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Float[Tensor, "b o h2 w2"]:
    """Return a convolution between an upsampling before it and a downsampling after it.

    Args:
        x: input.
        weight: as `torch.nn.functional.conv2d` takes it; i2 = i / groups.
        kernel: low-pass filter of both resamplings, from `make_filter`.
        up: factor of upsampling.
        down: factor of downsampling.
        padding: with respect to the upsampled picture.
        groups: as for conv2d.
        flip_weight: True correlates (what torch calls convolution), False convolves.
        flip_filter: True correlates with the filter, False convolves.

    Filtering and convolving commute, which is used to do the expensive one at the lower resolution; it moves results
    by rounding only.
    """
    height, width = weight.shape[2:]
    left, right, top, bottom = parse_padding(padding)
    if kernel is not None:
        for factor, pads in ((up, up_padding), (down, down_padding)):
            if factor > 1:
                extra = pads(kernel, factor)
                left, right, top, bottom = left + extra[0], right + extra[1], top + extra[2], bottom + extra[3]
    if not flip_weight:
        weight = weight.flip((2, 3))

    if up > 1:
        # Transposed convolution = zero insertion, full padding, convolution. It begins kw-1 pixels early and ends
        # kw-up pixels late compared with the picture that the padding speaks of.
        x = _transposed_conv(x, weight, up, groups)
        pads = (left - (width - 1), right - (width - up), top - (height - 1), bottom - (height - up))
        x = upfirdn2d(x, kernel, padding=pads, gain=float(up**2), flip_filter=flip_filter)
        return upfirdn2d(x, kernel, down=down, flip_filter=flip_filter) if down > 1 else x
    if down > 1 and height == width == 1:
        x = upfirdn2d(x, kernel, down=down, padding=(left, right, top, bottom), flip_filter=flip_filter)
        return F.conv2d(x, weight, groups=groups)
    if down > 1:
        x = upfirdn2d(x, kernel, padding=(left, right, top, bottom), flip_filter=flip_filter)
        return F.conv2d(x, weight, stride=down, groups=groups)
    if left == right >= 0 and top == bottom >= 0:
        return F.conv2d(x, weight, padding=(top, left), groups=groups)
    return F.conv2d(F.pad(x, [left, right, top, bottom]), weight, groups=groups)


def modulated_conv2d(
    x: Float[Tensor, "b i h w"],
    weight: Float[Tensor, "o i kh kw"],
    styles: Float[Tensor, "b i"],
    *,
    noise: Float[Tensor, "..."] | None = None,
    kernel: Float[Tensor, "..."] | None = None,
    up: int = 1,
    padding: Padding = 0,
    demodulate: bool = True,
    flip_weight: bool = True,
    fused: bool = False,
) -> Float[Tensor, "b o h2 w2"]:
    """Return a convolution whose input channels are scaled by each sample's style.

    Args:
        x: input.
        weight: shared by the samples.
        styles: scale of each input channel.
        noise: added to the result; broadcast.
        kernel: low-pass filter of the upsampling.
        up: factor of upsampling.
        padding: with respect to the upsampled picture.
        demodulate: whether each output channel is divided by the norm of its modulated weights (equation 3).
        flip_weight: as in `conv2d_resample`.
        fused: True modulates the weights (one group a sample), False modulates the activations instead. The results
            differ by rounding; the first is quicker for one sample, the second for many.

    Differentiable any number of times.
    """
    batch = x.shape[0]
    demodulation = None
    if demodulate:
        # sum over (i, k, k) of (w * style)^2 = (sum over k of w^2) . style^2: no copy of the weights per sample
        energy = weight.square().sum((2, 3))
        demodulation = (styles.square() @ energy.T + 1e-8).rsqrt()

    if fused:
        modulated = weight[None] * styles[:, None, :, None, None]
        if demodulation is not None:
            modulated = modulated * demodulation[:, :, None, None, None]
        x = conv2d_resample(
            x.reshape(1, -1, *x.shape[2:]), modulated.flatten(0, 1).to(x.dtype), kernel,
            up=up, padding=padding, groups=batch, flip_weight=flip_weight,
        )  # fmt: skip
        x = x.reshape(batch, -1, *x.shape[2:])
    else:
        x = x * styles[:, :, None, None].to(x.dtype)
        x = conv2d_resample(x, weight.to(x.dtype), kernel, up=up, padding=padding, flip_weight=flip_weight)
        if demodulation is not None:
            x = x * demodulation[:, :, None, None].to(x.dtype)
    return x if noise is None else x + noise.to(x.dtype)


def _transposed_conv(
    x: Float[Tensor, "b i h w"], weight: Float[Tensor, "o i2 kh kw"], up: int, groups: int
) -> Float[Tensor, "b o h2 w2"]:
    """Return the full correlation of x, with zeros inserted, with the weights (torch's own is a convolution)."""
    weight = weight.flip((2, 3))
    weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # to [i, o / groups, kh, kw]
    return F.conv_transpose2d(x, weight, stride=up, groups=groups)
