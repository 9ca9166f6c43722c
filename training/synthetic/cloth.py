# SPDX-License-Identifier: Apache-2.0
"""Cloth as a shell over the torso: a pattern is cut out of the body's surface and held away from it.

A pattern is drawn on the mean person: ``outline`` is positive where cloth is, cut along its zero line. The pieces'
vertices are weighted means of the torso's, so a pattern fits everybody and moves with the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, eye

from neural_core.human.bust import BustModel, Torso, load_bust

Field = Callable[[NDArray], NDArray]
"""From points [n, 3] on the mean torso to values [n]."""

_ROUNDS = 24  # of smoothing: cloth bridges hollows
_FURTHEST = 0.012  # metres that bridging lifts cloth off the skin
_CLEARANCE = 0.0022  # metres between skin and cloth where both touch


@dataclass(frozen=True)
class Piece:
    """A piece of cloth before it is put on anybody."""

    from_torso: csr_matrix
    """[N, B] places of the piece's vertices as weighted means of the torso's vertices."""
    places: NDArray[np.float64]
    """[N, 3] on the mean person."""
    faces: NDArray[np.int32]
    """[F, 3]."""
    edges: NDArray[np.int32]
    """[E, 2] its rim, directed as the faces run."""
    smoothing: csr_matrix
    """[N, N] one round of it."""


@dataclass(frozen=True)
class Worn:
    """A piece on a person: vertices [M, 3], faces [F, 3], weights [M, 10], texture places [M, 2] in metres."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    weights: NDArray[np.float64]
    places: NDArray[np.float64]


def cut(outline: Field) -> Piece:
    """The piece of the torso's surface where the outline is positive."""
    fine, faces = _fine_torso()
    places = fine @ load_bust().template.astype(np.float64)
    value = outline(places)
    value = np.where(np.abs(value) < 1e-5, -1e-5, value)
    inside = value > 0
    count = inside[faces].sum(1)
    kept = [faces[count == 3]]
    crossing = _Crossings(value, len(places))
    for number in (1, 2):
        some = faces[count == number]
        # Turned so that the corner that differs from the other two comes first.
        odd = np.argmax(inside[some] == (number == 1), axis=1)
        a, b, c = (some[np.arange(len(some)), (odd + k) % 3] for k in range(3))
        ab, ac = crossing(a, b), crossing(a, c)
        kept += [np.stack([a, ab, ac], 1)] if number == 1 else [np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)]
    everything = csr_matrix(_stack(fine, crossing.rows(fine)))
    used, compact = np.unique(np.concatenate(kept), return_inverse=True)
    compact = compact.reshape(-1, 3).astype(np.int32)
    rows = csr_matrix(everything[used])
    at = rows @ load_bust().template.astype(np.float64)
    return Piece(rows, at, compact, _rim(compact), _smoothing(compact, len(used)))


def wear(piece: Piece, torso: Torso, offset: NDArray, thickness: float, bridged: float = 1.0) -> Worn:
    """Put a piece on.

    Args:
        piece: What is worn.
        torso: Who wears it.
        offset: [N] metres between skin and cloth.
        thickness: Of the cloth, metres: the rim is turned in by so much.
        bridged: 0..1 how far cloth spans hollows instead of lying in them.
    """
    skin = piece.from_torso @ torso.vertices
    normals = _unit(piece.from_torso @ torso_normals(torso))
    smooth, soft = skin, normals
    for _ in range(_ROUNDS):
        smooth, soft = piece.smoothing @ smooth, piece.smoothing @ soft
    lifted = np.clip(((smooth - skin) * normals).sum(1), 0, _FURTHEST) * bridged
    for _ in range(4):
        lifted = piece.smoothing @ lifted
    out = np.maximum(lifted + offset, _CLEARANCE)[:, None]
    # Far from the skin the smoothed direction, or neighbours would cross in hollows.
    towards = _unit(normals + np.clip(out / 0.012, 0, 1) * (_unit(soft) - normals))
    outer = skin + out * towards
    rim = np.unique(piece.edges)
    inner = outer[rim] - np.minimum(thickness, out[rim] - 0.0008) * towards[rim]
    new = np.full(len(outer), -1)
    new[rim] = len(outer) + np.arange(len(rim))
    a, b = piece.edges.T
    faces = np.concatenate([piece.faces, np.stack([b, a, new[a]], 1), np.stack([b, new[a], new[b]], 1)])
    weights = piece.from_torso @ torso.weights
    uv = texture_places(piece.places)
    return Worn(
        np.concatenate([outer, inner]),
        faces.astype(np.int32),
        np.concatenate([weights, weights[rim]]),
        np.concatenate([uv, uv[rim]]),
    )


