# SPDX-License-Identifier: Apache-2.0
"""Operations against loops, closed forms and each other; gradients of first and second order."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from neural_core.ops.bias_act import activation_gain, bias_act
from neural_core.ops.modulated_conv import conv2d_resample, modulated_conv2d
from neural_core.ops.upfirdn2d import (
    BINOMIAL,
    downsample2d,
    filter2d,
    make_filter,
    parse_padding,
    upfirdn2d,
    upsample2d,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_upfirdn2d(picture, kernel, up, down, padding, gain):
    """Zero insertion, padding or cropping, convolution and decimation of one channel, written out."""
    height, width = picture.shape
    large = np.zeros((height * up, width * up))
    large[::up, ::up] = picture
    left, right, top, bottom = padding
    large = np.pad(large, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
    large = large[max(-top, 0) : large.shape[0] - max(-bottom, 0), max(-left, 0) : large.shape[1] - max(-right, 0)]
    rows, columns = kernel.shape
    out = np.zeros((large.shape[0] - rows + 1, large.shape[1] - columns + 1))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for i in range(rows):
                for j in range(columns):
                    out[y, x] += kernel[i, j] * large[y + rows - 1 - i, x + columns - 1 - j]
    return gain * out[::down, ::down]


@pytest.mark.parametrize(
    ("up", "down", "padding"), [(1, 1, (1, 2, 0, 3)), (2, 1, (2, 1, 2, 1)), (2, 3, (-1, 4, 3, -2))]
)
def test_upfirdn2d_equals_loops(up, down, padding):
    kernel, x = random(3, 4, seed=1), random(2, 3, 5, 6)
    found = upfirdn2d(x, kernel, up=up, down=down, padding=padding, gain=1.7)
    for sample in range(2):
        for channel in range(3):
            expected = slow_upfirdn2d(x[sample, channel].numpy(), kernel.numpy(), up, down, padding, 1.7)
            np.testing.assert_allclose(found[sample, channel].numpy(), expected, atol=1e-12)


def test_long_filters_are_separable():
    taps = [float(i * i % 7 + 1) for i in range(8)]
    kernel, outer = make_filter(taps), make_filter(np.outer(taps, taps).tolist())
    assert kernel.ndim == 1
    x = random(1, 2, 12, 11)
    torch.testing.assert_close(filter2d(x, kernel), filter2d(x, outer))
    assert filter2d(x, kernel).shape == x.shape


def test_a_constant_picture_stays_constant():
    """Up- and downsampling keep brightness; at the edges the zeros around the picture shine in."""
    kernel, x = make_filter(BINOMIAL), torch.full((1, 1, 8, 8), 3.0)
    torch.testing.assert_close(upsample2d(x, kernel)[..., 2:-2, 2:-2], torch.full((1, 1, 12, 12), 3.0))
    torch.testing.assert_close(downsample2d(x, kernel)[..., 1:-1, 1:-1], torch.full((1, 1, 2, 2), 3.0))


def test_a_ramp_is_upsampled_to_a_ramp():
    """[1, 3, 3, 1] interpolates linearly: new pixels lie a quarter of a pixel to each side of the old ones."""
    x = torch.arange(8.0).expand(1, 1, 8, 8)
    found = upsample2d(x, make_filter(BINOMIAL))[0, 0, 8, 2:-2]
    torch.testing.assert_close(found, torch.arange(12.0) / 2 + 0.75)


@pytest.mark.parametrize(
    ("given", "expected"), [(2, (2, 2, 2, 2)), ((1, 2), (1, 1, 2, 2)), ((1, 2, 3, 4), (1, 2, 3, 4))]
)
def test_parse_padding(given, expected):
    assert parse_padding(given) == expected


@pytest.mark.parametrize(
    ("activation", "value", "expected"),
    [
        ("linear", -2.0, -2.0), ("relu", -2.0, 0.0), ("relu", 2.0, 2 * math.sqrt(2)),
        ("lrelu", -2.0, -0.4 * math.sqrt(2)),
        ("tanh", 0.5, math.tanh(0.5)), ("sigmoid", 0.0, 0.5), ("elu", -1.0, math.exp(-1) - 1),
        ("softplus", 0.0, math.log(2)), ("swish", 1.0, math.sqrt(2) / (1 + math.exp(-1))),
        ("selu", 1.0, 1.0507009873554805),
    ],
)  # fmt: skip
def test_activations(activation, value, expected):
    x = torch.tensor([[value]], dtype=torch.float64)
    assert bias_act(x, activation=activation).item() == pytest.approx(expected)


def test_order_is_bias_activation_gain_clamp():
    x = torch.tensor([[-1.0, 1.0, 3.0]])
    found = bias_act(x, torch.tensor([0.5, -2.0, 0.0]), activation="lrelu", slope=0.1, gain=10.0, clamp=5.0)
    torch.testing.assert_close(found, torch.tensor([[-0.5, -1.0, 5.0]]))


def test_bias_runs_along_the_chosen_axis():
    x, bias = torch.zeros(2, 3, 4), torch.arange(4.0)
    torch.testing.assert_close(bias_act(x, bias, dim=-1), bias.expand(2, 3, 4))
    torch.testing.assert_close(bias_act(x, bias[:3])[0, :, 0], bias[:3])


def test_gains_keep_the_variance():
    x = random(200_000)
    for activation in ("relu", "lrelu"):
        found = bias_act(x[None], activation=activation).square().mean().item()
        slope = 0.0 if activation == "relu" else 0.2
        assert found == pytest.approx(1 + slope**2, rel=0.02)
    assert activation_gain("linear") == 1


@pytest.mark.parametrize("size", [1, 3])
def test_upsampling_convolution_is_upsampling_then_convolution(size):
    kernel, x, weight = make_filter(BINOMIAL).double(), random(2, 3, 6, 5), random(4, 3, size, size, seed=2)
    found = conv2d_resample(x, weight, kernel, up=2, padding=size // 2)
    # in the middle, where no padding reaches: filtering before or after a convolution is the same
    expected = F.conv2d(upsample2d(x, kernel), weight, padding=size // 2)
    assert found.shape == expected.shape
    torch.testing.assert_close(found[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3])


@pytest.mark.parametrize("size", [1, 3])
def test_downsampling_convolution_is_convolution_then_downsampling(size):
    kernel, x, weight = make_filter(BINOMIAL).double(), random(2, 3, 12, 10), random(4, 3, size, size, seed=2)
    found = conv2d_resample(x, weight, kernel, down=2, padding=size // 2)
    expected = downsample2d(F.conv2d(x, weight, padding=size // 2), kernel)
    assert found.shape == expected.shape
    torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_one_sample_at_a_time(up, demodulate):
    """Fused or not, each sample's weights are the shared ones times its styles, divided by their norm."""
    kernel, x, weight, styles = (
        make_filter(BINOMIAL).double(),
        random(3, 4, 5, 5),
        random(2, 4, 3, 3, seed=1),
        random(3, 4, seed=2),
    )
    expected = []
    for sample in range(3):
        own = weight * styles[sample, None, :, None, None]
        if demodulate:
            own = own / own.flatten(1).norm(dim=1)[:, None, None, None]
        expected.append(conv2d_resample(x[sample : sample + 1], own, kernel, up=up, padding=1))
    for fused in (True, False):
        found = modulated_conv2d(x, weight, styles, kernel=kernel, up=up, padding=1, demodulate=demodulate, fused=fused)
        torch.testing.assert_close(found, torch.cat(expected), rtol=1e-6, atol=1e-6)


