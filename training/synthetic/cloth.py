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
from scipy.sparse import csr_matrix, diags, eye, vstack
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from neural_core.human.bust import BustModel, Torso, load_bust
from neural_core.human.surfaces import unit, vertex_normals

Field = Callable[[NDArray], NDArray]
"""From points [n, 3] on the mean torso to values [n]."""

_ROUNDS = 60  # of smoothing: cloth bridges hollows
_FURTHEST = 0.022  # metres that bridging lifts cloth off the skin
CLOTH_SIZE = 1.1
"""Metres of cloth that a texture shows."""

_CLEARANCE = 0.0022  # metres between skin and cloth where both touch


@dataclass(frozen=True)
class Piece:
    """A piece of cloth before it is put on anybody."""

    from_fine: csr_matrix
    """[N, M] places of the piece's vertices as weighted means of the fine torso's."""
    places: NDArray[np.float64]
    """[N, 3] on the mean person."""
    faces: NDArray[np.int32]
    """[F, 3]."""
    edges: NDArray[np.int32]
    """[E, 2] its rim, directed as the faces run."""


@dataclass(frozen=True)
class Worn:
    """A piece on a person: vertices [M, 3], faces [F, 3], weights [M, 10], texture coordinates [F, 3, 2] in 0..1."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    weights: NDArray[np.float64]
    uv: NDArray[np.float32]


def on_arm(places: NDArray) -> NDArray[np.bool_]:
    """Which places [n, 3] on the mean person lie on the free part of an arm."""
    return (np.abs(places[:, 0]) > 0.168) & (places[:, 1] < -0.26)


def down_from_neck(places: NDArray) -> NDArray[np.float64]:
    """Metres [n] along the skin from the cut of the neck (the first ring under it) to places on the mean person."""
    tree, distance = _neck_distances()
    away, near = tree.query(places, 4)
    share = 1 / (away + 1e-4) ** 2
    return (share * distance[near]).sum(1) / share.sum(1)


@cache
def _neck_distances() -> tuple[KDTree, NDArray[np.float64]]:
    fine, faces, smoothing = _fine_torso()
    places = fine @ load_bust().template.astype(np.float64)
    rim = _rim(faces)
    start = np.unique(rim[places[rim].mean(1)[:, 1] > -0.25])
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(np.concatenate([edges, _diagonals(faces)]), 1), axis=0)
    length = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
    graph = csr_matrix((length, (edges[:, 0], edges[:, 1])), (len(places), len(places)))
    distance = dijkstra(graph, directed=False, indices=start, min_only=True)
    for _ in range(3):
        distance = smoothing @ distance
    return KDTree(places), distance


def _diagonals(faces: NDArray) -> NDArray[np.int64]:
    """Pairs of vertices opposite to each other across an edge: shorter ways for distances."""
    edges = np.concatenate([faces[:, [0, 1, 2]], faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]])
    edges[:, :2].sort(1)
    edges = edges[np.lexsort(edges.T[::-1])]
    same = (edges[1:, :2] == edges[:-1, :2]).all(1)
    return np.stack([edges[:-1][same, 2], edges[1:][same, 2]], 1)


def cut(outline: Field) -> Piece:
    """The piece of the torso's surface where the outline is positive."""
    fine, faces, _ = _fine_torso()
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
    rows = csr_matrix(vstack([eye(len(places)), crossing.rows()]))
    used, compact = np.unique(np.concatenate(kept), return_inverse=True)
    compact = compact.reshape(-1, 3).astype(np.int32)
    rows = csr_matrix(rows[used])
    return Piece(rows, rows @ places, compact, _rim(compact))


@dataclass(frozen=True)
class Drape:
    """How cloth would lie on a person if it covered everything; on the vertices of the fine torso."""

    skin: NDArray[np.float64]
    """[M, 3]."""
    normals: NDArray[np.float64]
    """[M, 3] of the skin."""
    soft: NDArray[np.float64]
    """[M, 3] smoothed normals: far from the skin these keep neighbours from crossing in hollows."""
    lifted: NDArray[np.float64]
    """[M] metres by which cloth bridges hollows of the skin."""
    weights: NDArray[np.float64]
    """[M, 10]."""


def drape(torso: Torso) -> Drape:
    """Cover a person with cloth."""
    fine, _, smoothing = _fine_torso()
    skin, normals = fine @ torso.vertices, unit(fine @ torso_normals(torso))
    smooth, soft = skin, normals
    for _ in range(_ROUNDS):
        smooth, soft = smoothing @ smooth, smoothing @ soft
    lifted = np.clip(((smooth - skin) * normals).sum(1), 0, _FURTHEST) * _bridges()
    for _ in range(4):
        lifted = smoothing @ lifted
    return Drape(skin, normals, unit(soft), lifted, fine @ torso.weights)


def wear(piece: Piece, body: Drape, offset: NDArray, thickness: float) -> Worn:
    """Put a piece on.

    Args:
        piece: What is worn.
        body: Who wears it.
        offset: [N] metres between skin and cloth.
        thickness: Of the cloth, metres: the rim is turned in by so much.
    """
    rows = piece.from_fine
    normals, soft = unit(rows @ body.normals), unit(rows @ body.soft)
    out = np.maximum(rows @ body.lifted + offset, _CLEARANCE)[:, None]
    towards = unit(normals + np.clip(out / 0.012, 0, 1) * (soft - normals))
    outer = rows @ body.skin + out * towards
    rim = np.unique(piece.edges)
    inner = outer[rim] - np.minimum(thickness, out[rim] - 0.0008) * towards[rim]
    new = np.full(len(outer), -1)
    new[rim] = len(outer) + np.arange(len(rim))
    a, b = piece.edges.T
    faces = np.concatenate([piece.faces, np.stack([b, a, new[a]], 1), np.stack([b, new[a], new[b]], 1)])
    weights = rows @ body.weights
    places = np.concatenate([piece.places, piece.places[rim]])
    return Worn(
        np.concatenate([outer, inner]),
        faces.astype(np.int32),
        np.concatenate([weights, weights[rim]]),
        _texture_places(places, faces),
    )


