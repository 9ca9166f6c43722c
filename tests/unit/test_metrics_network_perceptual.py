# SPDX-License-Identifier: Apache-2.0
"""LPIPS: random trunks in torchvision's published layout, against the paper's formula computed from those names."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from neural_core import others
from neural_core.errors import InputError, UsageError
from neural_core.perceptual import lpips, perceptual_distance

# A layer's place, channels in and out, kernel, stride, padding; "pool" is 3 x 3, stride 2; a "|" is where
# features are compared: behind the ReLU.
ALEXNET = [
    *((0, 3, 64, 11, 4, 2), "|", "pool", (3, 64, 192, 5, 1, 2), "|", "pool", (6, 192, 384, 3, 1, 1), "|"),
    *((8, 384, 256, 3, 1, 1), "|", (10, 256, 256, 3, 1, 1), "|"),
]


@pytest.fixture(scope="module")
def heads() -> Path:
    """The folder of the library's heads; its torchvision need not fit the installed torch."""
    try:
        return Path(others.library("lpips", "this test", "metrics").__file__).parent / "weights" / "v0.1"
    except UsageError as error:
        pytest.skip(str(error))


def trunk(layout) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {"classifier.1.bias": torch.zeros(4096)}  # which LPIPS has no use for
    for layer in layout:
        if not isinstance(layer, str):
            place, inputs, outputs, kernel, *_ = layer
            spread = (2 / (inputs * kernel**2)) ** 0.5
            weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * spread
            tensors[f"features.{place}.weight"] = weight
            tensors[f"features.{place}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    return tensors


def features(x, layout, tensors):
    found = []
    for layer in layout:
        if layer == "|":
            found.append(x / x.norm(dim=1, keepdim=True).clamp(min=1e-9))
        elif layer == "pool":
            x = functional.max_pool2d(x, 3, 2)
        else:
            name = f"features.{layer[0]}"
            x = functional.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], layer[4], layer[5]).relu()
    return found


def test_the_distance_is_the_papers_equation(heads, tmp_path):
    tensors = trunk(ALEXNET)
    torch.save(tensors, tmp_path / "trunk.pth")
    network = lpips(tmp_path / "trunk.pth")
    a, b = torch.rand(2, 2, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    found = perceptual_distance(network, a, b)

    # The usual mean and deviation of ImageNet's colours, in the library's rounding, for pictures in -1..1.
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[:, None, :, None, None]
    of_a, of_b = (features(((x * 2 - 1) - shift) / scale, ALEXNET, tensors) for x in (a, b))
    counts = torch.load(heads / "alex.pth", map_location="cpu", weights_only=True)
    expected = sum(
        ((x - y).square() * counts[f"lin{level}.model.1.weight"][0]).sum(1).mean((1, 2))
        for level, (x, y) in enumerate(zip(of_a, of_b, strict=True))
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found.min() > 0.01
    assert perceptual_distance(network, a, a).abs().max() == 0


def test_it_is_differentiable_to_pictures_and_not_to_weights(heads, tmp_path):
    torch.save(trunk(ALEXNET), tmp_path / "trunk.pth")
    network = lpips(tmp_path / "trunk.pth")
    picture = torch.rand(1, 3, 64, 64, requires_grad=True)
    perceptual_distance(network, picture, torch.rand(1, 3, 64, 64)).sum().backward()
    assert picture.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(InputError, match="at least 64 pixels, and got 48"):
        perceptual_distance(network, torch.rand(1, 3, 64, 48), torch.rand(1, 3, 64, 48))


def test_another_trunk_is_refused(heads, tmp_path):
    torch.save(trunk(ALEXNET[:-2]), tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r'"cut.pth" does not hold the network that it should: it lacks slice'):
        lpips(tmp_path / "cut.pth")
