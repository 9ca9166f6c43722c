# SPDX-License-Identifier: Apache-2.0
"""Identity: alignment and cosines by hand, both published layouts of ArcFace with random weights."""

import math

import numpy as np
import pytest
import skimage.transform
import torch
from torch.nn import functional

from neural_core.errors import InputError
from training.metrics.identity import (
    TEMPLATE,
    aligned,
    arcface,
    cosine_similarity,
    embeddings,
    five_points,
    multi_view_identity,
    similarity,
)


def smooth_picture(height: int, width: int) -> torch.Tensor:
    """A picture whose value at a place (x, y) in pixels from the corner is known everywhere."""
    x = torch.arange(width) + 0.5
    y = torch.arange(height)[:, None] + 0.5
    return torch.stack([x / 200 + 0 * y, y / 200 + 0 * x, (x + 2 * y) / 600])[None]


def test_the_similarity_is_scikit_images():
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(3, 5, 2)), generator.normal(size=(3, 5, 2))
    found = similarity(torch.from_numpy(source), torch.from_numpy(target)).numpy()
    for index in range(3):
        expected = skimage.transform.SimilarityTransform.from_estimate(source[index], target[index])
        np.testing.assert_allclose(found[index], expected.params[:2], atol=1e-12)


@pytest.mark.parametrize("size", [(200, 160), (128, 256)])
def test_a_face_lands_on_the_template(size):
    """What is seen at a template's place is what the picture has at the point, also when it is turned and scaled."""
    angle, scale = 0.4, 0.6
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (torch.tensor(TEMPLATE) + 0.5) @ turn.T + torch.tensor([60.0, 20.0])
    face = aligned(smooth_picture(*size), points[None])[0]
    for (column, row), (x, y) in zip(TEMPLATE, points.tolist(), strict=True):
        grid = torch.tensor([[[[(2 * column + 1) / 112 - 1, (2 * row + 1) / 112 - 1]]]])
        seen = functional.grid_sample(face[None], grid, align_corners=False).flatten()
        torch.testing.assert_close(seen, torch.tensor([x / 200, y / 200, (x + 2 * y) / 600]), atol=2e-6, rtol=0)


def test_beyond_the_picture_it_is_black():
    points = (torch.tensor(TEMPLATE) + 0.5)[None] - 40
    face = aligned(torch.ones(1, 3, 112, 112), points)
    assert face[..., :39, :].max() == 0
    assert face[..., 41:, 41:].min() == pytest.approx(1)


def test_the_five_points_of_facemesh():
    """In its own order of anatomy: the subject's right eye is on the left of the picture."""
    landmarks = torch.zeros(1, 478, 2)
    places = {33: (10, 20), 133: (20, 22), 362: (40, 22), 263: (50, 20), 4: (30, 35), 61: (22, 50), 291: (38, 50)}
    for index, place in places.items():
        landmarks[0, index] = torch.tensor(place).float()
    assert five_points(landmarks)[0].tolist() == [[15, 21], [45, 21], [30, 35], [22, 50], [38, 50]]


def test_cosines_by_hand():
    a = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]])
    b = torch.tensor([[4.0, 3.0], [0.0, 2.0], [-2.0, -2.0]])
    torch.testing.assert_close(cosine_similarity(a, b), torch.tensor([24 / 25, 0.0, -1.0]))
    views = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    torch.testing.assert_close(multi_view_identity(views), torch.tensor([-1 / 3, 1.0]))  # pairs 0, -1, 0
    with pytest.raises(InputError, match="two views"):
        multi_view_identity(views[:, :1])


