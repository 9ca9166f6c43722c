# SPDX-License-Identifier: Apache-2.0
"""The mesh on the planes: generative texture-rasterised tri-planes (Next3D, Sun et al. 2023, section 3.1).

A neural texture lies on a face mesh. The mesh is looked at along the axes, without perspective, and what is seen is
written into the plane that spans the same two axes, so that a sample point on the surface finds the texture there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ...human.model import FaceModel
from ...ops.rasterize import interpolate, rasterize
from .config import DynamicOption, MeshConfig


class FaceTopology(nn.Module):
    """Which triangles a mesh has, and where its texture lies on them. No parameters."""

    faces: Int[Tensor, "f 3"]
    """Triangles, counter-clockwise seen from outside."""
    corner_uv: Float[Tensor, "f 3 2"]
    """Where in the texture their corners are: column and row, -1..1 over the texture, rows downwards."""
    mask: Float[Tensor, "1 1 t t2"] | None
    """Where on the texture the drawing counts, 0..1; None for everywhere."""

    def __init__(
        self,
        faces: Int[Tensor, "f 3"],
        corner_uv: Float[Tensor, "f 3 2"],
        mask: Float[Tensor, "1 1 t t2"] | None = None,
        *,
        stored: bool = False,
    ) -> None:
        """Take the arrays; `stored` says whether they belong to the weights."""
        super().__init__()
        self.register_buffer("faces", faces, persistent=stored)
        self.register_buffer("corner_uv", corner_uv, persistent=stored)
        self.register_buffer("mask", mask, persistent=stored)

    @classmethod
    def empty(cls, triangles: int, mask_resolution: int | None) -> FaceTopology:
        """Return room for a topology that comes with the weights; `mask_resolution` None for no mask."""
        faces, corner_uv = torch.zeros(triangles, 3, dtype=torch.long), torch.zeros(triangles, 3, 2)
        mask = None if mask_resolution is None else torch.ones(1, 1, mask_resolution, mask_resolution)
        return cls(faces, corner_uv, mask, stored=True)

    @classmethod
    def from_face_model(cls, face: FaceModel) -> FaceTopology:
        """Return a face model's topology; all of its texture counts."""
        uv = torch.from_numpy(face.uv)[torch.from_numpy(face.uv_faces).long()] * 2 - 1
        uv = uv * torch.tensor([1.0, -1.0])  # v grows upwards, rows downwards
        return cls(torch.from_numpy(face.faces).long(), uv)


@dataclass(frozen=True)
class DynamicPlanes:
    """What was drawn into the planes."""

    features: Float[Tensor, "b 3 c r r"]
    """In the order of `plane_axes`."""
    coverage: Float[Tensor, "b 3 1 r r"]
    """How much of the static planes' features they replace, 0..1."""


@dataclass(frozen=True)
class View:
    """A look along an axis. Each entry names an axis of the mesh, with "-" for its opposite."""

    columns: str
    """What grows from left to right."""
    rows: str
    """What grows from the first row to the last."""
    towards: str
    """What grows towards the viewer."""

    def turn(self, points: Float[Tensor, "b v 3"]) -> Float[Tensor, "b v 3"]:
        """Return points as (column, row, towards)."""
        axes = (self.columns, self.rows, self.towards)
        signs = torch.tensor([-1.0 if "-" in axis else 1.0 for axis in axes], dtype=points.dtype, device=points.device)
        return points[..., ["xyz".index(axis[-1]) for axis in axes]] * signs

    @property
    def mirrored(self) -> bool:
        """Return whether the mesh appears as in a mirror. Rows grow downwards, so a right-handed view does."""
        return torch.linalg.det(self.turn(torch.eye(3)[None])[0]).item() > 0


FRONT = View("x", "y", "z")
LEFT, RIGHT = View("z", "y", "x"), View("z", "y", "-x")
"""The profiles, left and right as the subject's: both as the plane of z and y is read."""
TOP = View("x", "z", "y")
PUBLISHED_LEFT, PUBLISHED_RIGHT, PUBLISHED_TOP = View("-z", "y", "x"), View("z", "y", "-x"), View("x", "-z", "y")
"""The views of the published code, which turns the mesh."""


@dataclass(frozen=True)
class Drawing:
    """The mesh in one view."""

    features: Float[Tensor, "b c r r"]
    """The texture; beyond the mesh what lies in its middle."""
    coverage: Float[Tensor, "b 1 r r"]
    """What counts, 0..1."""


def draw(
    texture: Float[Tensor, "b c t t2"],
    vertices: Float[Tensor, "b v 3"],
    topology: FaceTopology,
    view: View,
    resolution: int,
    *,
    as_pytorch3d: bool = False,
) -> Drawing:
    """Return the mesh in one view.

    Args:
        texture: neural texture, its first row at the top.
        vertices: (column, row, towards the viewer) as `View.turn` has it, -1..1 over the picture.
        topology: of the mesh.
        view: says which side of a triangle is its outside.
        resolution: of the drawing.
        as_pytorch3d: whether pixels exactly on an edge stay empty, and textures shrink a little towards their middle,
            as PyTorch3D has it, which drew for the published weights.

    Differentiable in the texture; places are constants (as in the published code).
    """
    order = [0, 2, 1] if view.mirrored else [0, 1, 2]
    places = vertices * torch.tensor([1.0, 1.0, -1.0], dtype=vertices.dtype, device=vertices.device)
    faces = topology.faces[:, order]
    seen = rasterize(places, faces, resolution, cull=True, edges="never" if as_pytorch3d else "once")
    corner_uv = topology.corner_uv[None, :, order]
    if as_pytorch3d:
        corner_uv = corner_uv * _weight_sums(places[:, faces])[..., None, None]
    where = interpolate(seen, corner_uv).to(texture.dtype)
    coverage = seen.covered[:, None].to(texture.dtype)
    if topology.mask is not None:
        mask = topology.mask.to(texture.dtype).expand(len(where), -1, -1, -1)
        coverage = coverage * F.grid_sample(mask, where, align_corners=False)
    return Drawing(F.grid_sample(texture, where, align_corners=False), coverage)