def texture_places(places: NDArray) -> NDArray[np.float64]:
    """[n, 2] metres on the flat cloth: along the horizontal, and up. It mirrors at the sides of the body."""
    arm = np.clip((np.abs(places[:, 0]) - 0.15) / 0.03, 0, 1)
    return np.stack([places[:, 0] * (1 - 0.5 * arm) + places[:, 2] * arm * np.sign(places[:, 0]), places[:, 1]], 1)


def torso_normals(torso: Torso) -> NDArray[np.float64]:
    """Unit normals [B, 3], from the faces that do not touch the head."""
    first = _first_own(load_bust())
    faces = torso.faces[(torso.faces >= first).all(1)] - first
    return vertex_normals(torso.vertices, faces)


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Unit normals [V, 3], weighted by the areas of the faces."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    return _unit(normals)


def _unit(vectors: NDArray) -> NDArray[np.float64]:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


def _first_own(bust: BustModel) -> int:
    """Index of the torso's first vertex in its faces: the number of the head's."""
    return int(bust.faces.max()) + 1 - len(bust.template)


class _Crossings:
    """New vertices where edges cross the zero line, shared by the faces on both sides."""

    def __init__(self, value: NDArray, first: int) -> None:
        self._value, self._first = value, first
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, a: NDArray, b: NDArray) -> NDArray[np.int64]:
        pairs = np.sort(np.stack([a, b], 1), 1).tolist()
        return np.array([self._first + self._known.setdefault((p, q), len(self._known)) for p, q in pairs], np.int64)

    def rows(self, fine: csr_matrix) -> csr_matrix:
        pairs = np.array(list(self._known), np.int64).reshape(-1, 2)
        t = self._value[pairs[:, 0]] / (self._value[pairs[:, 0]] - self._value[pairs[:, 1]])
        return csr_matrix(diags(1 - t) @ fine[pairs[:, 0]] + diags(t) @ fine[pairs[:, 1]])


@cache
def _fine_torso() -> tuple[csr_matrix, NDArray[np.int64]]:
    """The torso without the faces at the neck's cut, every triangle in four: weights [N, B] and faces [F, 3]."""
    bust = load_bust()
    first = _first_own(bust)
    faces = bust.faces[(bust.faces >= first).all(1)].astype(np.int64) - first
    identity = csr_matrix(eye(len(bust.template)))
    halves = np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2), 1)
    edges, which = np.unique(halves, axis=0, return_inverse=True)
    middle = len(bust.template) + which.reshape(-1, 3)
    a, b, c = faces.T
    ab, bc, ca = middle.T
    split = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1).reshape(-1, 3)
    return _stack(identity, 0.5 * (identity[edges[:, 0]] + identity[edges[:, 1]])), split


def _stack(first: csr_matrix, second: csr_matrix) -> csr_matrix:
    from scipy.sparse import vstack

    return csr_matrix(vstack([first, second]))


def _rim(faces: NDArray) -> NDArray[np.int32]:
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = set(map(tuple, directed.tolist()))
    return np.array([edge for edge in known if edge[::-1] not in known], np.int32).reshape(-1, 2)


def _smoothing(faces: NDArray, count: int) -> csr_matrix:
    """Half of each vertex, half of the mean of its neighbours; on the rim, of its neighbours along the rim."""
    rim = _rim(faces)
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    on_rim = np.zeros(count, bool)
    on_rim[rim] = True
    pairs = np.concatenate([pairs[~on_rim[pairs[:, 0]]], rim, rim[:, ::-1]])
    pairs = np.unique(pairs, axis=0)
    near = csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    degree = np.asarray(near.sum(1)).ravel()
    return csr_matrix(0.5 * eye(count) + 0.5 * diags(1 / np.maximum(degree, 1)) @ near + diags(0.5 * (degree == 0)))
