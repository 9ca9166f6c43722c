# SPDX-License-Identifier: Apache-2.0
"""The four lines that everything above the systems knows, and the data that they exchange.

create(seed) -> Portrait; pose(portrait, controls) -> Field; field.render(camera) -> Rendering;
field.density(points) -> densities. All of it in head space: metres, +X the subject's left, +Y up, +Z out of the face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ..cameras import Camera

Progress = Callable[[int, int], None]
"""Called with steps done and steps in all, at least every 200 ms or so; may raise to stop the work."""


@dataclass(frozen=True)
class Rendering:
    """What a camera sees.

    Attributes:
        image: the finished picture, -1..1; what is not covered is black (-1), as if composited over black.
        image_raw: the volume rendering before super-resolution, -1..1.
        features: all rendered features, -1..1; the first three are `image_raw`.
        depth: distance along the ray to what is seen, in the unit of the space of the call (metres in head space).
        opacity: how much is covered, 0..1; as large as `image` where a super-resolution knows coverage, else as
            large as `image_raw`.
    """

    image: Float[Tensor, "b 3 h w"]
    image_raw: Float[Tensor, "b 3 hr wr"]
    features: Float[Tensor, "b c hr wr"]
    depth: Float[Tensor, "b 1 hr wr"]
    opacity: Float[Tensor, "b 1 ho wo"]


@dataclass(frozen=True)
class Portrait:
    """A person, as one system knows them.

    Attributes:
        system: name of the system.
        checkpoint_hash: SHA-256 of the weights that the tensors belong to; empty if these came from no file.
        tensors: what the system needs to show the person.
        shape: identity coefficients of the face model, which the rig is built from; None if they are not known.
        provenance: plain values: how the person was made.
    """

    system: str
    checkpoint_hash: str
    tensors: dict[str, Tensor]
    shape: Float[Tensor, " k"] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Field(Protocol):
    """A person at one instant: what can be rendered and meshed."""

    @property
    def box(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the corners, smallest and largest (x, y, z), of the box that holds everything, in metres."""
        ...

    def render(
        self, camera: Camera, size: int | None = None, on_progress: Progress | None = None, draft: bool = False
    ) -> Rendering:
        """Return the picture that a camera in head space sees, of the system's own size or another.

        A draft takes half the time or less; it may be smaller than `size`.
        """
        ...

    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the density at points, >= 0, in 1/metre."""
        ...

    def colour(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the colour at points, sRGB 0..1."""
        ...


@dataclass(frozen=True)
class Control:
    """One of the things a portrait can be asked to do.

    Attributes:
        name: as in `Controls`.
        dimension: how many numbers.
        unit: of the numbers.
        minimum: smallest useful number.
        maximum: largest useful number.
        meaning: one sentence for the user.
    """

    name: str
    dimension: int
    unit: str
    minimum: float
    maximum: float
    meaning: str


@dataclass(frozen=True)
class SystemInfo:
    """What is true of a system with its weights.

    Attributes:
        name: of the system, as in the registry.
        creates_from: what `create` takes: "seed", "photo", "clip".
        image_size: width and height of its own pictures.
        controls: what `pose` takes; empty for a system that shows a still face.
        requires: external files by role ("anny", "flame", ...).
        knows_shape: whether a portrait brings the face model's coefficients with it.
    """

    name: str
    creates_from: tuple[str, ...]
    image_size: int
    controls: tuple[Control, ...] = ()
    requires: tuple[str, ...] = ()
    knows_shape: bool = False


@runtime_checkable
class System(Protocol):
    """A network that makes people."""

    @property
    def info(self) -> SystemInfo:
        """Return what is true of it."""
        ...

    def create(self, seed: int, truncation: float = 0.7) -> Portrait:
        """Return the person of a seed."""
        ...

    def pose(self, portrait: Portrait, controls: Mapping[str, Tensor] | None = None) -> Field:
        """Return the person at one instant."""
        ...

    def creation_camera(self) -> Camera:
        """Return the camera, in head space, that shows the person as the training pictures did."""
        ...
