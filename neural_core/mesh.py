# SPDX-License-Identifier: Apache-2.0
"""From a field to a coloured surface: density on a grid, marching cubes, vertex colours, binding to a driver mesh.

Everything is in head space: metres, +X the subject's left, +Y up, +Z out of the face, as glTF wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from .density_grid import HALF_DEPTH, Samplable, evaluate, sample_density
from .errors import PortraitError, UsageError
from .files import write_bytes
from .progress import Report, silent

DETAIL_RANGE = (16, 512)
EXPORT_KINDS = ("glb", "obj", "ply")

_BOUND_PER_CHUNK = 1 << 12
_CANDIDATES = 16


@dataclass(frozen=True)
class ColouredMesh:
    """A closed triangle mesh with colours.

    Attributes:
        vertices: [n, 3] f4, metres, head space.
        faces: [m, 3] i4, counter-clockwise seen from outside.
        colours: [n, 3] f4, sRGB, 0..1.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colours: NDArray[np.float32]


def extract(
    field: Samplable, detail: int = 128, *, device: torch.device | str = "cpu", report: Report = silent
) -> ColouredMesh:
    """Extract the surface of a field with its colours, its largest piece only.

    The surface is where half of the light from outside is stopped, which is where a picture shows it; what is hidden
    inside makes no surface. Where the portrait leaves the box (at the neck) it is closed by the box's side.

    Args:
        field: what to sample.
        detail: grid cells along the box's longest side, 16 to 512; rounded up to a multiple of 4.
        device: where the field computes.
        report: told of progress.

    Raises:
        UsageError: if detail is out of range.
        PortraitError: if there is no surface.
    """
    if not DETAIL_RANGE[0] <= detail <= DETAIL_RANGE[1]:
        raise UsageError(f"Mesh detail {detail} is not between {DETAIL_RANGE[0]} and {DETAIL_RANGE[1]}.")
    marching_cubes = _marching_cubes()
    grid = sample_density(field, detail, device, report)
    report("Finding the surface", 0, 1)
    depth = grid.optical_depth()
    if depth.max() <= HALF_DEPTH:
        raise PortraitError("The portrait has no surface: it is transparent everywhere.", "Try another seed or model.")
    # Deep inside the numbers grow without bound; only those around the surface are to be interpolated.
    vertices, faces = marching_cubes(np.minimum(depth, 4 * HALF_DEPTH), HALF_DEPTH)
    vertices = (grid.corner + grid.cell * vertices).astype(np.float32)
    vertices, faces = largest_component(vertices, faces.astype(np.int32))
    colours = evaluate(field.colour, vertices, device, "Colouring the surface", report)
    return ColouredMesh(vertices, faces, np.clip(colours, 0.0, 1.0))


def _marching_cubes() -> Callable[[NDArray[np.float32], float], tuple[NDArray[np.float64], NDArray[np.integer]]]:
    """Return PyMCubes' function. It is the one package here without wheels for the newest Pythons."""
    try:
        from mcubes import marching_cubes
    except ImportError as error:
        raise PortraitError(
            "This Python has no PyMCubes, which makes surfaces.",
            "Install it there, or use Python 3.11 or 3.12, for which there are wheels.",
            kind="engine",
        ) from error
    return marching_cubes


def largest_component(
    vertices: NDArray[np.float32], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the connected piece with the most triangles; floating specks are dropped."""
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    ones = np.ones(len(edges), np.int8)
    _, labels = connected_components(coo_matrix((ones, edges.T), shape=(len(vertices),) * 2), directed=False)
    kept = labels == np.bincount(labels[faces[:, 0]]).argmax()
    index = np.cumsum(kept) - 1
    return vertices[kept], index[faces[kept[faces[:, 0]]]].astype(np.int32)


def bind(
    vertices: NDArray[np.float32],
    driver_vertices: NDArray[np.float32],
    driver_faces: NDArray[np.int32],
    report: Report = silent,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Bind vertices to the nearest point of a driver mesh's surface.

    Among the triangles with the nearest centres the nearest point is exact; the triangles of a face mesh are small
    and even, so that the nearest triangle is among them.

    Returns:
        Driver vertex indices [n, 4] i4, and weights [n, 4] f4: barycentric coordinates of the nearest point, then a
        zero, so that rows can be read as four influences; each row sums to 1.
    """
    triangles = driver_vertices[driver_faces].astype(np.float64)
    tree = KDTree(triangles.mean(axis=1))
    faces, weights = np.zeros(len(vertices), int), np.zeros((len(vertices), 4), np.float32)
    for start in range(0, len(vertices), _BOUND_PER_CHUNK):
        report("Binding to the rig", start, len(vertices))
        part = slice(start, start + _BOUND_PER_CHUNK)
        faces[part], weights[part, :3] = _nearest(vertices[part], triangles, tree)
    return driver_faces[faces][:, [0, 1, 2, 0]].astype(np.int32), weights


def _nearest(
    points: NDArray[np.float32], triangles: NDArray[np.float64], tree: KDTree
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each point the nearest triangle, and the barycentric coordinates in it of the nearest point."""
    count = min(_CANDIDATES, len(triangles))
    near = np.reshape(tree.query(points, count)[1], (len(points), count))
    best = np.full(len(points), np.inf)
    face, nearest = near[:, 0].copy(), np.zeros((len(points), 3))
    for column in near.T:
        closest = trimesh.triangles.closest_point(triangles[column], points)
        distance = ((closest - points) ** 2).sum(-1)
        better = distance < best
        best[better], face[better], nearest[better] = distance[better], column[better], closest[better]
    shares = np.clip(trimesh.triangles.points_to_barycentric(triangles[face], nearest), 0.0, 1.0)
    return face, shares / shares.sum(1, keepdims=True)


def export(mesh: ColouredMesh, path: Path, kind: str | None = None) -> None:
    """Write a .glb, .obj or .ply with vertex colours. `kind` is the file's suffix unless given.

    Raises:
        UsageError: if the kind is another.
        PortraitError: kind "output", if the file cannot be written.
    """
    kind = check_kind(kind or path.suffix.removeprefix(".").lower())
    # glTF's colours are linear; OBJ and PLY readers take them as they are shown.
    colours = _linear(mesh.colours) if kind == "glb" else mesh.colours
    rgba = np.rint(np.concatenate([colours, np.ones_like(colours[:, :1])], axis=1) * 255).astype(np.uint8)
    visual = ColorVisuals(vertex_colors=rgba)
    if kind == "glb":
        # Without a material glTF means metal, and a face would look like lead.
        material = PBRMaterial(metallicFactor=0.0, roughnessFactor=0.7)
        visual = TextureVisuals(material=material)
        visual.vertex_attributes["color"] = rgba
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, visual=visual, process=False)
    data = shape.export(file_type=kind)
    write_bytes(path, data.encode() if isinstance(data, str) else bytes(data))


def check_kind(kind: str) -> str:
    """Return a kind of mesh file that can be written. Raises UsageError for another."""
    if kind not in EXPORT_KINDS:
        raise UsageError(f'Cannot write a mesh as "{kind}".', f"Known kinds: {', '.join(EXPORT_KINDS)}.")
    return kind


def _linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return linear values of sRGB ones (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)
