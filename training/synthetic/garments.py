# SPDX-License-Identifier: Apache-2.0
"""Clothes: T-shirts, a shirt, a turtleneck, a tank top, a hoodie and a jacket, with collars of their own.

Every garment is a few panels drawn on the mean person (``cloth.py``): where they are, how far they stand off the skin,
what they are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neural_core.human.bust import Torso
from neural_core.records import CLOTH
from training.synthetic.cloth import Field, Piece, Worn, cut, down_from_neck, drape, on_arm, wear
from training.synthetic.fabrics import fabric, folds
from training.synthetic.figure import Material, Part, RestPart
from training.synthetic.looks import Look
from training.synthetic.shapes import disc, tube

_BODY = 0.0045  # metres between skin and a T-shirt
_SLEEVE = -0.435  # height of the hem of a short sleeve


@dataclass(frozen=True)
class _Panel:
    """One piece of a garment."""

    name: str
    outline: Field
    """Positive where the cloth is."""
    offset: Field
    """Metres off the skin."""
    fabric: str = "jersey"
    thickness: float = 0.002
    shade: float = 1.0
    """Brightness over the garment's colour."""
    folds: float = 1.0
    """How much it is creased."""
    of_look: bool = True
    """Whether it has the look's colour, or is white."""


def garments(torso: Torso, look: Look, kind: str) -> list[RestPart]:
    """What a person wears.

    Args:
        torso: Who wears it.
        look: Colour of the cloth.
        kind: One of ``GARMENTS``.
    """
    found, body = [], drape(torso)
    for panel in _PATTERNS[kind]:
        piece = _piece(panel)
        offset = panel.offset(piece.places) + panel.folds * folds(piece.places)
        worn = wear(piece, body, offset, panel.thickness)
        colour = look.clothes * panel.shade if panel.of_look else np.array([0.62, 0.61, 0.59])
        cloth = fabric(panel.fabric, colour)
        found.append(_part(panel.name, worn, cloth))
        if panel.name == "placket":
            found.append(_buttons(piece, worn, colour))
        if panel.name == "hood":
            found.append(_strings(piece, worn, found[0].part.vertices))
    return found


def _part(name: str, worn: Worn, cloth: Material) -> RestPart:
    return RestPart(Part(name, worn.vertices, worn.faces, CLOTH, cloth, worn.uv), worn.weights)


@cache
def _piece(panel: _Panel) -> Piece:
    return cut(panel.outline)


def _buttons(piece: Piece, placket: Worn, colour: NDArray) -> RestPart:
    """Four buttons down the front."""
    vertices, faces, weights = [], [], []
    for height in (-0.262, -0.340, -0.418, -0.496):
        vertex = int(np.linalg.norm((piece.places - [0, height, 0.08]) * [1, 1, 0.1], axis=1).argmin())
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        ring = 0.0052 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
        button, own = disc(placket.vertices[vertex] + [0, 0, 0.0012] + ring, placket.vertices[vertex] + [0, 0, 0.002])
        faces.append(own + sum(len(v) for v in vertices))
        vertices.append(button)
        weights.append(np.repeat(placket.weights[vertex][None], len(button), 0))
    cloth = fabric("button", np.clip(colour * 0.6 + 0.25, 0, 1))
    part = Part("buttons", np.concatenate(vertices), np.concatenate(faces).astype(np.int32), CLOTH, cloth)
    return RestPart(part, np.concatenate(weights))


def _strings(piece: Piece, hood: Worn, chest: NDArray) -> RestPart:
    """The two cords of a hood, hanging before the cloth of the chest [n, 3]."""
    vertices, faces, weights = [], [], []
    front = chest[chest[:, 2] > 0]
    for side in (1, -1):
        vertex = int(np.linalg.norm(piece.places - [side * 0.030, -0.236, 0.02], axis=1).argmin())
        t = np.linspace(0, 1, 14)[:, None]
        path = hood.vertices[vertex] + t * [side * 0.004, -0.15, 0.0] + t * (1 - t) * [side * 0.012, 0, 0]
        near = KDTree(front[:, :2]).query(path[1:, :2], 3)[1]
        path[1:, 2] = np.maximum.accumulate(front[near, 2].max(1)) + 0.0035
        path[0, 2] += 0.002
        string, own = tube(path, 0.0042, 0.0042, np.array([0.0, 0.0, 1.0]))
        faces.append(own + sum(len(v) for v in vertices))
        vertices.append(string)
        weights.append(np.repeat(hood.weights[vertex][None], len(string), 0))
    cloth = fabric("button", np.array([0.55, 0.54, 0.52]))
    part = Part("strings", np.concatenate(vertices), np.concatenate(faces).astype(np.int32), CLOTH, cloth)
    return RestPart(part, np.concatenate(weights))


# -- lines on the mean person ------------------------------------------------------------------------------------------


