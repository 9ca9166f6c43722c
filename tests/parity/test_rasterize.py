# SPDX-License-Identifier: Apache-2.0
"""The rasteriser against PyTorch3D's: its compiled one in Next3D's fixtures, its Python one in Real3D's."""

import math

import numpy as np
import pytest
import torch

from neural_core.ops.rasterize import interpolate, rasterize
from tests.tolerances import RASTER_EDGE_PIXELS, RASTER_FEATURE, RASTER_PLACE, RASTER_WEIGHT


@pytest.fixture(scope="module")
def next3d(parity_folder):
    return np.load(parity_folder / "next3d" / "gen_io.npz")


@pytest.fixture(scope="module")
def real3d(parity_folder):
    return np.load(parity_folder / "real3d" / "bfm_secc_small.npz")


@pytest.mark.parametrize("view", ["front", "left90", "right90", "top"])
def test_next3d_orthographic_with_culling(next3d, view):
    # The fixture has the triangles as given to the rasteriser's owner, who turns them round ([0, 2, 1]) together with
    # x and y for PyTorch3D's axes, and says which corner a weight belongs to in that order.
    faces = torch.from_numpy(next3d["faces_used_by_rasterizer"].astype(np.int64))
    used = torch.from_numpy(next3d[f"verts_{view}"])
    vertices = torch.cat([used, torch.zeros(2, int(faces.max()) + 1 - used.shape[1], 3)], 1)
    seen = rasterize(vertices, faces, 256, cull=True, edges="never")

    packed = torch.from_numpy(next3d[f"pix_to_face_{view}"])
    expected = torch.where(packed < 0, packed, packed - torch.tensor([0, len(faces)])[:, None, None])
    same = seen.triangle == expected
    assert (~same).sum() <= RASTER_EDGE_PIXELS
    assert (expected >= 0).sum() > 10_000

    # PyTorch3D adds 1e-8 to (twice) the area that it divides by, so that its weights sum to a little less than 1.
    a, b, c = vertices[:, faces].double().unbind(2)
    area = ((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]).abs()
    here = same & (expected >= 0)
    area = area[torch.arange(2)[:, None, None].expand_as(here), expected.long().clamp(min=0)]
    ours = seen.barycentric * (area / (area + 1e-8))[..., None]
    difference = (ours - torch.from_numpy(next3d[f"bary_{view}"]))[here].abs()
    assert difference.max() <= RASTER_WEIGHT

    # What ours say themselves: the pixel's centre is where the weighted corners are.
    pixels = (2 * torch.arange(256) + 1) / 256 - 1
    centres = torch.stack(torch.meshgrid(pixels, pixels, indexing="xy"), -1)
    place = interpolate(seen, vertices[:, faces][..., :2])
    assert (place - centres)[here].abs().max() <= RASTER_PLACE


def test_real3d_perspective_without_culling(real3d):
    fixture = {name: torch.from_numpy(np.asarray(real3d[name])) for name in real3d.files}
    x, y, depth = fixture["vertex_camera"].unbind(-1)
    focal = 1 / math.tan(math.radians(float(fixture["fov_deg"])) / 2)
    # The camera's y axis points up.
    places = torch.stack([focal * x / depth, -focal * y / depth, depth], -1)
    faces = fixture["tri_0based"]
    seen = rasterize(places, faces, 32, perspective=True)

    assert torch.equal(seen.covered, fixture["raster/mask"][:, 0] > 0)
    torch.testing.assert_close(seen.depth, fixture["raster/depth"][:, 0], rtol=0, atol=RASTER_FEATURE)
    code = interpolate(seen, fixture["ncc"][:, faces]).movedim(-1, 1)
    torch.testing.assert_close(code, fixture["raster/feat"], rtol=0, atol=RASTER_FEATURE)
    # Real3D's input: the code in -1..1, and -1 where nothing is.
    secc = torch.where(seen.covered[:, None], 2 * code - 1, -torch.ones_like(code))
    first = (fixture["raster/mask"] > 0) & (fixture["secc"] == -1).all(1, keepdim=True)  # its triangle 0 is dropped
    assert torch.equal(first[:, 0], (seen.triangle == 0) & first[:, 0])
    torch.testing.assert_close(
        torch.where(first, fixture["secc"], secc), fixture["secc"], rtol=0, atol=2 * RASTER_FEATURE
    )