class Published:
    """Random tensors under published names, and the network computed from those names with torch's functions."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(1)
        self.tensors: dict[str, torch.Tensor] = {}

    def weight(self, name, *shape):
        # Scaled as initialisations are, so that values neither vanish nor explode on their way.
        spread = (2 / max(math.prod(shape[1:]), 1)) ** 0.5 if len(shape) > 1 else 1
        self.tensors[name] = torch.randn(*shape, generator=self.generator) * spread

    def norm(self, name, channels):
        for part in ("weight", "bias", "running_mean"):
            self.tensors[f"{name}.{part}"] = torch.randn(channels, generator=self.generator) * 0.3 + (part == "weight")
        self.tensors[f"{name}.running_var"] = torch.rand(channels, generator=self.generator) + 0.5

    def normed(self, x, name):
        t = [self.tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *t)

    def conv(self, x, name, stride=1, padding=1):
        return functional.conv2d(x, self.tensors[f"{name}.weight"], stride=stride, padding=padding)

    def prelu(self, x, name):
        return functional.prelu(x, self.tensors[f"{name}.weight"])


def ir_se(channels=(8, 8, 16, 16, 8)):
    """model_ir_se50's names: every second channel count begins a stage."""
    net = Published()
    net.weight("input_layer.0.weight", channels[0], 3, 3, 3)
    net.norm("input_layer.1", channels[0])
    net.weight("input_layer.2.weight", channels[0])
    inputs, strides = channels[0], []
    for i, outputs in enumerate(channels):
        strides.append(2 if i == 0 or outputs != inputs else 1)
        body = f"body.{i}"
        if inputs != outputs:
            net.weight(f"{body}.shortcut_layer.0.weight", outputs, inputs, 1, 1)
            net.norm(f"{body}.shortcut_layer.1", outputs)
        net.norm(f"{body}.res_layer.0", inputs)
        net.weight(f"{body}.res_layer.1.weight", outputs, inputs, 3, 3)
        net.weight(f"{body}.res_layer.2.weight", outputs)
        net.weight(f"{body}.res_layer.3.weight", outputs, outputs, 3, 3)
        net.norm(f"{body}.res_layer.4", outputs)
        net.weight(f"{body}.res_layer.5.fc1.weight", outputs // 4, outputs, 1, 1)
        net.weight(f"{body}.res_layer.5.fc2.weight", outputs, outputs // 4, 1, 1)
        inputs = outputs
    net.norm("output_layer.0", inputs)
    net.weight("output_layer.3.weight", 12, inputs * 14 * 14)
    net.weight("output_layer.3.bias", 12)
    net.norm("output_layer.4", 12)

    def run(faces):
        x = net.prelu(net.normed(net.conv(faces * 2 - 1, "input_layer.0"), "input_layer.1"), "input_layer.2")
        for i, stride in enumerate(strides):
            body = f"body.{i}"
            y = net.conv(net.normed(x, f"{body}.res_layer.0"), f"{body}.res_layer.1")
            y = net.conv(net.prelu(y, f"{body}.res_layer.2"), f"{body}.res_layer.3", stride)
            y = net.normed(y, f"{body}.res_layer.4")
            s = functional.adaptive_avg_pool2d(y, 1)
            s = net.conv(net.conv(s, f"{body}.res_layer.5.fc1", padding=0).relu(), f"{body}.res_layer.5.fc2", padding=0)
            y = y * s.sigmoid()
            if f"{body}.shortcut_layer.0.weight" in net.tensors:
                x = net.normed(net.conv(x, f"{body}.shortcut_layer.0", stride, 0), f"{body}.shortcut_layer.1")
            else:
                x = x[..., ::stride, ::stride]
            x = x + y
        x = net.normed(x, "output_layer.0").flatten(1)
        x = functional.linear(x, net.tensors["output_layer.3.weight"], net.tensors["output_layer.3.bias"])
        x = net.normed(x, "output_layer.4")
        return x / x.norm(dim=1, keepdim=True)

    return net.tensors, run


def iresnet(blocks=(2, 1, 1, 11), width=4):
    """arcface_torch's names, with more than ten blocks in a stage, so that sorting by text would go wrong."""
    net = Published()
    net.weight("conv1.weight", width, 3, 3, 3)
    net.norm("bn1", width)
    net.weight("prelu.weight", width)
    inputs = width
    for stage, count in enumerate(blocks, 1):
        outputs = width * 2 ** (stage - 1)
        for j in range(count):
            layer = f"layer{stage}.{j}"
            net.norm(f"{layer}.bn1", inputs)
            net.weight(f"{layer}.conv1.weight", outputs, inputs, 3, 3)
            net.norm(f"{layer}.bn2", outputs)
            net.weight(f"{layer}.prelu.weight", outputs)
            net.weight(f"{layer}.conv2.weight", outputs, outputs, 3, 3)
            net.norm(f"{layer}.bn3", outputs)
            if j == 0:
                net.weight(f"{layer}.downsample.0.weight", outputs, inputs, 1, 1)
                net.norm(f"{layer}.downsample.1", outputs)
            inputs = outputs
    net.norm("bn2", inputs)
    net.weight("fc.weight", 12, inputs * 7 * 7)
    net.weight("fc.bias", 12)
    net.norm("features", 12)

    def run(faces):
        x = net.prelu(net.normed(net.conv(faces * 2 - 1, "conv1"), "bn1"), "prelu")
        for stage, count in enumerate(blocks, 1):
            for j in range(count):
                layer, stride = f"layer{stage}.{j}", 2 if j == 0 else 1
                y = net.normed(net.conv(net.normed(x, f"{layer}.bn1"), f"{layer}.conv1"), f"{layer}.bn2")
                y = net.normed(net.conv(net.prelu(y, f"{layer}.prelu"), f"{layer}.conv2", stride), f"{layer}.bn3")
                if j == 0:
                    x = net.normed(net.conv(x, f"{layer}.downsample.0", 2, 0), f"{layer}.downsample.1")
                x = x + y
        x = functional.linear(net.normed(x, "bn2").flatten(1), net.tensors["fc.weight"], net.tensors["fc.bias"])
        x = net.normed(x, "features")
        return x / x.norm(dim=1, keepdim=True)

    return net.tensors, run


@pytest.mark.parametrize("layout", [ir_se, iresnet])
def test_both_published_layouts_compute_what_their_names_say(layout, tmp_path):
    tensors, run = layout()
    torch.save(tensors, tmp_path / "arcface.pth")
    network = arcface(tmp_path / "arcface.pth")
    faces = torch.rand(2, 3, 112, 112)
    with torch.inference_mode():
        found, expected = network(faces), run(faces)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert float(cosine_similarity(found[:1], found[1:])) < 0.9999  # the two faces are told apart

    points = (torch.tensor(TEMPLATE) + 0.5).expand(2, -1, -1)
    gathered = embeddings(network, [(faces[:1], points[:1]), (faces[1:], points[1:])])
    torch.testing.assert_close(gathered, expected, atol=1e-4, rtol=0)


def test_other_files_are_refused(tmp_path):
    tensors, _ = iresnet()
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no ArcFace network of the kinds"):
        arcface(tmp_path / "other.pth")
    del tensors["layer2.0.bn2.bias"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"lacks blocks.2.norm2.bias"):
        arcface(tmp_path / "cut.pth")
    del tensors["fc.weight"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"no whole ArcFace network: it lacks 'linear.weight'"):
        arcface(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("name", "shape"), [("fc.weight", (12,)), ("conv1.weight", ()), ("layer1.0.conv1.weight", (4,))]
)
def test_tensors_with_other_axes_are_refused(name, shape, tmp_path):
    tensors, _ = iresnet()
    torch.save(tensors | {name: torch.ones(shape)}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match="too few or too many axes"):
        arcface(tmp_path / "odd.pth")
