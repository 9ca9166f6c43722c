# SPDX-License-Identifier: Apache-2.0
"""The fast renderer: our rasteriser, soft shadows and a few formulas instead of light paths. Same pictures, less truth.

    picture = photograph(figure, view, setting, 128)
    pictures = photographs(figure, sights, setting)         # of what cameras see, the light computed once

Surfaces are lit by parallel lights with wrap-around for skin, strands as in Kajiya and Kay (1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neural_core.human.surfaces import vertex_normals
from neural_core.records import HEAD_TO_MODEL
from training.synthetic.figure import Fibres, Figure, Part
from training.synthetic.lighting import Setting
from training.synthetic.looks import linear_to_srgb, srgb_to_linear
from training.synthetic.picture import Picture
from training.synthetic.shading import Samples, glaze, shade, unit
from training.synthetic.shadows import Lights, light
from training.synthetic.sight import SAMPLES, Sight, camera_rays, see, strand_directions

if TYPE_CHECKING:
    from training.synthetic.views import View

_Array = NDArray[np.float32]

_WRAP = {"skin": (0.22, 0.10, 0.06), "lid": (0.2, 0.1, 0.06), "tongue": (0.2, 0.1, 0.1), "gum": (0.2, 0.1, 0.1)}
_REFLECTANCE = {"skin": 0.028, "cloth": 0.012, "eye": 0.045, "tooth": 0.04, "mouth": 0.04, "tongue": 0.04, "gum": 0.04}
_SHEEN = {"cloth": 0.014}  # what fuzz adds to a colour


def photograph(figure: Figure, view: View, setting: Setting, size: int) -> Picture:
    """A picture of a figure, ``size`` x ``size``. Deterministic."""
    return photographs(figure, [see(figure, view, size)], setting)[0]


def photographs(figure: Figure, sights: Sequence[Sight], setting: Setting) -> list[Picture]:
    """Pictures of what several cameras see of a figure at the same instant; the light is computed once."""
    lights = light(figure, setting)
    return [develop(sight, lights, setting) for sight in sights]


def develop(sight: Sight, lights: Lights, setting: Setting) -> Picture:
    """The picture of what a camera sees."""
    covered = sight.triangle >= 0
    stand_in = _stand_ins(sight)
    chosen = covered & (stand_in == np.arange(covered.size).reshape(covered.shape))
    shaded = np.zeros((*covered.shape, 3), np.float32)
    shaded[chosen] = shade(_samples(sight, chosen), lights)
    shaded = shaded.reshape(-1, 3)[stand_in]
    clear = sight.through
    if clear is not None:
        here = covered & (clear.triangle >= 0) & (clear.depth < sight.depth)
        added, passed = glaze(_samples(clear, here), lights)
        shaded[here] = shaded[here] * passed + added
    return Picture(_exposed(shaded, covered, setting), sight.ray_depth)


def _exposed(shaded: _Array, covered: NDArray[np.bool_], setting: Setting) -> NDArray[np.uint8]:
    """Pictures [h, w, 4] in sRGB of samples of radiance: averaged, exposed, over the backdrop if there is one."""
    # Clipping before averaging keeps highlights from growing jagged edges.
    bright = np.minimum(shaded * 2.0**setting.exposure, 1.5)
    layers = _filtered(np.concatenate([bright, covered[..., None]], -1, dtype=np.float32))
    bright, share = layers[..., :3], layers[..., 3:]
    if setting.backdrop is None:
        colour = linear_to_srgb(np.clip(bright / np.maximum(share, 1e-6), 0, 1))
    else:
        behind = srgb_to_linear(setting.backdrop / 255)
        colour = linear_to_srgb(np.clip(bright + (1 - share) * behind, 0, 1))
    return np.round(np.concatenate([colour, share], -1) * 255).astype(np.uint8)


def _filtered(samples: _Array) -> _Array:
    """Pixels [h, w, c] from samples [S, S, c]: a tent as wide as two pixels, which calms the grain of hair."""
    tent = SAMPLES - np.abs(np.arange(1 - SAMPLES, SAMPLES))
    reach = SAMPLES - 1 - SAMPLES // 2  # of the tent beyond the samples of its pixel
    for axis in (0, 1):
        padded = np.concatenate([samples.take([0] * reach, axis), samples, samples.take([-1] * reach, axis)], axis)
        starts = np.arange(0, samples.shape[axis], SAMPLES)
        shifted = np.stack([padded.take(starts + shift, axis) for shift in range(len(tent))])
        samples = np.tensordot((tent / tent.sum()).astype(np.float32), shifted, 1)
    return samples


def _stand_ins(sight: Sight) -> NDArray[np.int64]:
    """Which sample's colour each sample [S, S] takes.

    Its own; but where a pixel shows nothing but one surface, that of the pixel's diagonal in the same row: a third of
    the work, and each row and column of the pixel is still looked at.
    """
    size = len(sight.triangle)
    cells = (size // SAMPLES, SAMPLES, size // SAMPLES, SAMPLES)
    thing = np.searchsorted(sight.meshes.first_face, sight.triangle, side="right") - 1
    surfaces = np.array([isinstance(thing, Part) for thing in sight.things] + [False])  # -1, nothing, is the last
    cell = thing.reshape(cells)
    alike = (cell == cell[:, :1, :, :1]).all((1, 3), keepdims=True) & surfaces[cell[:, :1, :, :1]]
    own = np.arange(size * size).reshape(cells)
    diagonal = np.stack([own[:, row, :, row] for row in range(SAMPLES)], 1)[..., None]
    return np.where(alike, diagonal, own).reshape(size, size)


# What the samples show ----------------------------------------------------------------------------------------------


def _samples(sight: Sight, covered: NDArray[np.bool_]) -> Samples:
    triangle, barycentric = sight.triangle[covered], sight.barycentric[covered]
    rotation, origin = sight.view.cam2world[:3, :3], sight.view.cam2world[:3, 3]
    rays = (camera_rays(sight.view, len(covered))[covered] * sight.depth[covered][:, None]) @ rotation.T
    place = ((rays + origin) / HEAD_TO_MODEL).astype(np.float32)
    towards_eye = (-rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)

    meshes = sight.meshes
    corners = meshes.faces[triangle]
    direction = np.zeros((len(meshes.vertices), 3), np.float32)
    for thing, first, end in zip(sight.things, meshes.first_vertex, meshes.first_vertex[1:], strict=False):
        direction[first:end] = _directions(thing)
    direction = unit(np.einsum("nc,ncd->nd", barycentric, direction[corners]))

    count = len(triangle)
    colour, wrap = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    roughness, reflectance = np.full(count, 0.5, np.float32), np.full(count, 0.03, np.float32)
    strand = np.zeros(count, bool)
    which = np.searchsorted(meshes.first_face, triangle, side="right") - 1
    for number, thing in enumerate(sight.things):
        here = np.flatnonzero(which == number)
        if not len(here):
            continue
        local = triangle[here] - meshes.first_face[number]
        if isinstance(thing, Fibres):
            strand[here] = True
            roughness[here] = thing.roughness
            colour[here] = _fibre_colour(thing, local, barycentric[here])
        else:
            kind = thing.material.kind
            roughness[here], reflectance[here] = thing.material.roughness, _REFLECTANCE.get(kind, 0.03)
            wrap[here] = _WRAP.get(kind, (0.0, 0.0, 0.0))
            colour[here] = _surface_colour(thing, local, barycentric[here]) + _SHEEN.get(kind, 0.0)
    away = ~strand & ((direction * towards_eye).sum(1) < 0)
    direction[away] = -direction[away]
    return Samples(place, towards_eye, direction, colour, roughness, reflectance, wrap, strand)


def _directions(thing: Part | Fibres) -> _Array:
    """Normals of a part's vertices, tangents of the two vertices of each point of strands [v, 3]."""
    if isinstance(thing, Fibres):
        return np.repeat(strand_directions(thing.points).reshape(-1, 3), 2, 0).astype(np.float32)
    return vertex_normals(thing.vertices, thing.faces).astype(np.float32)


