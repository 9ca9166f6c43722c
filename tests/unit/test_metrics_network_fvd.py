# SPDX-License-Identifier: Apache-2.0
"""FVD: I3D's published layout with random weights, computed by another road."""

import pytest
import torch
from torch.nn import functional

from neural_core.errors import InputError
from training.metrics.fvd import I3D, i3d, video_features


def padded(x, kernel, stride):
    """TensorFlow's "same" by its definition: outputs at multiples of the stride, windows centred to the left."""
    for dim, (k, s) in enumerate(zip(kernel, stride, strict=True), 2):
        size = x.shape[dim]
        outputs = (size + s - 1) // s
        before = max((outputs - 1) * s + k - size, 0) // 2
        after = (outputs - 1) * s + k - size - before
        shape = list(x.shape)
        shape[dim] = before
        left = x.new_zeros(shape)
        shape[dim] = max(after, 0)
        x = torch.cat([left, x, x.new_zeros(shape)], dim)
        x = x.narrow(dim, 0, (outputs - 1) * s + k)
    return x


def unit(x, tensors, name, stride=1):
    weight = tensors[f"{name}.conv3d.weight"]
    x = functional.conv3d(padded(x, weight.shape[2:], (stride,) * 3), weight, stride=stride)
    norm = [tensors[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(x, *norm, eps=0.001).clamp(min=0)


def pool(x, kernel, stride):
    return functional.max_pool3d(padded(x, kernel, stride), kernel, stride)


def mixed(x, tensors, name):
    return torch.cat(
        [
            unit(x, tensors, f"{name}.b0"),
            unit(unit(x, tensors, f"{name}.b1a"), tensors, f"{name}.b1b"),
            unit(unit(x, tensors, f"{name}.b2a"), tensors, f"{name}.b2b"),
            unit(pool(x, (3, 3, 3), (1, 1, 1)), tensors, f"{name}.b3b"),
        ],
        dim=1,
    )


def published(x, tensors):
    x = pool(unit(x, tensors, "Conv3d_1a_7x7", 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit(unit(x, tensors, "Conv3d_2b_1x1"), tensors, "Conv3d_2c_3x3"), (1, 3, 3), (1, 2, 2))
    for name in ("3b", "3c", "pool4", "4b", "4c", "4d", "4e", "4f", "pool5", "5b", "5c"):
        if name == "pool4":
            x = pool(x, (3, 3, 3), (2, 2, 2))
        elif name == "pool5":
            x = pool(x, (2, 2, 2), (2, 2, 2))
        else:
            x = mixed(x, tensors, f"Mixed_{name}")
    assert x.shape[1:] == (1024, 2, 7, 7)
    return (
        tensors["logits.conv3d.weight"][..., 0, 0, 0] @ x.mean((2, 3, 4))[..., None]
        + tensors["logits.conv3d.bias"][:, None]
    )


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    tensors = I3D().state_dict()
    for key, tensor in tensors.items():
        if key.endswith("conv3d.weight"):
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
        elif key.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif key.endswith("running_var"):
            tensor.uniform_(0.8, 1.2)
    return tensors


@pytest.mark.slow
def test_features_are_what_the_published_names_say(weights, tmp_path):
    torch.save(weights, tmp_path / "i3d_pretrained_400.pt")
    network = i3d(tmp_path / "i3d_pretrained_400.pt")
    clips = torch.rand(1, 9, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    found = video_features(network, [clips])
    frames = [functional.interpolate(clip, scale_factor=4, mode="bilinear") * 2 - 1 for clip in clips]
    with torch.inference_mode():
        expected = published(torch.stack(frames).permute(0, 2, 1, 3, 4), weights)[..., 0]
    assert found.shape == (1, 400)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_clips_that_it_cannot_judge_are_a_sentence(weights):
    network = I3D()
    with pytest.raises(InputError, match="at least 9 frames, and got 8 of 32 x 32"):
        video_features(network, [torch.zeros(1, 8, 3, 32, 32)])
    with pytest.raises(InputError, match="got 16 of 48 x 32"):
        video_features(network, [torch.zeros(1, 16, 3, 32, 48)])


def test_another_file_is_refused(weights, tmp_path):
    """The logits of charades' fine-tuned I3D are 157."""
    torch.save({**weights, "logits.conv3d.bias": torch.zeros(157)}, tmp_path / "rgb_charades.pt")
    with pytest.raises(InputError, match=r"logits.conv3d.bias of shape \[157\], expected \[400\]"):
        i3d(tmp_path / "rgb_charades.pt")
