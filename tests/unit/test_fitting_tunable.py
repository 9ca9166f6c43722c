# SPDX-License-Identifier: Apache-2.0
"""Tuned weights travel as differences, and the network that other portraits share stays as it is."""

import dataclasses

import pytest
import torch

from neural_core.errors import InputError
from neural_core.fitting.tunable import PREFIX, Tunable, difference, tuned_copy, with_tuned
from neural_core.systems.eg3d.generator import EG3DGenerator
from neural_core.systems.eg3d.identity_generator import IdentityGenerator
from neural_core.systems.eg3d.system import EG3D, build_generator
from neural_core.systems.plane_config import DecoderConfig, IdentityConfig
from tests.tiny_models import tiny_config
from tests.unit.test_eg3d_system import PLAIN

OURS = dataclasses.replace(
    tiny_config(),
    decoder=DecoderConfig(hidden=8, features=9),
    identity=IdentityConfig(
        warp_resolution=8, mean_resolution=16, traits=True, trait_resolution=4, style_resolution=8, trait_channels=4
    ),
)
"""Ours with everything that can be offset."""


@pytest.fixture(params=["published", "ours"])
def system(request):
    torch.manual_seed(3)
    return EG3D(EG3DGenerator(PLAIN) if request.param == "published" else build_generator(OURS))


def test_what_is_seen_is_what_a_posed_portrait_shows(system):
    assert isinstance(system, Tunable)
    portrait, camera = system.create(4), system.creation_camera()
    latents = system.latents(portrait)
    seen = system.see(system.generator, latents, camera).image
    assert torch.allclose(seen, system.pose(portrait).render(camera).image, atol=1e-5)
    again = system.pose(system.portrait_of_latents(latents)).render(camera).image
    assert torch.equal(again, system.pose(portrait).render(camera).image)


def test_every_latent_moves_the_picture(system):
    latents = {name: value.clone().requires_grad_() for name, value in system.latents(system.create(4)).items()}
    system.see(system.generator, latents, system.creation_camera()).image.square().mean().backward()
    for name, value in latents.items():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


def test_differences_of_weights_travel_in_a_portrait(system):
    names = [name for name, _ in system.generator.named_parameters() if name.startswith("decoder.")]
    tuned = tuned_copy(system.generator, names)
    before = {name: value.clone() for name, value in system.generator.state_dict().items()}
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if name in names:
                parameter.add_(0.25)  # exact in half precision
    portrait, camera = system.create(4), system.creation_camera()
    expected = system.see(tuned, system.latents(portrait), camera).image
    kept = difference(tuned, system.generator, names)
    assert set(kept) == {PREFIX + name for name in names}
    changed = dataclasses.replace(portrait, tensors={**portrait.tensors, **kept})
    found = system.pose(changed).render(camera).image
    assert torch.allclose(found, expected.detach(), atol=1e-5)
    assert not torch.allclose(found, system.pose(portrait).render(camera).image, atol=1e-3)
    assert all(torch.equal(value, before[name]) for name, value in system.generator.state_dict().items())


def test_a_copy_owns_what_is_tuned_and_shares_the_rest(system):
    name, *others = (name for name, _ in system.generator.named_parameters())
    tuned = dict(tuned_copy(system.generator, [name]).named_parameters())
    own = dict(system.generator.named_parameters())
    assert tuned[name].requires_grad
    assert tuned[name].data_ptr() != own[name].data_ptr()
    assert not own[name].requires_grad
    assert all(tuned[other] is own[other] for other in others)
    with pytest.raises(KeyError, match="nonsense"):
        tuned_copy(system.generator, ["nonsense"])


def test_weights_without_a_difference_are_not_kept(system):
    name = "decoder.output.bias"
    assert difference(tuned_copy(system.generator, [name]), system.generator, [name]) == {}
    assert with_tuned(system.generator, system.create(1).tensors) is system.generator


@pytest.mark.parametrize(("name", "shape"), [("decoder.output.bias", (99,)), ("nonsense", (1,))])
def test_differences_of_another_network_are_refused(system, name, shape):
    portrait = system.create(1)
    tensors = {**portrait.tensors, PREFIX + name: torch.ones(shape)}
    with pytest.raises(InputError, match=name):
        system.pose(dataclasses.replace(portrait, tensors=tensors))


def test_offsets_of_nothing_are_left_out():
    system = EG3D(build_generator(OURS))
    assert isinstance(system.generator, IdentityGenerator)
    latents = system.latents(system.create(2))
    latents["offset/w_plus"] = latents["offset/w_plus"] + 1
    portrait = system.portrait_of_latents(latents)
    assert set(portrait.tensors) == {"z", "offset/w_plus"}
    assert portrait.shape is not None
    assert torch.equal(portrait.shape, latents["z"][0, :40])
