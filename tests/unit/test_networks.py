# SPDX-License-Identifier: Apache-2.0
"""Networks: shapes, which part of w_plus acts where, clamps, noise, precision; discriminators."""

import pytest
import torch
from torch.testing import assert_close

from neural_core.nn.decoders import TriplaneDecoder, squash_colour
from neural_core.nn.layers import (
    Convolution,
    FullyConnected,
    MinibatchDeviation,
    filtered_resize,
    normalise_second_moment,
)
from neural_core.nn.stylegan2 import MappingNetwork, SynthesisLayer, SynthesisNetwork, ToRGB, channels_at
from neural_core.nn.superresolution import SubpixelSuperResolution, SuperResolution
from neural_core.ops.upfirdn2d import BINOMIAL, make_filter
from training.discriminators import Discriminator, DualDiscriminator


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def synthesis():
    return SynthesisNetwork(16, 32, 6, (8, 8, 6, 4)).requires_grad_(False)


def test_channels():
    assert [channels_at(size, 1024, 100) for size in (4, 8, 16, 32)] == [100, 100, 64, 32]


def test_root_mean_square_becomes_one():
    found = normalise_second_moment(torch.randn(5, 1000) * 7)
    assert_close(found.square().mean(1), torch.ones(5))


def test_learning_rate_multiplier_scales_steps_not_outputs():
    """Two layers of the same effective weights; after one step of gradient descent the slow one moved 0.01^2 as far."""
    slow, plain = FullyConnected(4, 3, lr_multiplier=0.01, bias_init=1.0), FullyConnected(4, 3, bias_init=1.0)
    slow.weight.data = plain.weight.data / 0.01
    x = torch.randn(2, 4)
    assert_close(slow(x), plain(x))
    before = plain(x).detach()
    for layer in (slow, plain):
        layer(x).sum().backward()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter -= 0.1 * parameter.grad
    assert_close((slow(x) - before) * 1e4, plain(x) - before, rtol=0.02, atol=1e-3)


def test_unit_variance_passes_through():
    x = torch.randn(64, 256)
    for layer in (FullyConnected(256, 256, activation="lrelu"), FullyConnected(256, 256)):
        assert layer(x).square().mean().item() == pytest.approx(1.04 if layer.activation == "lrelu" else 1, rel=0.1)
    pictures = torch.randn(4, 64, 16, 16)
    found = Convolution(64, 64, 3, activation="lrelu")(pictures)[..., 1:-1, 1:-1]
    assert found.square().mean().item() == pytest.approx(1.04, rel=0.1)


def test_clamp_scales_with_the_gain():
    layer = Convolution(3, 5, 3, clamp=0.5)
    x = torch.randn(1, 3, 8, 8) * 100
    assert layer(x).abs().max().item() == pytest.approx(0.5)
    assert layer(x, gain=0.2).abs().max().item() == pytest.approx(0.1)


def test_minibatch_deviation_counts_the_group():
    """Samples i and i + 2 are a group of two; the channel holds their mean standard deviation."""
    x = torch.randn(4, 3, 2, 2)
    found = MinibatchDeviation(2)(x)
    assert_close(found[:, :3], x)
    for first in (0, 1):
        deviation = ((x[first] - x[first + 2]) / 2).abs().mean()
        assert_close(found[[first, first + 2], 3], deviation.expand(2, 2, 2), rtol=1e-4, atol=1e-4)


def test_filtered_resize_blends():
    x, kernel = torch.rand(1, 2, 16, 16), make_filter(BINOMIAL)
    plain, smooth = (filtered_resize(x, 6, kernel, mode) for mode in ("none", "antialiased"))
    assert_close(filtered_resize(x, 6, kernel, 0.25), 0.75 * plain + 0.25 * smooth)
    assert filtered_resize(x, 40, kernel, "classic").shape == (1, 2, 40, 40)


def test_truncation():
    network = MappingNetwork(8, 0, 6, layers=2)
    network.w_mean += torch.randn(6)
    w_plus = network(torch.randn(3, 8))[:, None].expand(-1, 5, -1)
    assert_close(network.truncate(w_plus, 1.0), w_plus)
    assert_close(network.truncate(w_plus, 0.0), network.w_mean.expand(3, 5, 6))
    half = network.truncate(w_plus, 0.5, 2)
    assert_close(half[:, :2], (w_plus[:, :2] + network.w_mean) / 2)
    assert_close(half[:, 2:], w_plus[:, 2:])