def _surface_colour(part: Part, local: NDArray, barycentric: _Array) -> _Array:
    texture = part.material.texture
    if texture is None or part.uv is None:
        return np.broadcast_to(part.material.colour, (len(local), 3)).astype(np.float32)
    u, v = np.einsum("nc,nck->kn", barycentric, part.uv[local])
    rows, columns, _ = texture.shape
    x, y = np.clip(u, 0, 1) * columns - 0.5, (1 - np.clip(v, 0, 1)) * rows - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_share, lower_share = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
    left, right = np.clip(left, 0, columns - 1), np.clip(left + 1, 0, columns - 1)
    top, bottom = np.clip(top, 0, rows - 1), np.clip(top + 1, 0, rows - 1)
    upper = texture[top, left] * (1 - right_share) + texture[top, right] * right_share
    lower = texture[bottom, left] * (1 - right_share) + texture[bottom, right] * right_share
    return upper * (1 - lower_share) + lower * lower_share


def _fibre_colour(fibres: Fibres, local: NDArray, barycentric: _Array) -> _Array:
    count, length = fibres.radii.shape
    strand, segment = np.divmod(local // 2, length - 1)
    # Corners of a band's triangles, see `ribbons`: 0 1 2 and 2 1 3, of which 2 and 3 are a point further along.
    further = np.where((local % 2 == 0)[:, None], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    along = ((segment + (barycentric * further).sum(1)) / (length - 1))[:, None]
    root, tip = (np.broadcast_to(c, (count, 3))[strand] for c in (fibres.root_colour, fibres.tip_colour))
    return (root + (tip - root) * along).astype(np.float32)
