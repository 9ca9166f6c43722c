# SPDX-License-Identifier: Apache-2.0
"""Next3D's generator of published weights, small: what reaches what, and what is refused."""

import copy
import dataclasses

import pytest
import torch
from torch.testing import assert_close

from neural_core.cameras import Camera
from neural_core.nn.style_unet import StyleUNet
from neural_core.systems.next3d.config import MeshConfig, Next3DConfig, StyleUNetConfig
from neural_core.systems.next3d.generator import Next3DGenerator
from neural_core.systems.next3d.mouth import Mouth, mouth_boxes
from neural_core.systems.plane_config import (
    BackboneConfig,
    DecoderConfig,
    IdentityConfig,
    MappingConfig,
    RenderConfig,
    SuperResolutionConfig,
)

SIZE = 32
WIDE = {"channel_base": 128, "channel_max": 8}
BACKBONE = BackboneConfig(resolution=SIZE, plane_channels=4, **WIDE)
CONFIG = Next3DConfig(
    z_dim=8,
    w_dim=8,
    mapping=MappingConfig(layers=1),
    static=BACKBONE,
    texture=BACKBONE,
    mouth=StyleUNetConfig(16, 4, SIZE, **WIDE),
    blending=StyleUNetConfig(SIZE, 8, SIZE, **WIDE),
    dynamic_planes="correct",
    mesh=MeshConfig(shift=(0.0, 0.0, 0.0), resolution=SIZE, triangles=2, mask_resolution=8),
    decoder=DecoderConfig(hidden=8, features=3),
    render=RenderConfig(coarse=4, fine=4, neural_resolution=8),
    superresolution=SuperResolutionConfig(kind="none"),
)


@pytest.fixture(scope="module")
def generator():
    """The mesh is a square that looks ahead, of half the picture's width, with the middle of the texture on it."""
    torch.manual_seed(0)
    network = Next3DGenerator(CONFIG)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    network.topology.faces.copy_(faces)
    network.topology.corner_uv.copy_(torch.tensor([[-0.8, 0.8], [0.8, 0.8], [0.8, -0.8], [-0.8, -0.8]])[faces])
    return network


def square(z=0.0, count=1):
    """Return the square's corners, counter-clockwise seen from the front."""
    corners = torch.tensor([[-0.1, -0.1, z], [0.1, -0.1, z], [0.1, 0.1, z], [-0.1, 0.1, z]])
    return corners.expand(count, -1, -1)


def lips(at=(0.0, 0.0), count=1):
    """Return 68 landmarks; those of the lips lie around a place."""
    around = torch.linspace(0, 2 * torch.pi, 13)[:-1]
    landmarks = torch.zeros(count, 68, 3)
    landmarks[:, 48:60, 0], landmarks[:, 48:60, 1] = at[0] - 0.04 * around.cos(), at[1] + 0.02 * around.sin()
    return landmarks


def w_plus_of(generator, seed=0, count=1):
    return generator.mapping(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)))


def test_layers_and_sizes(generator):
    w_plus = w_plus_of(generator)
    assert w_plus.shape == (1, generator.layers, 8)
    assert generator.layers == 2 * generator.static.layers == 2 * generator.mouth.unet.layers == 16
    person = generator.person(w_plus)
    assert person.static.shape == (1, 3, 4, SIZE, SIZE)
    assert person.texture.shape == (1, 4, SIZE, SIZE)


def test_first_w_make_static_planes_and_last_ones_the_texture(generator):
    with torch.no_grad():
        w_plus = w_plus_of(generator)
        other = w_plus.clone()
        other[:, generator.static.layers :] += 1
        first, second = generator.person(w_plus), generator.person(other)
        assert torch.equal(first.static, second.static)
        assert not torch.allclose(first.texture, second.texture)
        # mouth, blending and super-resolution belong to the first ones
        third = dataclasses.replace(second, static=first.static, texture=first.texture)
        instants = [generator.instant(person, square(), lips()) for person in (first, third)]
    assert torch.equal(instants[0].planes.features, instants[1].planes.features)


