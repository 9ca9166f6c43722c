# SPDX-License-Identifier: Apache-2.0
"""Meshes of simple things: tubes along a line, discs over an outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mesh = tuple[NDArray[np.float64], NDArray[np.int32]]
"""Vertices [V, 3], faces [F, 3] counter-clockwise seen from outside."""


def tube(path: NDArray, wide: NDArray | float, high: NDArray | float, up: NDArray, closed: bool = False) -> Mesh:
    """A rounded bar along a path.

    Args:
        path: [n, 3].
        wide: Its extent across the path and across ``up``, metres; one number or one per point.
        high: Its extent along ``up``.
        up: [3] or [n, 3].
        closed: Whether the last point is joined with the first; otherwise the ends are closed.
    """
    count = len(path)
    ahead, behind = (np.roll(path, -1, 0), np.roll(path, 1, 0)) if closed else (path[1:], path[:-1])
    if closed:
        along = ahead - behind
    else:
        along = np.concatenate([ahead[:1] - path[:1], ahead[1:] - behind[:-1], ahead[-1:] - behind[-1:]])
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    up = np.broadcast_to(up, path.shape)
    up = up - (up * along).sum(1, keepdims=True) * along
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    side = np.cross(along, up)
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    corner = [np.sign(f) * np.abs(f) ** 0.7 / 2 for f in (np.cos(angle), np.sin(angle))]
    wide, high = (np.broadcast_to(value, count)[:, None, None] for value in (wide, high))
    rings = path[:, None] + wide * corner[0][:, None] * side[:, None] + high * corner[1][:, None] * up[:, None]
    index = np.arange(count * 10).reshape(count, 10)
    next_ring = np.roll(index, -1, 0) if closed else index[1:]
    a, b = (index if closed else index[:-1]), next_ring
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.stack([np.stack([a, c, d], -1), np.stack([a, b, c], -1)], 2).reshape(-1, 3)
    vertices = rings.reshape(-1, 3)
    if not closed:
        first, last = len(vertices), len(vertices) + 1
        vertices = np.concatenate([vertices, path[:1], path[-1:]])
        ring = index[0], np.roll(index[0], -1)
        end = index[-1], np.roll(index[-1], -1)
        caps = [np.stack([np.full(10, first), ring[0], ring[1]], 1), np.stack([np.full(10, last), end[1], end[0]], 1)]
        faces = np.concatenate([faces, *caps])
    return vertices, faces.astype(np.int32)


def disc(outline: NDArray, centre: NDArray, bent: NDArray | None = None) -> Mesh:
    """A surface inside an outline [n, 3], counter-clockwise seen from its front, in three rings about the centre [3].

    Args:
        outline: The rim.
        centre: Its middle.
        bent: [3] by which the middle stands out; the rings between follow a parabola.
    """
    count, shares = len(outline), np.array([1.0, 0.72, 0.38])
    bent = np.zeros(3) if bent is None else bent
    rings = centre + shares[:, None, None] * (outline - centre) + (1 - shares**2)[:, None, None] * bent
    index = np.arange(3 * count).reshape(3, count)
    after = np.roll(index, -1, 1)
    a, b, c, d = index[:-1], after[:-1], after[1:], index[1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    cap = np.stack([np.full(count, 3 * count), index[2], after[2]], 1)
    vertices = np.asarray(np.concatenate([rings.reshape(-1, 3), (centre + bent)[None]]), np.float64)
    return vertices, np.concatenate([faces, cap]).astype(np.int32)


def joined(meshes: list[Mesh]) -> Mesh:
    """All meshes as one."""
    first = np.cumsum([0, *[len(vertices) for vertices, _ in meshes[:-1]]])
    faces = [faces + offset for (_, faces), offset in zip(meshes, first, strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces).astype(np.int32)