def test_mean_w_follows_only_when_told():
    network = MappingNetwork(8, 0, 6, layers=2)
    w = network(torch.randn(3, 8)).detach()
    assert not network.w_mean.any()
    network.track(w, 0.9)
    assert_close(network.w_mean, 0.1 * w.mean(0))


def test_code_is_normalised_unless_it_has_a_meaning():
    z = torch.randn(2, 8)
    for normalise in (True, False):
        network = MappingNetwork(8, 0, 6, layers=1, normalise_z=normalise)
        assert torch.allclose(network(z), network(3 * z), atol=1e-5) == normalise


def test_label_conditions():
    network = MappingNetwork(8, 25, 6, layers=2)
    z, label = torch.randn(1, 8).expand(2, -1), torch.randn(2, 25)
    w = network(z, label)
    assert not torch.allclose(w[0], w[1])


def test_which_w_acts_where(synthesis):
    """Each resolution has two convolutions (the first one only one); a picture shares its w with what follows."""
    w_plus = torch.randn(1, synthesis.layers, 16)
    assert synthesis.layers == 8
    reference = features(synthesis, w_plus)
    first_touched = []
    for layer in range(synthesis.layers):
        changed = w_plus.clone()
        changed[:, layer] += 1
        found = features(synthesis, changed)
        touched = [size for size in found if not torch.allclose(found[size], reference[size])]
        first_touched.append(int(touched[0]) if touched else None)
        assert not torch.allclose(synthesis(changed), synthesis(w_plus))
    # the last w only colours the last picture
    assert first_touched == [4, 8, 8, 16, 16, 32, 32, None]


def features(synthesis, w_plus):
    """Return the features of each block."""
    seen = {}
    hooks = [
        block.register_forward_hook(lambda module, given, result, size=size: seen.update({size: result[0]}))
        for size, block in synthesis.blocks.items()
    ]
    synthesis(w_plus)
    for hook in hooks:
        hook.remove()
    return seen


def test_batch_equals_singles(synthesis):
    """One sample has its weights modulated, many their activations; it comes to the same."""
    w_plus = torch.randn(3, 8, 16)
    assert_close(synthesis(w_plus), torch.cat([synthesis(w[None]) for w in w_plus]), rtol=1e-4, atol=1e-4)


def test_noise_modes(synthesis):
    w_plus = torch.randn(1, 8, 16)
    for module in synthesis.modules():
        if isinstance(module, SynthesisLayer):
            module.noise_strength.fill_(0.5)
    const, none = synthesis(w_plus, "const"), synthesis(w_plus, "none")
    assert_close(const, synthesis(w_plus, "const"))
    assert not torch.allclose(const, none)
    torch.manual_seed(1)
    first = synthesis(w_plus, "random")
    assert not torch.allclose(first, synthesis(w_plus, "random"))


def test_synthesis_refuses_a_wrong_count_of_channels():
    with pytest.raises(ValueError, match="end at 16, not at 32"):
        SynthesisNetwork(16, 32, 3, (8, 8, 8))


def test_to_rgb_is_linear_in_its_input():
    layer = ToRGB(4, 3, 8).requires_grad_(False)
    x, w = torch.randn(2, 4, 5, 5), torch.randn(2, 8)
    assert_close(layer(2 * x, w) - layer(x, w), layer(3 * x, w) - layer(2 * x, w), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("doubles", "size"), [(True, 64), (False, 32)])
def test_superresolution(doubles, size):
    network = SuperResolution(8, 16, input_resolution=16, channels=(6, 4), first_doubles=doubles).requires_grad_(False)
    w_plus = torch.randn(2, 5, 16)
    rgb, x = torch.randn(2, 3, 12, 12), torch.randn(2, 8, 12, 12)
    found = network(rgb, x, w_plus)
    assert found.shape == (2, 3, size, size)
    assert network.resolution == size
    w_plus[:, :-1] += 1
    assert_close(network(rgb, x, w_plus), found)
    w_plus[:, -1] += 1
    assert not torch.allclose(network(rgb, x, w_plus), found)


def test_superresolution_starts_from_the_rendering():
    """With silent picture layers it is the rendering, enlarged."""
    network = SuperResolution(8, 16, input_resolution=16, channels=(6, 4), first_doubles=False).requires_grad_(False)
    for block in (network.block0, network.block1):
        block.to_rgb.weight.zero_()
        block.to_rgb.bias.zero_()
    rgb = torch.full((1, 3, 16, 16), 0.3)
    found = network(rgb, torch.randn(1, 8, 16, 16), torch.randn(1, 5, 16))
    assert_close(found[..., 2:-2, 2:-2], torch.full((1, 3, 28, 28), 0.3))


