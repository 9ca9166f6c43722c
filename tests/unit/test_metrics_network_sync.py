# SPDX-License-Identifier: Apache-2.0
"""Sync: confidence, distance and offset by hand, the crop, and SyncNet's published layout with random weights."""

import statistics

import numpy as np
import pytest
import torch
from torch.nn import functional

from neural_core.errors import InputError
from training.metrics import sync as sync_module
from training.metrics.sync import SyncNet, compare, mfcc, mouth_crops, sync, syncnet


def test_confidence_distance_and_offset_by_a_double_loop():
    generator = torch.Generator().manual_seed(0)
    lips, sounds = torch.randn(2, 12, 6, generator=generator)
    means = []
    for late in range(-4, 5):
        distances = []
        for i in range(12):
            sound = sounds[i + late] if 0 <= i + late < 12 else torch.zeros(6)
            distances.append(float((lips[i] - sound).square().sum().sqrt()))
        means.append(statistics.fmean(distances))
    found = compare(lips, sounds, shift=4)
    assert found.distance == pytest.approx(min(means))
    assert found.confidence == pytest.approx(statistics.median(means) - min(means))
    assert found.offset == 4 - means.index(min(means))


@pytest.mark.parametrize("early", [-7, 0, 3])
def test_sound_that_comes_early_has_a_positive_offset(early):
    words = functional.normalize(torch.randn(60, 40, generator=torch.Generator().manual_seed(1)), dim=1)
    found = compare(words[10:50], words[10 + early : 50 + early])
    assert found.offset == early
    assert found.confidence > 1  # unit vectors that have nothing in common are about 1.41 apart


def published(tower: str, x: torch.Tensor, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """A tower of SyncNet from the published names: (place, stride, padding), or a pool (kernel, stride, padding)."""
    conv, pool, layers = {
        "aud": (functional.conv2d, functional.max_pool2d, [
            (0, 1, 1), (4, 1, 1), "pool", ((3, 3), (1, 2), 0), (8, 1, 1), (11, 1, 1), (14, 1, 1),
            "pool", ((3, 3), (2, 2), 0), (18, 1, 0),
        ]),
        "lip": (functional.conv3d, functional.max_pool3d, [
            (0, (1, 2, 2), 0), "pool", ((1, 3, 3), (1, 2, 2), 0), (4, (1, 2, 2), (0, 1, 1)),
            "pool", ((1, 3, 3), (1, 2, 2), (0, 1, 1)), (8, 1, (0, 1, 1)), (11, 1, (0, 1, 1)), (14, 1, (0, 1, 1)),
            "pool", ((1, 3, 3), (1, 2, 2), 0), (18, 1, 0),
        ]),
    }[tower]  # fmt: skip

    def normed(x, name):
        return functional.batch_norm(
            x, *(tensors[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        )

    steps = iter(layers)
    for step in steps:
        if step == "pool":
            x = pool(x, *next(steps))
        else:
            place, stride, padding = step
            name = f"netcnn{tower}.{place}"
            x = conv(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, padding)
            x = normed(x, f"netcnn{tower}.{place + 1}").relu()
    name = f"netfc{tower}"
    x = functional.linear(x.flatten(1), tensors[f"{name}.0.weight"], tensors[f"{name}.0.bias"])
    return functional.linear(normed(x, f"{name}.1").relu(), tensors[f"{name}.3.weight"], tensors[f"{name}.3.bias"])


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    tensors = SyncNet().state_dict()
    for key, tensor in tensors.items():
        if key.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return {key: tensor for key, tensor in tensors.items() if "num_batches" not in key}  # files of 2018 had none


def test_a_clip_is_judged_as_the_published_names_say(weights, tmp_path, monkeypatch):
    torch.save(weights, tmp_path / "syncnet_v2.model", _use_new_zipfile_serialization=False)
    network = syncnet(tmp_path / "syncnet_v2.model")
    generator = np.random.default_rng(3)
    crops = torch.rand(9, 3, 224, 224, generator=torch.Generator().manual_seed(4))
    audio = (generator.normal(size=16_000 * 9 // 25 + 50) * 3000).astype(np.int16)
    given = []
    monkeypatch.setattr(sync_module, "compare", lambda *towers: given.extend(towers) or compare(*towers))
    found = sync(network, crops, audio, batch=3)

    heard = mfcc(audio)
    assert heard.shape[0] == 13
    pictures = torch.stack([crops[i : i + 5, [2, 1, 0]].permute(1, 0, 2, 3) for i in range(4)]) * 255
    columns = torch.stack([heard[None, :, 4 * i : 4 * i + 20] for i in range(4)])
    with torch.inference_mode():
        expected = published("lip", pictures, weights), published("aud", columns, weights)
    for ours, theirs in zip(given, expected, strict=True):
        scale = float((theirs - theirs.mean(0)).abs().max())  # windows differ by little with random weights
        torch.testing.assert_close(ours, theirs, atol=0.01 * scale, rtol=0)
    assert found == compare(*given)

    with pytest.raises(InputError, match="at least 6 frames with sound, and got 5"):
        sync(network, crops[:5], audio)
    with pytest.raises(InputError, match="and got 2"):
        sync(network, crops, audio[:1300])


def test_another_file_is_refused(weights, tmp_path):
    torch.save({**weights, "netcnnaud.0.bias": torch.zeros(3)}, tmp_path / "x.model")
    with pytest.raises(InputError, match=r"netcnnaud.0.bias of shape \[3\], expected \[64\]"):
        syncnet(tmp_path / "x.model")


def test_the_cepstrum_begins_with_the_energy_of_16_bit_sound():
    """100 columns a second; the first row is the logarithm of the energy, which depends on the samples' unit."""
    time = np.arange(16_000) / 16_000
    audio = (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    found = mfcc(audio)
    assert found.shape == (13, 99)  # 25 ms windows every 10 ms, the last one filled up with zeros
    emphasised = audio.astype(float)
    emphasised[1:] -= 0.97 * emphasised[:-1].copy()
    window = emphasised[160 * 50 : 160 * 50 + 400]
    power = np.abs(np.fft.rfft(window, 512)) ** 2 / 512
    assert float(found[0, 50]) == pytest.approx(np.log(power.sum()), rel=1e-6)


def test_the_crop_has_the_face_above_its_middle_and_grey_beyond_the_picture():
    """A face of 40 x 60 pixels: the square's side is 2.8 halves of 60, its top that of the face."""
    x = torch.arange(200) + 0.5
    y = torch.arange(150)[:, None] + 0.5
    frame = torch.stack([x / 200 + 0 * y, y / 150 + 0 * x, torch.ones(150, 200)])[None].expand(3, -1, -1, -1)
    landmarks = torch.tensor([[80.0, 40.0], [120.0, 100.0], [100.0, 70.0]])[None].expand(3, -1, -1)
    crops = mouth_crops(frame, landmarks)
    column, row = 30, 50
    x, y = (100 - 42) + (column + 0.5) * 84 / 224, 40 + (row + 0.5) * 84 / 224
    torch.testing.assert_close(crops[1, :, row, column], torch.tensor([x / 200, y / 150, 1.0]), atol=1e-5, rtol=0)

    high = mouth_crops(frame, landmarks - torch.tensor([0.0, 60.0]))
    assert high[0, 2, 0].max() == pytest.approx(110 / 255)

    shaken = landmarks.clone()
    shaken[1] += 9
    torch.testing.assert_close(mouth_crops(frame, shaken), crops)
