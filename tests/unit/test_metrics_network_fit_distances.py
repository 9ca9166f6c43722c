# SPDX-License-Identifier: Apache-2.0
"""AED and APD: by hand, the crop, and DECA's published layout with random weights."""

import pytest
import torch
from torch.nn import functional

from neural_core.errors import InputError, UsageError
from training.metrics.fit_distances import Deca, deca, expression_distance, face_crops, fit, pose_distance


def test_distances_by_hand():
    a, b = torch.tensor([[0.0, 1.0, -2.0, 0.5]]), torch.tensor([[1.0, 1.0, 1.0, 0.5]])
    assert expression_distance(a, b).tolist() == [1.0]  # (1 + 0 + 3 + 0) / 4
    a, b = torch.tensor([[0.1, -0.2, 0.9]]), torch.tensor([[0.2, 0.1, 0.0]])
    assert pose_distance(a, b).tolist() == pytest.approx([1.3 / 3])


def resnet(x, tensors):
    """DECA's ResNet-50 and layers from the published names; the stride is that of the 3 x 3 convolution."""

    def normed(x, name):
        norm = [tensors[f"E_flame.{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *norm)

    def conv(x, name, stride=1, padding=0):
        return functional.conv2d(x, tensors[f"E_flame.{name}.weight"], stride=stride, padding=padding)

    x = functional.max_pool2d(normed(conv(x, "encoder.conv1", 2, 3), "encoder.bn1").relu(), 3, 2, 1)
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for j in range(count):
            name, stride = f"encoder.layer{stage}.{j}", 2 if stage > 1 and j == 0 else 1
            y = normed(conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = normed(conv(y, f"{name}.conv2", stride, 1), f"{name}.bn2").relu()
            y = normed(conv(y, f"{name}.conv3"), f"{name}.bn3")
            x = normed(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1") if j == 0 else x
            x = (x + y).relu()
    x = functional.linear(x.mean((2, 3)), tensors["E_flame.layers.0.weight"], tensors["E_flame.layers.0.bias"]).relu()
    return functional.linear(x, tensors["E_flame.layers.2.weight"], tensors["E_flame.layers.2.bias"])


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    try:
        tensors = {f"E_flame.{key}": value for key, value in Deca().state_dict().items()}
    except UsageError as error:
        pytest.skip(str(error))
    for key, tensor in tensors.items():
        if key.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif key.endswith("running_var"):
            tensor.uniform_(0.8, 1.2)
    return tensors


def test_numbers_are_read_in_decas_order(weights, tmp_path):
    coarse = {key.removeprefix("E_flame."): value for key, value in weights.items()}
    torch.save({"E_flame": coarse, "E_detail": {"x": torch.ones(1)}, "epoch": 3}, tmp_path / "deca_model.tar")
    network = deca(tmp_path / "deca_model.tar")
    # Landmarks whose outline is the square 0..size / 1.375 about the middle, so that the crop is the whole picture.
    side = 224 / 1.375
    landmarks = torch.full((2, 478, 2), 112.0)
    landmarks[:, 234], landmarks[:, 454] = 112 - side / 2, 112 + side / 2
    pictures = torch.rand(2, 3, 224, 224)
    found = fit(network, [(pictures[:1], landmarks[:1]), (pictures[1:], landmarks[1:])])
    with torch.inference_mode():
        expected = resnet(pictures, weights)
    close = {"rtol": 1e-3, "atol": 1e-4}
    torch.testing.assert_close(found.shape, expected[:, :100], **close)
    torch.testing.assert_close(found.expression, expected[:, 150:200], **close)
    torch.testing.assert_close(found.rotation, expected[:, 200:203], **close)
    torch.testing.assert_close(found.jaw, expected[:, 203:206], **close)
    assert expected.shape == (2, 236)
    assert float(expression_distance(found.expression[:1], found.expression[1:])) > 1e-4


def test_another_file_is_refused(weights, tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "other.tar")
    with pytest.raises(InputError, match=r'"other.tar" does not hold the network that it should: it lacks encoder'):
        deca(tmp_path / "other.tar")


def test_the_crop_is_a_square_about_brows_and_chin():
    """The outline spans 40 x 60 pixels: the side is 1.375 times 50, about its middle (100, 70)."""
    x, y = torch.arange(200) + 0.5, torch.arange(150)[:, None] + 0.5
    picture = torch.stack([x / 200 + 0 * y, y / 150 + 0 * x, torch.ones(150, 200)])[None]
    landmarks = torch.full((1, 478, 2), 100.0)
    landmarks[0, :, 1] = 70
    landmarks[0, 234, 0], landmarks[0, 454, 0], landmarks[0, 105, 1], landmarks[0, 152, 1] = 80, 120, 40, 100
    landmarks[0, 10] = torch.tensor([100.0, 0.0])  # the forehead, which is not part of it
    column, row, side = 30, 200, 68.75
    place = torch.tensor([100 + ((column + 0.5) / 224 - 0.5) * side, 70 + ((row + 0.5) / 224 - 0.5) * side])
    seen = face_crops(picture, landmarks)[0, :, row, column]
    torch.testing.assert_close(seen, torch.tensor([place[0] / 200, place[1] / 150, 1.0]), atol=1e-5, rtol=0)