def test_decoder():
    decoder = TriplaneDecoder(12, hidden=10, features=5)
    density, colour = decoder(torch.randn(2, 7, 12) * 100)
    assert density.shape == (2, 7, 1)
    assert colour.shape == (2, 7, 5)
    assert -0.001 <= colour.min() < 0.1
    assert 0.9 < colour.max() <= 1.001
    assert_close(squash_colour(torch.tensor([-99.0, 0.0, 99.0])), torch.tensor([-0.001, 0.5, 1.001]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_synthesis_under_autocast(synthesis, dtype):
    w_plus = torch.randn(2, 8, 16)
    expected = synthesis(w_plus)
    with torch.autocast("cpu", dtype):
        found = synthesis(w_plus)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


# Discriminators


def test_dual_discriminator_sees_both_pictures():
    network = DualDiscriminator(32, channel_base=128, channel_max=8)
    image, raw, label = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 8, 8), torch.randn(2, 25)
    logits = network(image, raw, label)
    assert logits.shape == (2, 1)
    for changed in ((image + 1, raw, label), (image, raw + 1, label), (image, raw, label + 1)):
        assert not torch.allclose(network(*changed), logits)


@pytest.mark.parametrize("label_dim", [0, 25])
def test_r1_can_be_trained(label_dim):
    network = Discriminator(16, label_dim=label_dim, channel_base=64, channel_max=4, group=2).double()
    picture = torch.randn(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    label = torch.randn(2, 25, dtype=torch.float64) if label_dim else None

    def penalty(weight):
        logits = torch.func.functional_call(network, {"from_rgb.weight": weight}, (picture, label))
        (gradient,) = torch.autograd.grad(logits.sum(), picture, create_graph=True)
        return gradient.square().sum()

    # the gradient of the penalty, against a difference of penalties
    weight = network.from_rgb.weight.detach().requires_grad_()
    (found,) = torch.autograd.grad(penalty(weight), weight)
    step, direction = 1e-5, torch.randn_like(weight)
    difference = (penalty(weight + step * direction) - penalty(weight - step * direction)) / (2 * step)
    assert (found * direction).sum().item() == pytest.approx(difference.item(), rel=1e-4)


def test_discriminator_of_unit_pictures_is_not_saturated():
    network = Discriminator(32, channel_base=512, channel_max=32)
    logits = network(torch.randn(16, 3, 32, 32), torch.randn(16, 25)).detach()
    assert 0.001 < logits.std() < 10


def test_subpixel_superresolution_begins_as_an_enlargement_that_knows_coverage():
    network = SubpixelSuperResolution(5, (6, 4)).requires_grad_(False)
    column = torch.arange(8.0)
    features = (column / 10 - 0.4).expand(2, 5, 8, 8)
    picture, opacity = network(features, (column / 7).expand(2, 1, 8, 8))
    where = ((torch.arange(32.0) + 0.5) / 4 - 0.5).clamp(0, 7)  # the same ramp, in steps of a quarter
    torch.testing.assert_close(picture, (where / 10 - 0.4).expand(2, 3, 32, 32), atol=1e-6, rtol=0)
    torch.testing.assert_close(opacity, (where / 7).expand(2, 1, 32, 32), atol=1e-6, rtol=0)


def test_subpixel_superresolution_of_a_crop_is_a_crop_and_every_pixel_can_differ():
    torch.manual_seed(5)
    network = SubpixelSuperResolution(5, (6, 4)).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    features, opacity = torch.randn(1, 5, 20, 20), torch.rand(1, 1, 20, 20)
    whole = torch.cat(network(features, opacity), dim=1)
    part = torch.cat(network(features[..., 2:, 3:], opacity[..., 2:, 3:]), dim=1)
    reach = 5  # three layers at the rendering's pixels, two at half of one: edges reach this far at most
    inner = slice(4 * reach, None)
    torch.testing.assert_close(part[..., inner, inner], whole[..., 8:, 12:][..., inner, inner], atol=1e-5, rtol=0)
    assert not torch.allclose(part, whole[..., 8:, 12:])
    one_square = (whole - torch.cat([features[:, :3], opacity], 1).repeat_interleave(4, 2).repeat_interleave(4, 3))[
        0, 0, 40:44, 40:44
    ]
    assert one_square.flatten().unique().numel() == 16