def test_flipped_weights_convolve():
    x, weight = random(1, 1, 5, 5), random(1, 1, 3, 3, seed=1)
    found = conv2d_resample(x, weight, flip_weight=False)
    torch.testing.assert_close(found, F.conv2d(x, weight.flip((2, 3))))


# R1 differentiates the discriminator's gradient, and path length regularisation the generator's.

BLUR = make_filter(BINOMIAL).double()
OPERATIONS = {
    "upfirdn2d": lambda x, w, s: upfirdn2d(x, BLUR, up=2, down=3, padding=(2, 1, 0, 2)),
    "upsampling convolution": lambda x, w, s: conv2d_resample(x, w, BLUR, up=2, padding=1),
    "downsampling convolution": lambda x, w, s: conv2d_resample(x, w, BLUR, down=2, padding=1),
    "modulated": lambda x, w, s: modulated_conv2d(x, w, s, padding=1),
    "modulated, fused": lambda x, w, s: modulated_conv2d(x, w, s, padding=1, fused=True),
    "modulated, up": lambda x, w, s: modulated_conv2d(x, w, s, kernel=BLUR, up=2, padding=1),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_of_both_orders(name):
    inputs = [random(2, 2, 4, 4), random(2, 2, 3, 3, seed=1), random(2, 2, seed=2)]
    inputs = tuple(value.requires_grad_() for value in inputs)
    function = OPERATIONS[name]
    if "modulated" not in name:
        function, inputs = (lambda x, w: OPERATIONS[name](x, w, None)), inputs[:2]
    if name == "upfirdn2d":
        function, inputs = (lambda x: OPERATIONS[name](x, None, None)), inputs[:1]
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half(dtype):
    x, weight, styles = random(2, 4, 5, 5), random(3, 4, 3, 3, seed=1), random(2, 4, seed=2)
    expected = modulated_conv2d(x, weight, styles, kernel=make_filter(BINOMIAL), up=2, padding=1)
    found = modulated_conv2d(x.to(dtype), weight, styles, kernel=make_filter(BINOMIAL), up=2, padding=1)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=0.05, rtol=0.05)