def dynamic_planes(
    texture: Float[Tensor, "b c t t2"],
    vertices: Float[Tensor, "b v 3"],
    topology: FaceTopology,
    mesh: MeshConfig,
    option: DynamicOption,
    plane_axes: tuple[str, ...],
) -> DynamicPlanes:
    """Return the mesh on the planes.

    Args:
        texture: neural texture.
        vertices: of the posed mesh, in its own frame and unit: x to the subject's left, y up, z out of the face.
        topology: of the mesh.
        mesh: where the mesh lies in the planes.
        option: which views are drawn, and into which planes; "correct" is the paper's, see `DynamicOption`.
        plane_axes: what the planes see.
    """
    if option == "correct":
        return _by_the_paper(texture, vertices, topology, mesh, plane_axes)
    return _as_published(texture, vertices, topology, mesh, only_front=option == "front_only")


def _by_the_paper(
    texture: Float[Tensor, "b c t t2"],
    vertices: Float[Tensor, "b v 3"],
    topology: FaceTopology,
    mesh: MeshConfig,
    plane_axes: tuple[str, ...],
) -> DynamicPlanes:
    """Return every view in the plane that is read where it was seen."""
    places = (vertices + vertices.new_tensor(mesh.shift)) * mesh.scale

    def drawn(view: View) -> Drawing:
        return draw(texture, view.turn(places), topology, view, mesh.resolution)

    front, left, right, top = (drawn(view) for view in (FRONT, LEFT, RIGHT, TOP))
    if mesh.fill_mouth:
        front = replace(front, coverage=fill_holes(front.coverage))
    # A pixel of the side that both profiles cover shows both halves of the face.
    both = (left.coverage + right.coverage).clamp(min=1e-6)
    side = Drawing(
        (left.features * left.coverage + right.features * right.coverage) / both,
        torch.maximum(left.coverage, right.coverage),
    )
    views = {frozenset("xy"): (front, "xy"), frozenset("yz"): (side, "zy"), frozenset("xz"): (top, "xz")}
    drawings = []
    for pair in plane_axes:
        drawing, own = views[frozenset(pair)]
        if pair != own:
            drawing = Drawing(drawing.features.mT, drawing.coverage.mT)
        drawings.append(drawing)
    return _stacked(drawings)


def _stacked(drawings: list[Drawing]) -> DynamicPlanes:
    """Return the planes that drawings fill."""
    return DynamicPlanes(
        torch.stack([drawing.features for drawing in drawings], 1),
        torch.stack([drawing.coverage for drawing in drawings], 1),
    )


def _as_published(
    texture: Float[Tensor, "b c t t2"],
    vertices: Float[Tensor, "b v 3"],
    topology: FaceTopology,
    mesh: MeshConfig,
    only_front: bool,
) -> DynamicPlanes:
    """Return the planes of the published code, or of the published weights (only the front)."""
    # The shift is added in each view's own axes, whatever they are.
    shift = vertices.new_tensor(mesh.shift)

    def drawn(view: View) -> Drawing:
        places = (view.turn(vertices) + shift) * mesh.scale
        result = draw(texture, places, topology, view, mesh.resolution, as_pytorch3d=True)
        return replace(result, coverage=fill_holes(result.coverage)) if mesh.fill_mouth else result

    front = drawn(FRONT)
    if only_front:
        nothing = Drawing(torch.zeros_like(front.features), torch.zeros_like(front.coverage))
        drawings = [front, nothing, nothing]
    else:
        left, right = drawn(PUBLISHED_LEFT), drawn(PUBLISHED_RIGHT)
        side = Drawing(left.features + right.features, (left.coverage > 0).to(left.coverage.dtype))
        drawings = [front, side, drawn(PUBLISHED_TOP)]
    return _stacked(drawings)


def _weight_sums(corners: Float[Tensor, "b f 3 3"]) -> Float[Tensor, "b f"]:
    """Return what PyTorch3D's barycentric coordinates add up to: it divides by twice the area plus 1e-8."""
    a, b, c = corners.double().unbind(2)
    area = ((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]).abs()
    return (area / (area + 1e-8)).to(corners.dtype)


def fill_holes(coverage: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return coverage in which everything is 1 that a walk from the first pixel cannot reach.

    The walk steps to the four neighbours, and not on pixels that are covered entirely; so the outside keeps what it
    has, and holes within the mesh (an open mouth, the sockets of masked eyes) are filled.
    """
    open_ = coverage < 1
    reached = torch.zeros_like(open_)
    reached[..., 0, 0] = True
    reached &= open_
    while True:  # one round walks all straight lines, so rounds are as many as the way has bends
        further = _along_rows(reached, open_)
        further = _along_rows(further.mT, open_.mT).mT
        if torch.equal(further, reached):
            return torch.where(reached, coverage, 1.0)
        reached = further


def _along_rows(reached: Tensor, open_: Tensor) -> Tensor:
    """Return what is reached when every reached pixel walks left and right as far as pixels are open."""
    # Closed pixels number the runs of open ones between them.
    run = (~open_).long().cumsum(-1)
    counts = torch.zeros(*run.shape[:-1], run.shape[-1] + 1, dtype=torch.long, device=run.device)
    counts.scatter_add_(-1, run, reached.long())
    return (counts.gather(-1, run) > 0) & open_