def _texture_places(places: NDArray, faces: NDArray) -> NDArray[np.float32]:
    """As a tailor cuts: a front, a back and sleeves lie flat; seams are at shoulders, armholes and sides."""
    corners = places[faces]
    middle = corners.mean(1)[:, None]
    x, y, z = np.moveaxis(corners, -1, 0)
    # Over the shoulders the cloth goes on as long as the skin does, not only as high.
    ridge = z + 0.065
    front = middle[..., 2] > -0.065
    across = np.where(front, x, 0.42 - x)
    up = y + np.where(front, -0.7, 0.7) * ridge * np.clip((y + 0.30) / 0.10, 0, 1)
    down = np.clip(-0.34 - y, 0, 1)  # arms lean outwards and bend forwards at the elbow
    around = np.arctan2(np.abs(x) - 0.190 - 0.2 * down, z + 0.050 - 0.22 * down)
    around = np.where((np.ptp(around, axis=1) > np.pi)[:, None] & (around < 0), around + 2 * np.pi, around)
    arm = on_arm(middle[:, 0])[:, None]
    across, up = np.where(arm, 0.05 * around, across), np.where(arm, y, up)
    return np.stack([across / CLOTH_SIZE + 0.28, up / CLOTH_SIZE + 0.7], -1).astype(np.float32)


def torso_normals(torso: Torso) -> NDArray[np.float64]:
    """Unit normals [B, 3], from the faces that do not touch the head."""
    first = _first_own(load_bust())
    faces = torso.faces[(torso.faces >= first).all(1)] - first
    return vertex_normals(torso.vertices, faces)


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

    def rows(self) -> csr_matrix:
        a, b = np.array(list(self._known), np.int64).reshape(-1, 2).T
        t = self._value[a] / (self._value[a] - self._value[b])
        rows = np.arange(len(a))
        entries = (np.concatenate([1 - t, t]), (np.concatenate([rows, rows]), np.concatenate([a, b])))
        return csr_matrix(entries, (len(a), self._first))


@cache
def _fine_torso() -> tuple[csr_matrix, NDArray[np.int64], csr_matrix]:
    """The torso without the faces at the neck's cut, refined, more so round the neck and down the front.

    Returns:
        Its vertices as weighted means of the torso's [M, B], its faces [F, 3], and a round of smoothing [M, M].
    """
    bust = load_bust()
    first = _first_own(bust)
    faces = bust.faces[(bust.faces >= first).all(1)].astype(np.int64) - first
    rows = csr_matrix(eye(len(bust.template)))
    places, halves = np.zeros(0), np.zeros(0)
    for wanted in (lambda p: p[:, 1] < 9, _of_collars):
        places = rows @ bust.template.astype(np.float64)
        halves, faces = _split(faces, len(places), lambda edges, p=places, w=wanted: w(p[edges].mean(1)))
        rows = csr_matrix(vstack([rows, 0.5 * (rows[halves[:, 0]] + rows[halves[:, 1]])]))
    return rows, faces, _smoothing(faces, len(places) + len(halves))


def _of_collars(places: NDArray) -> NDArray[np.bool_]:
    """Where garments have narrow parts: collars, plackets, zips."""
    x, y, z = places.T
    return ((y > -0.335) & (np.abs(x) < 0.13)) | ((np.abs(x) < 0.055) & (z > 0))


def _split(
    faces: NDArray, count: int, wanted: Callable[[NDArray], NDArray]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Halve the wanted edges [n, 2]: those edges, whose middles become vertices ``count`` .., and the new faces."""
    sides = np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2), 2)
    edges, which = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
    chosen = wanted(edges)
    number = np.where(chosen, count + np.cumsum(chosen) - 1, -1)
    middle = number[which.reshape(-1, 3)]  # of the edges from corner k to k + 1
    halved = (middle >= 0).sum(1)
    found = [faces[halved == 0]]
    # Turned so that the first edge is halved if one is, and the last is not if two are.
    odd = np.where(halved == 1, (middle >= 0).argmax(1), ((middle < 0).argmax(1) + 1) % 3)
    index = (odd[:, None] + np.arange(3)) % 3
    turned, cut_at = np.take_along_axis(faces, index, 1), np.take_along_axis(middle, index, 1)
    for amount, pattern in ((1, "a3c 3bc"), (2, "a3c 3b4 34c"), (3, "a35 3b4 54c 345")):
        six = np.concatenate([turned[halved == amount], cut_at[halved == amount]], 1)
        found += [six[:, ["abc345".index(corner) for corner in triangle]] for triangle in pattern.split()]
    return edges[chosen], np.concatenate(found)


@cache
def _bridges() -> NDArray[np.float64]:
    """0 near the neck, where cloth lies close, 1 further down [M]."""
    places = _fine_torso()[0] @ load_bust().template.astype(np.float64)
    return np.clip((down_from_neck(places) - 0.05) / 0.07, 0, 1)


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