def test_static_planes_show_where_the_mesh_is_not(generator):
    with torch.no_grad():
        person = generator.person(w_plus_of(generator))
        found = generator.instant(person, square(), lips()).planes.features
        front, rest = found[:, 0] == person.static[:, 0], found[:, 1:] == person.static[:, 1:]
        quarter = SIZE // 4
        inner = slice(quarter, -quarter)  # half the picture, and the whole of it is mesh
        assert not front[..., inner, inner].any()
        front[..., inner, inner] = True
        assert front.all()
        assert rest.all()  # from the side and from above the square is a line


def test_a_covered_plane_is_what_blending_made(generator):
    with torch.no_grad():
        person = generator.person(w_plus_of(generator))
        seen = {}
        hook = generator.blending.register_forward_hook(lambda module, given, result: seen.update(front=result))
        found = generator.instant(person, square(), lips()).planes.features
        hook.remove()
    inner = slice(SIZE // 4, -SIZE // 4)
    assert torch.equal(found[:, 0, :, inner, inner], seen["front"][..., inner, inner])


def test_without_static_planes_there_is_the_mesh_alone(generator):
    bare = copy.copy(generator)  # the same weights
    bare.config = dataclasses.replace(CONFIG, static_planes=False)
    with torch.no_grad():
        w_plus = w_plus_of(generator)
        full, alone = (net.instant(net.person(w_plus), square(), lips()).planes.features for net in (generator, bare))
    outer = torch.ones(SIZE, SIZE, dtype=torch.bool)
    outer[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = False
    assert torch.equal(alone[:, 0][..., ~outer], full[:, 0][..., ~outer])
    assert not alone[:, 0][..., outer].any()
    assert not alone[:, 1:].any()


def test_people_of_a_batch_do_not_know_each_other(generator):
    with torch.no_grad():
        w_plus = w_plus_of(generator, count=2)
        vertices = torch.cat([square(), square() * 0.8])
        landmarks = torch.cat([lips(), lips((0.03, -0.04))])
        both = generator.instant(generator.person(w_plus), vertices, landmarks).planes.features
        for i in range(2):
            one = generator.instant(generator.person(w_plus[i : i + 1]), vertices[i : i + 1], landmarks[i : i + 1])
            assert_close(both[i : i + 1], one.planes.features, atol=1e-4, rtol=1e-4)


def test_everything_learns(generator):
    """Every weight that the picture depends on gets a gradient through mouth, blending and planes."""
    instant = generator.instant(generator.person(w_plus_of(generator, count=2)), square(count=2), lips(count=2))
    camera = Camera.from_label(CONFIG.frontal_camera().label().expand(2, -1))
    picture = generator.render(instant, camera).image
    assert picture.shape == (2, 3, 8, 8)
    (instant.planes.features.square().mean() + picture.square().mean()).backward()
    idle = {name for name, value in generator.named_parameters() if value.grad is None or not value.grad.any()}
    generator.zero_grad()
    assert idle == set()


def test_refusals(generator):
    person = generator.person(w_plus_of(generator))
    with pytest.raises(ValueError, match="landmarks"):
        generator.instant(person, square())
    identity = dataclasses.replace(
        CONFIG, identity=IdentityConfig(), render=dataclasses.replace(CONFIG.render, box=0.4),
        mesh=dataclasses.replace(CONFIG.mesh, fill_mouth=False, scale=12.5),
    )  # fmt: skip
    with pytest.raises(ValueError, match="face code"):
        Next3DGenerator(identity)
    with pytest.raises(ValueError, match="resolution of the static planes"):
        Next3DGenerator(dataclasses.replace(CONFIG, static=BackboneConfig(resolution=16, plane_channels=4)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plane_axes": ("xy", "xz", "zx")}, "each pair"),
        ({"plane_axes": ("xz", "xy", "zy")}, "front view"),
        ({"texture": BackboneConfig(resolution=SIZE, plane_channels=5)}, "as many channels"),
        ({"static": BackboneConfig(resolution=24, plane_channels=4)}, "power of two"),
        ({"mouth": StyleUNetConfig(16, 4, 64)}, "drawings' resolution"),
        ({"blending": StyleUNetConfig(16, 4, SIZE)}, "whole front view"),
        ({"superresolution": SuperResolutionConfig("2x"), "decoder": DecoderConfig(features=2)}, "three features"),
    ],
)
def test_configs_that_cannot_be_built(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(CONFIG, **change)


@pytest.mark.parametrize("sizes", [(16, 16, 32), (64, 4, 32), (16, 3, 32), (16, 4, 24)])
def test_style_unets_that_cannot_be_built(sizes):
    with pytest.raises(ValueError, match="U-Net"):
        StyleUNetConfig(*sizes)


def test_boxes_are_squares_around_the_corners_middle():
    """20 x 10 pixels of lips around (column 40, row 70) of 128; their corners lie 4 rows below the middle."""
    outline = torch.tensor([[30, 74], [40, 65], [40, 75]] + [[40, 70]] * 3 + [[50, 74]] + [[40, 70]] * 5)
    found = mouth_boxes(outline[None] / 64 - 1.0, 128, 1.2)
    assert found.tolist() == [[74 - 12, 74 + 12, 40 - 12, 40 + 12]]


@pytest.mark.parametrize(
    ("outline", "inside"),
    [
        (torch.full((1, 12, 2), 1.0), [30, 32, 30, 32]),  # a point in the last corner
        (torch.full((1, 12, 2), -3.0), [0, 2, 0, 2]),
        (torch.linspace(-9, 9, 24).reshape(1, 12, 2), [0, 32, 0, 32]),  # larger than the picture
    ],
)
def test_boxes_stay_in_the_picture(outline, inside):
    assert mouth_boxes(outline, 32, 1.2).tolist() == [inside]


class Stamp(torch.nn.Module):
    """In place of the style U-Net: what it was shown, at twice the size and times ten."""

    input_resolution = 8

    def forward(self, picture, w_plus, noise_mode):
        return torch.nn.functional.interpolate(picture, scale_factor=2, mode="nearest") * 10


def test_a_mouth_is_cut_out_redrawn_and_put_back():
    mouth = Mouth(StyleUNetConfig(16, 4, SIZE, **WIDE), 1, 8)
    mouth.unet = Stamp()
    across = torch.arange(SIZE, dtype=torch.float32)
    front = torch.stack([across.expand(SIZE, -1), across[:, None].expand(-1, SIZE)])[:, None].requires_grad_()
    boxes = torch.tensor([[4, 20, 10, 26], [1, 9, 2, 10]])
    result = mouth(front, boxes, torch.zeros(2, 1, 8))
    expected = front.detach().clone()
    for picture, (top, bottom, left, right) in zip(expected, boxes.tolist(), strict=True):
        picture[:, top:bottom, left:right] *= 10
    inside = result != front
    assert inside.sum() == 16 * 16 + 8 * 8
    # resampling a ramp and nearest-neighbour doubling move it by up to a pixel
    assert (result - expected).abs().max() <= 10.5
    assert_close(result[0, 0, 10, 12:24], expected[0, 0, 10, 12:24], atol=10.5, rtol=0)
    result.sum().backward()
    assert front.grad.any()


def test_a_style_unet_sees_its_picture_in_every_code():
    torch.manual_seed(1)
    network = StyleUNet(3, 8, {4: 8, 8: 8, 16: 4, 32: 4}, input_resolution=16, smallest=4)
    picture = torch.randn(1, 3, 16, 16)
    codes = network.codes(picture)
    assert [tuple(code.shape) for code in codes] == [(1, 8, 4, 4), (1, 8, 8, 8)]
    assert network(picture, torch.randn(1, network.layers, 8)).shape == (1, 3, 32, 32)
    changed = picture.clone()
    changed[..., 15, 15] += 1
    for before, after in zip(codes, network.codes(changed), strict=True):
        assert not torch.equal(before, after)


def test_w_of_blocks_that_are_not_there_go_unused():
    torch.manual_seed(2)
    network = StyleUNet(3, 8, {4: 8, 8: 8, 16: 4}, input_resolution=16, smallest=8)
    picture, w_plus = torch.randn(1, 3, 16, 16), torch.randn(1, 6, 8, requires_grad=True)
    network(picture, w_plus).sum().backward()
    # the blocks of 4 and 8 pixels would have the first three; the last of these makes the 16th's first convolution
    assert [bool(w.any()) for w in w_plus.grad[0]] == [False, False, False, True, True, True]
