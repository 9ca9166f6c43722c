# SPDX-License-Identifier: Apache-2.0
"""The texture of the moving face: its pieces apart, its triangles the model's, its outline soft."""

import numpy as np
import torch

from neural_core.human.anny import load_anny_head
from neural_core.human.face_atlas import FaceAtlas
from neural_core.human.pncc import face_triangles
from neural_core.ops.rasterize import rasterize

FACE = load_anny_head()
ATLAS = FaceAtlas.of(FACE)


def covered(triangles: torch.Tensor) -> torch.Tensor:
    """Return the texels [256, 256] that some of the atlas's triangles cover."""
    corners = torch.nn.functional.pad(ATLAS.corner_uv[triangles], (0, 1), value=1.0).reshape(1, -1, 3)
    return rasterize(corners, torch.arange(corners.shape[1]).reshape(-1, 3), 256).covered[0]


def test_pieces_have_rectangles_of_their_own():
    skin = int(face_triangles(FACE).sum())
    numbers = torch.arange(len(ATLAS.faces))
    middle = ATLAS.corner_uv.mean(1)
    pieces = [covered(numbers[:skin])]
    pieces += [covered(numbers[skin:][(middle[skin:, 0] / 2 + 0.5).mul(4).long() == quarter]) for quarter in range(4)]
    assert ATLAS.corner_uv.abs().max() < 1
    assert torch.stack(pieces).sum(0).max() == 1
    assert pieces[0].float().mean() > 0.45  # most of the texture is the face's
    assert all(piece.float().mean() > 0.03 for piece in pieces[1:])


def test_it_holds_what_moves():
    assert torch.equal(ATLAS.corner_places, torch.from_numpy(FACE.v_template)[ATLAS.faces])
    opened = FACE.expressiondirs[:, :, FACE.expression_names.index("jawOpen")]
    looked = FACE.expressiondirs[:, :, FACE.expression_names.index("eyeLookUpLeft")]
    held = np.unique(ATLAS.faces.numpy())
    for moves in (opened, looked):
        assert np.linalg.norm(moves, axis=1).argmax() in held


def test_its_outline_is_soft():
    skin = torch.from_numpy(face_triangles(FACE))
    faces = torch.from_numpy(FACE.faces).long()
    others = torch.from_numpy(FACE.parts["skin"]) & ~skin
    outline = np.intersect1d(faces[skin].numpy(), faces[others].numpy())
    at_outline = torch.from_numpy(np.isin(ATLAS.faces.numpy(), outline))
    say = ATLAS.corner_say[..., 0]
    assert say[at_outline].mean() < 0.3
    assert (say[~at_outline] == 1).float().mean() > 0.9
    assert 0 <= say.min() <= say.max() <= 1
    nose = FACE.v_template[:, 2].argmax()
    assert say[ATLAS.faces == nose].min() == 1
    assert say[int(skin.sum()) :].min() == 1  # eyes, mouth and tongue
