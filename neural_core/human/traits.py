# SPDX-License-Identifier: Apache-2.0
"""What a code says about a person's looks, number by number: how dark the skin, how long the hair.

Faces and looks are not independent: ancestry that the identity coefficients show leans tone and hair colour, masculine
faces lean to short hair and may be bearded, old ones turn grey. The leaning is a linear estimate of the face model
(``FaceModel.attributes``). Colours, lengths and strands follow from these numbers in ``training/synthetic/looks.py``;
our own networks are told them beside the code, so that they need not find them out from a few hundred people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.special import ndtr

from .appearance import APPEARANCE, IDENTITY_SIZE
from .model import FaceModel

_ATTRIBUTES = ("african", "asian", "age", "gender")

SIGNED = ("skin_warmth", "brow_thickness", "brow_arch", "iris_lightness", "hairline", "parting")
"""Traits of about -1..1; the others are amounts of 0..1."""

TRAITS = (
    *("masculinity", "wrinkles", "skin_tone", "skin_warmth", "redness", "freckles", "lip_strength", "eye_shade"),
    *("brow_thickness", "brow_arch", "brow_strength", "blue_eyed", "iris_lightness"),
    *("hair_lightness", "hair_redness", "grey", "hair_length", "hair_volume", "hairline", "recession", "parting"),
    *("wave", "fringe", "beard", "beard_length", "clothes_red", "clothes_green", "clothes_blue", "clothes_lightness"),
)
"""Their names, in the order of `spread`."""

LENGTHS, WAVES = 4, 3
"""Lengths and waves of hair between which `hair_styles` interpolates."""


class Traits(nn.Module):
    """From codes to traits, differentiable. The face model's estimates are taken along; nothing is learned."""

    attributes: Tensor

    def __init__(self, face: FaceModel) -> None:
        """Take what the face model's coefficients say about ancestry, age and gender."""
        super().__init__()
        rows = [torch.from_numpy(face.attributes[name]) for name in _ATTRIBUTES]
        self.register_buffer("attributes", torch.stack(rows), persistent=False)

    def forward(self, code: Float[Tensor, "b 64"]) -> dict[str, Float[Tensor, " b"]]:
        """Return every trait of some people, by name."""
        shape, looks = code[:, :IDENTITY_SIZE], code[:, IDENTITY_SIZE:]
        weights = self.attributes.to(code)
        african, asian, age, gender = (shape @ weights[:, :IDENTITY_SIZE].T + weights[:, -1]).unbind(1)
        z = dict(zip(APPEARANCE, looks.unbind(1), strict=True))
        masculinity = torch.sigmoid(9.0 * (gender - 0.5))
        tone = ndtr(0.85 * z["skin_tone"] + 2.0 * (african - 1 / 3) - 0.35)
        pale = 1 - tone
        hue = 2 * math.pi * (0.62 - 0.62 * ndtr(z["clothes_hue"]))
        red, green, blue = (0.5 + 0.5 * torch.cos(hue - 2 * math.pi * third / 3) for third in range(3))
        return {
            "masculinity": masculinity,
            "wrinkles": torch.sigmoid(17.0 * (age - 0.83)),
            "skin_tone": tone,
            "skin_warmth": torch.tanh(0.6 * z["skin_warmth"]),
            "redness": ndtr(0.8 * z["skin_redness"] - 0.2) * (0.45 + 0.75 * pale),
            "freckles": torch.sigmoid(2.0 * (z["freckles"] - 1.0)) * pale,
            "lip_strength": ndtr(z["lip_colour"] - 0.9 * (masculinity - 0.3)),
            "eye_shade": ndtr(0.9 * z["eye_shade"] - 1.2 * masculinity),
            "brow_thickness": 0.22 * z["brow_thickness"] + 0.25 * (masculinity - 0.5),
            "brow_arch": torch.tanh(0.6 * z["brow_arch"] - 0.5 * (masculinity - 0.5)),
            "brow_strength": ndtr(z["brow_strength"]),
            "blue_eyed": ndtr(0.95 * z["iris_colour"] - 1.8 * (tone - 0.25) - 0.9 * (african + asian - 0.5)),
            "iris_lightness": torch.tanh(0.7 * z["iris_lightness"]),
            "hair_lightness": ndtr(
                0.95 * z["hair_lightness"] - 1.1 * (african + asian - 0.5) - 0.9 * (tone - 0.4) - 0.35
            ),
            "hair_redness": torch.sigmoid(2.2 * (z["hair_redness"] - 1.3)),
            "grey": torch.sigmoid(2.6 * (z["hair_grey"] - 1.6 + 9.0 * (age - 0.76))),
            "hair_length": ndtr(0.85 * z["hair_length"] - 1.15 * (2 * masculinity - 1)),
            "hair_volume": ndtr(z["hair_volume"]),
            "hairline": torch.tanh(0.7 * z["hairline"]),
            "recession": masculinity * ndtr(0.8 * z["hairline"] - 0.6 + 6.0 * (age - 0.78)),
            "parting": torch.tanh(0.9 * z["parting"]),
            "wave": ndtr(0.8 * z["hair_wave"] + 2.4 * (african - 0.45)),
            "fringe": ndtr(1.3 * z["fringe"] - 0.2),
            "beard": masculinity**2 * torch.sigmoid(2.4 * (z["beard"] - 0.15)),
            "beard_length": ndtr(0.9 * z["beard_length"] - 0.6),
            "clothes_red": red,
            "clothes_green": green,
            "clothes_blue": blue,
            "clothes_lightness": ndtr(z["clothes_lightness"]),
        }


def spread(traits: Mapping[str, Float[Tensor, " b"]]) -> Float[Tensor, "b t"]:
    """Return the traits in the order of `TRAITS`, all of about -1..1, as networks like their inputs."""
    return torch.stack([traits[name] if name in SIGNED else 2 * traits[name] - 1 for name in TRAITS], dim=1)


def hair_styles(length: Float[Tensor, " b"], wave: Float[Tensor, " b"]) -> Float[Tensor, "b s"]:
    """Return how much hair is of each style, 0..1, in sum 1: every length with every wave, bilinearly between them.

    Where hair is depends on its length in no simple proportion, and differently for straight and curly hair.

    Args:
        length: the trait of that name, 0..1.
        wave: likewise.
    """
    return torch.einsum("bl,bw->blw", _hats(length, LENGTHS), _hats(wave, WAVES)).flatten(1)


def _hats(value: Float[Tensor, " b"], count: int) -> Float[Tensor, "b c"]:
    """Return the weights of linear interpolation between `count` places, evenly spread over 0..1."""
    places = torch.arange(count, device=value.device)
    return (1 - (value[:, None] * (count - 1) - places).abs()).clamp(min=0)
