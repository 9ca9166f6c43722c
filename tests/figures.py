# SPDX-License-Identifier: Apache-2.0
"""Figures of balls, boards and tufts, whose pictures can be computed by hand."""

from typing import cast

import numpy as np

from neural_core.records import HAIR, SKIN
from training.synthetic.figure import Fibres, Figure, Kind, Material, Part

BALL = 0.08
"""Radius in metres."""


def ball(centre=(0.0, 0.0, 0.0), radius=BALL, kind="skin", colour=(0.5, 0.5, 0.5), roughness=1.0, rows=48):
    """A sphere of triangles around the y axis."""
    polar = np.linspace(0, np.pi, rows + 1)[:, None]
    around = np.linspace(0, 2 * np.pi, 2 * rows, endpoint=False)[None]
    places = np.stack([np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around, np.sin(polar) * np.cos(around)], -1)
    index = np.arange(places[..., 0].size).reshape(rows + 1, 2 * rows)
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    vertices = np.asarray(centre) + radius * places.reshape(-1, 3)
    material = Material(cast(Kind, kind), np.array(colour), roughness=roughness)
    return Part("ball", vertices, faces.astype(np.int32), SKIN, material)


def board(left, right, bottom, top, z, region=SKIN, kind="skin", colour=(0.5, 0.5, 0.5), roughness=1.0):
    """A rectangle that faces +Z; its first triangle is the lower right one."""
    vertices = np.array([[left, bottom, z], [right, bottom, z], [right, top, z], [left, top, z]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Part("board", vertices, faces, region, Material(cast(Kind, kind), np.array(colour), roughness=roughness))


def tuft(left, right, bottom, top, z, region=HAIR, colour=(0.2, 0.1, 0.05), count=200, length=8, radius=4e-4):
    """Vertical strands side by side, hanging down, that cover a rectangle."""
    x = np.linspace(left, right, count)
    y = np.linspace(top, bottom, length)
    points = np.stack(np.broadcast_arrays(x[:, None], y[None], np.array(z)), -1)
    return Fibres("tuft", points, np.full((count, length), radius), np.array(colour), np.array(colour), region)


def figure_of(*things):
    """A figure of parts and fibres."""
    parts = tuple(thing for thing in things if isinstance(thing, Part))
    fibres = tuple(thing for thing in things if isinstance(thing, Fibres))
    return Figure(parts, fibres, np.zeros((0, 3)), np.zeros((2, 2)))
