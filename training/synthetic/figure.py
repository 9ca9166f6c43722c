# SPDX-License-Identifier: Apache-2.0
"""What stands before the camera: meshes and strands with colours, the same for Cycles and for our rasteriser.

``Rest...`` types are a person who looks straight ahead with a neutral face; ``sitter.py`` poses them. Everything is in
head space (metres, +X the subject's left, +Y up, +Z out of the face), colours are linear RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["skin", "lid", "eye", "cornea", "mouth", "tongue", "gum", "tooth", "cloth", "frame", "lens"]


@dataclass(frozen=True)
class Material:
    """How a surface looks; the kind decides what a renderer adds (subsurface scattering, a wet highlight ...)."""

    kind: Kind
    colour: NDArray[np.float64]
    """[3] linear RGB; ignored where there is a texture."""
    texture: NDArray[np.float32] | None = None
    """[rows, columns, 3] linear RGB, first row at the top; sampled at uv with its origin at the lower left."""
    roughness: float = 0.5
    relief: NDArray[np.float32] | None = None
    """[rows, columns, 2] height over the surface in millimetres, and roughness there; sampled like the texture. A
    renderer may leave it out."""


@dataclass(frozen=True)
class Part:
    """A mesh with one material."""

    name: str
    vertices: NDArray[np.float64]
    """[V, 3]."""
    faces: NDArray[np.int32]
    """[F, 3] counter-clockwise seen from outside."""
    region: int | NDArray[np.uint8]
    """What it is in masks: one of ``neural_core.records``' SKIN .. GLASSES; or [F], one for every face."""
    material: Material
    uv: NDArray[np.float32] | None = None
    """[F, 3, 2] texture coordinates of the corners."""


@dataclass(frozen=True)
class Fibres:
    """Strands of hair, lashes or brows: polylines of equal length in points, thin tubes."""

    name: str
    points: NDArray[np.float64]
    """[n, p, 3], root first."""
    radii: NDArray[np.float64]
    """[n, p] metres."""
    root_colour: NDArray[np.float64]
    """[3] or [n, 3] linear RGB at the root; it fades into tip_colour."""
    tip_colour: NDArray[np.float64]
    """[3] or [n, 3]."""
    region: int
    roughness: float = 0.35


@dataclass(frozen=True)
class RestPart:
    """A part in neutral pose, and what moves it."""

    part: Part
    weights: NDArray[np.float64]
    """[V, 10] skinning weights over ``neural_core.records.JOINTS``; rows sum to 1."""
    actions: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Displacement [V, 3] at the value 1 of each facial action that moves it."""


@dataclass(frozen=True)
class RestFibres:
    """Strands in neutral pose, and the skin that they grow from."""

    fibres: Fibres
    corners: NDArray[np.int32]
    """[n, 3] vertices of the face model between which each root lies: with the skin's triangle the whole strand moves,
    expression included (brows, lashes, beard, short hair)."""
    barycentric: NDArray[np.float64]
    """[n, 3]."""
    weights: NDArray[np.float64] | None = None
    """[n, p, 10] skinning weights of every point, for long hair that lies on the shoulders; None: as the root moves."""


@dataclass(frozen=True)
class Figure:
    """A person at one instant."""

    parts: tuple[Part, ...]
    fibres: tuple[Fibres, ...]
    vertices: NDArray[np.float64]
    """[V, 3] the face model's own posed vertices: landmarks, PNCC and the driving mesh come from these."""
    gaze: NDArray[np.float64]
    """[2, 2] as in ``neural_core.records.Record``."""


@dataclass(frozen=True)
class Attire:
    """What a person wears, where the code z does not say it; None: what follows from the code."""

    hair: str | None = None
    """One of ``hair.STYLES``; None: the comb that follows the code smoothly."""
    glasses: str | None = None
    """One of ``glasses.GLASSES``; None: without."""
    garment: str | None = None
    """One of ``garments.GARMENTS``; None: the plain one."""


@dataclass(frozen=True)
class Pose:
    """What a person does at one instant."""

    actions: NDArray[np.float64] = field(default_factory=lambda: np.zeros(52))
    """[52] facial actions in 0..1; the eyeLook actions turn the eyes."""
    joints: NDArray[np.float64] = field(default_factory=lambda: np.zeros((10, 3)))
    """[10, 3] rotations of ``neural_core.records.JOINTS`` relative to the parent, axis-angle, radians."""