def _oval(wide: float, back: float, front: float) -> Field:
    """Round the neck, seen from above: 0 on an oval, in metres or so, positive outside."""
    middle, half = (back + front) / 2, (front - back) / 2

    def field(p: NDArray) -> NDArray:
        radius = (np.abs(p[:, 0] / wide) ** 2.3 + np.abs((p[:, 2] - middle) / half) ** 2.3) ** (1 / 2.3)
        return (radius - 1) * np.minimum(wide, half)

    return field


def _vee(depth: float, wide: float) -> Field:
    """A wedge in front whose point is at the height ``depth``: positive outside."""

    def field(p: NDArray) -> NDArray:
        beside = np.abs(p[:, 0]) - wide * np.clip((p[:, 1] - depth) / (-0.15 - depth), -1, 2)
        return np.where(p[:, 2] > -0.045, beside, 0.1)

    return field


def _all(*fields: Field) -> Field:
    return lambda p: np.minimum.reduce([field(p) for field in fields])


def _any(*fields: Field) -> Field:
    return lambda p: np.maximum.reduce([field(p) for field in fields])


def _short_sleeves(p: NDArray) -> NDArray:
    return np.where(on_arm(p), p[:, 1] - _SLEEVE, 0.1)


def _long_sleeves(p: NDArray) -> NDArray:
    """As far as the torso's arms go."""
    return np.where(on_arm(p), p[:, 1] + 0.575, 0.1)


def _armholes(p: NDArray) -> NDArray:
    """Without arms: inside a plane through armpit and shoulder."""
    edge = 0.118 + 0.028 * np.clip((-0.20 - p[:, 1]) / 0.13, 0, 1) ** 1.5
    edge = edge + 0.020 * np.clip((-0.335 - p[:, 1]) / 0.02, 0, 1)
    return edge - np.abs(p[:, 0])


def _level(value: float) -> Field:
    return lambda p: np.full(len(p), value)


def _loose(p: NDArray) -> NDArray:
    """Cloth hangs from the chest and the shoulders: further off below, at the hem of the sleeves too."""
    below = np.clip((-0.36 - p[:, 1]) / 0.16, 0, 1)
    return _BODY + np.where(on_arm(p), 0.006, 0.009) * below


def _front(p: NDArray) -> NDArray:
    """1 in front of the neck, 0 at the back."""
    return 0.5 + 0.5 * np.cos(np.arctan2(p[:, 0], p[:, 2] + 0.045))


def _collar(top: float, back: float, front: float) -> Callable[[NDArray], NDArray]:
    """0 .. 1 down a collar that begins ``top`` metres under the cut of the neck and is so long; else beyond."""

    def along(p: NDArray) -> NDArray:
        return (down_from_neck(p) - top) / (back + (front - back) * _front(p) ** 3)

    return along


def _between(along: Callable[[NDArray], NDArray], first: float = 0.0, last: float = 1.0) -> Field:
    return lambda p: np.minimum(along(p) - first, last - along(p)) * 0.05


_CREW, _CREW_IN = _oval(0.076, -0.110, 0.020), _oval(0.067, -0.101, 0.0125)
_V, _V_IN = _vee(-0.318, 0.088), _vee(-0.298, 0.076)
_SCOOP, _SCOOP_IN = _oval(0.100, -0.128, 0.052), _oval(0.095, -0.124, 0.048)
_LEAF = _collar(0.014, 0.042, 0.100)
_FOLD = _collar(0.004, 0.046, 0.050)
_HOOD = _collar(0.022, 0.125, 0.060)
_STAND = _collar(0.012, 0.050, 0.055)


def _opening(bottom: float, slope: float) -> Field:
    """Positive beside an opening in front that widens upwards from a height."""
    return lambda p: np.where(p[:, 2] > -0.045, np.abs(p[:, 0]) - slope * np.clip(p[:, 1] - bottom, -0.02, 1), 0.1)


def _open_front(p: NDArray) -> NDArray:
    """Beside the opening of a jacket."""
    wide = 0.036 + 0.05 * np.clip(-0.30 - p[:, 1], 0, 1)
    return np.where(p[:, 2] > -0.04, np.abs(p[:, 0]) - wide, 0.1)


def _hood_front(p: NDArray) -> NDArray:
    """Beside the slit below the throat where the two sides of a hood part."""
    beside = np.abs(p[:, 0]) - (0.003 + 0.22 * np.clip(-0.185 - p[:, 1], 0, 1))
    return np.where(p[:, 2] > -0.045, beside, 0.1)


def _leaf_front(p: NDArray) -> NDArray:
    """Beside the front edges of a shirt's collar, which part downwards."""
    beside = np.abs(p[:, 0]) - (0.008 + 0.50 * np.clip(-0.190 - p[:, 1], 0, 1))
    return np.where(p[:, 2] > -0.045, beside, 0.1)


