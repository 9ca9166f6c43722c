# SPDX-License-Identifier: Apache-2.0
"""What the last 24 numbers of a default model's code z mean.

``z[:40]`` are the standardised identity coefficients of the face model, ``z[40:]`` the appearance normals below.
All are independent standard normals, and a person's picture is a smooth, deterministic function of them: nothing else
is drawn per person. How they become paint and hair: ``training/synthetic/looks.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IDENTITY_SIZE = 40

# Name -> what a low and what a high value look like. The order is that of the code.
APPEARANCE: dict[str, tuple[str, str]] = {
    "skin_tone": ("light", "dark"),
    "skin_warmth": ("pink", "olive"),
    "skin_redness": ("even", "red cheeks, nose and ears"),
    "freckles": ("none", "many"),
    "lip_colour": ("like the skin", "red"),
    "eye_shade": ("bright lids", "dark lids and strong lashes"),
    "brow_thickness": ("thin", "thick"),
    "brow_arch": ("straight and low", "arched and high"),
    "brow_strength": ("faint", "dark"),
    "iris_colour": ("brown, hazel", "green, blue"),
    "iris_lightness": ("deep", "light"),
    "hair_lightness": ("black", "blond"),
    "hair_redness": ("ash", "red"),
    "hair_grey": ("full colour", "grey"),
    "hair_length": ("cropped", "to the shoulders"),
    "hair_volume": ("flat", "big"),
    "hairline": ("low", "high"),
    "parting": ("on the right side", "on the left side"),
    "hair_wave": ("straight", "curly"),
    "fringe": ("swept back", "over the forehead"),
    "beard": ("shaven", "bearded"),
    "beard_length": ("stubble", "long"),
    "clothes_hue": ("blue", "red, through green"),
    "clothes_lightness": ("dark", "light"),
}

APPEARANCE_SIZE = len(APPEARANCE)
CODE_SIZE = IDENTITY_SIZE + APPEARANCE_SIZE


def split_code(code: NDArray) -> tuple[NDArray, dict[str, float]]:
    """Identity coefficients [40] and the named appearance normals of a code [64]."""
    code = np.asarray(code, np.float64).reshape(-1)
    if len(code) != CODE_SIZE:
        raise ValueError(f"a code has {CODE_SIZE} numbers, not {len(code)}")
    return code[:IDENTITY_SIZE], dict(zip(APPEARANCE, code[IDENTITY_SIZE:].tolist(), strict=True))
