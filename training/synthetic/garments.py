# SPDX-License-Identifier: Apache-2.0
"""Clothes: T-shirts, shirts, a turtleneck, a tank top, a hoodie and a jacket, with collars of their own."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from neural_core.human.bust import Torso
from neural_core.records import CLOTH
from training.synthetic.cloth import Piece, cut, wear
from training.synthetic.figure import Material, Part, RestPart
from training.synthetic.looks import Look

GARMENTS = ("crew",)


def garments(torso: Torso, look: Look, kind: str) -> list[RestPart]:
    """What a person wears.

    Args:
        torso: Who wears it.
        look: Colour of the cloth.
        kind: One of ``GARMENTS``.
    """
    worn = wear(_piece(), torso, np.full(len(_piece().places), 0.004), 0.002)
    part = Part("cloth", worn.vertices, worn.faces, CLOTH, Material("cloth", look.clothes, roughness=0.9))
    return [RestPart(part, worn.weights)]


def _round_neck(points: NDArray) -> NDArray[np.float64]:
    return np.hypot(points[:, 0] / 0.074, (points[:, 2] + 0.046) / 0.063) - 1


@cache
def _piece() -> Piece:
    return cut(_round_neck)