def _leaf_offset(p: NDArray) -> NDArray:
    t = np.clip(_LEAF(p), 0, 1)
    return 0.0065 + 0.0055 * np.sin(np.pi * np.clip(t * 1.15, 0, 1)) ** 0.8 * (1 - 0.5 * t) + 0.002 * t


def _hood_offset(p: NDArray) -> NDArray:
    t = np.clip(_HOOD(p), 0, 1)
    high = 0.012 + 0.034 * (1 - _front(p)) ** 1.2
    return 0.008 + high * np.sin(np.pi * t**0.8) ** 0.8


def _body(neck: Field, offset: Field = _loose, **changes) -> _Panel:
    return _Panel("cloth", _all(neck, _short_sleeves), offset, **changes)


def _crew(fabric_name: str = "jersey", of_look: bool = True) -> tuple[_Panel, ...]:
    rib = _all(_CREW_IN, lambda p: 0.0012 - _CREW(p))
    return (
        _body(_CREW, fabric=fabric_name, of_look=of_look),
        _Panel("collar", rib, _level(_BODY + 0.0012), "rib", 0.003, 0.93, folds=0.0, of_look=of_look),
    )


_PATTERNS: dict[str, tuple[_Panel, ...]] = {
    "crew": _crew(),
    "striped": _crew("stripes"),
    "v_neck": (
        _body(_all(_CREW, _V)),
        _Panel(
            "collar",
            _all(_CREW_IN, _V_IN, lambda p: 0.0012 - np.minimum(_CREW(p), _V(p))),
            _level(_BODY + 0.0012),
            "rib",
            0.003,
            0.93,
            folds=0.0,
        ),
    ),
    "tank": (
        _Panel("cloth", _all(_SCOOP, _armholes), _loose),
        _Panel(
            "collar",
            _all(_SCOOP_IN, lambda p: 0.001 - _SCOOP(p), lambda p: 0.122 - np.abs(p[:, 0])),
            _level(_BODY + 0.0008),
            "rib",
            0.0025,
            0.95,
            folds=0.0,
        ),
    ),
    "turtleneck": (
        _Panel(
            "cloth",
            _all(lambda p: down_from_neck(p) - 0.03, _long_sleeves),
            lambda p: 0.8 * _loose(p) + 0.001,
            "knit",
            0.003,
        ),
        _Panel(
            "collar",
            _between(_FOLD),
            lambda p: 0.0075 + 0.0035 * np.sin(np.pi * np.clip(_FOLD(p), 0, 1)) ** 0.5,
            "rib",
            0.004,
            0.97,
            folds=0.5,
        ),
    ),
    "shirt": (
        _Panel(
            "cloth", _all(lambda p: down_from_neck(p) - 0.016, _opening(-0.235, 0.42), _long_sleeves), _loose, "poplin"
        ),
        _Panel("leaves", _all(_between(_LEAF), _leaf_front), _leaf_offset, "poplin", 0.0028, 1.04, 0.15),
        _Panel(
            "placket",
            _all(lambda p: 0.0155 - np.abs(p[:, 0]), lambda p: -0.237 - p[:, 1], lambda p: p[:, 2]),
            lambda p: _loose(p) + 0.0014,
            "poplin",
            0.0015,
            1.02,
        ),
    ),
    "hoodie": (
        _Panel(
            "cloth",
            _all(_oval(0.078, -0.112, 0.022), _long_sleeves),
            lambda p: _loose(p) + 0.005,
            "fleece",
            0.004,
            folds=1.5,
        ),
        _Panel("hood", _all(_between(_HOOD), _hood_front), _hood_offset, "fleece", 0.006, 0.96, folds=0.8),
    ),
    "jacket": (
        *_crew(of_look=False),
        _Panel(
            "jacket",
            _all(lambda p: down_from_neck(p) - 0.045, _open_front, _long_sleeves),
            lambda p: _loose(p) + 0.0055,
            "canvas",
            0.004,
            folds=1.5,
        ),
        _Panel(
            "stand",
            _all(_between(_STAND), _open_front),
            lambda p: 0.012 + 0.006 * np.sin(np.pi * np.clip(_STAND(p), 0, 1)),
            "canvas",
            0.005,
            0.9,
            folds=0.3,
        ),
        _Panel(
            "zip",
            _all(lambda p: down_from_neck(p) - 0.014, _open_front, lambda p: 0.006 - _open_front(p)),
            lambda p: _loose(p) + 0.0075 + 0.006 * (down_from_neck(p) < 0.065),
            "button",
            0.004,
            0.35,
            folds=1.5,
        ),
    ),
}
_PATTERNS["checked"] = tuple(
    _Panel(**{**panel.__dict__, "fabric": "checks"}) if panel.fabric == "poplin" else panel
    for panel in _PATTERNS["shirt"]
)
GARMENTS = tuple(_PATTERNS)
