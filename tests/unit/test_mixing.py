# SPDX-License-Identifier: Apache-2.0
"""People between two people."""

import numpy as np
import pytest
import torch

from neural_core import systems
from neural_core.errors import UsageError
from neural_core.mixing import Mix, mixed
from neural_core.studio import Studio
from tests.tiny_models import save_tiny, save_tiny_next3d


@pytest.mark.parametrize("save", [save_tiny, save_tiny_next3d])
def test_at_the_ends_it_is_one_of_the_two(save, tmp_path):
    save(tmp_path / "m.safetensors")
    system = systems.load(tmp_path / "m.safetensors")
    first, second = system.create(1), system.create(2)
    camera = system.creation_camera()
    pictures = [
        system.pose(portrait).render(camera).image
        for portrait in (first, mixed(system, first, second, 0.0), second, mixed(system, first, second, 1.0))
    ]
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[2], pictures[3])
    assert not torch.allclose(pictures[0], pictures[2])


def test_a_quarter_of_the_way_lies_a_quarter_of_the_face(tmp_path):
    save_tiny_next3d(tmp_path / "m.safetensors")
    system = systems.load(tmp_path / "m.safetensors")
    first, second = system.create(1), system.create(2)
    between = mixed(system, first, second, 0.25)
    expected = 0.75 * np.asarray(first.tensors["z"]) + 0.25 * np.asarray(second.tensors["z"])
    np.testing.assert_allclose(between.tensors["z"], expected, atol=1e-6)
    np.testing.assert_allclose(between.shape, expected[0, : len(between.shape)], atol=1e-6)


def test_the_studio_remembers_of_whom_somebody_is_mixed(tmp_path, monkeypatch):
    save_tiny_next3d(tmp_path / "m.safetensors")
    path = str(tmp_path / "m.safetensors")
    studio = Studio("cpu")
    _, portrait = studio.create(path, 1, 0.5, mix=Mix(2, 0.5))
    said = {name: portrait.provenance[name] for name in ("seed", "mix_seed", "mix", "truncation")}
    assert said == {"seed": 1, "mix_seed": 2, "mix": 0.5, "truncation": 0.5}
    alone = [np.asarray(studio.create(path, seed, 0.5)[1].tensors["z"]) for seed in (1, 2)]
    np.testing.assert_allclose(portrait.tensors["z"], sum(alone) / 2, atol=1e-6)
    with pytest.raises(UsageError, match="no seed -1"):
        studio.create(path, 1, mix=Mix(-1, 0.5))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        Mix(2, share)
