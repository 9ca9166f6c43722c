# SPDX-License-Identifier: Apache-2.0
"""The colours that a person consists of: skin, lips, hair, irises, clothes, and the white of the eyes.

They follow from the person's traits, so that a network only has to learn where each of them is, and light and shade.
``training/synthetic/looks.py`` paints with the same anchors; there colours between them are rounder.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

# Along 0..1, in 8-bit sRGB: measured by eye, made up, nobody's data.
SKIN = [(240, 202, 180), (230, 186, 158), (214, 162, 128), (190, 134, 98), (140, 94, 66), (104, 68, 50), (78, 52, 41)]
"""From the palest tone to the darkest."""
HAIR = [(22, 17, 15), (44, 29, 21), (84, 54, 34), (132, 94, 56), (184, 146, 92), (222, 190, 138)]
"""From black to blond."""
IRIS = [(52, 28, 14), (84, 48, 22), (116, 84, 38), (92, 110, 62), (84, 116, 124), (88, 116, 146)]
"""From dark brown over green to blue."""
RED_HAIR = ((1.2, 0.66, 0.42), (0.035, 0.006, 0.001))
"""What red does to linear hair colour: factor, and what is added."""
GREY_HAIR = (0.72, 0.71, 0.70)
"""SRGB."""
MATERIALS = ("skin", "lips", "hair", "iris", "clothes", "white")
"""What `palette` gives the colours of, in this order."""

_WHITE = (0.90, 0.88, 0.86)
_GAMMA = 2.2


def palette(traits: Mapping[str, Float[Tensor, " b"]]) -> Float[Tensor, "b m 3"]:
    """Return the colours of `MATERIALS` of some people, sRGB 0..1.

    Args:
        traits: as `Traits` gives them.
    """
    skin = _along(SKIN, traits["skin_tone"])
    lips = skin * skin.new_tensor((0.9, 0.68, 0.68))
    hair = _along(HAIR, traits["hair_lightness"]) ** _GAMMA
    factor, added = (hair.new_tensor(numbers) for numbers in RED_HAIR)
    hair = hair.lerp(hair * factor + added, traits["hair_redness"][:, None])
    hair = hair.lerp(hair.new_tensor(GREY_HAIR) ** _GAMMA, 0.9 * traits["grey"][:, None])
    wheel = torch.stack([traits[f"clothes_{name}"] for name in ("red", "green", "blue")], dim=1)
    clothes = clothes_brightness(traits["clothes_lightness"]).sqrt()[:, None] * (0.45 + 0.55 * wheel)
    white = skin.new_tensor(_WHITE).expand_as(skin)
    iris = _along(IRIS, traits["blue_eyed"])
    return torch.stack([skin, lips, hair ** (1 / _GAMMA), iris, clothes, white], dim=1).clamp(0, 1)


def clothes_brightness(lightness: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return how much light clothes throw back, 0..1, of the trait that orders them."""
    return 0.03 + 0.45 * lightness**1.5


def _along(anchors: list[tuple[int, int, int]], place: Float[Tensor, " b"]) -> Float[Tensor, "b 3"]:
    """Return colours on the line through anchors, evenly spread over 0..1."""
    colours = torch.tensor(anchors, dtype=place.dtype, device=place.device) / 255
    where = place.clamp(0, 1) * (len(anchors) - 1)
    low = where.floor().clamp(max=len(anchors) - 2).long()
    return colours[low].lerp(colours[low + 1], (where - low)[:, None])
