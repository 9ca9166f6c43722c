# SPDX-License-Identifier: Apache-2.0
"""From a code to what is painted and combed: colours, lengths, amounts. Smooth in every number of the code.

Faces and looks are not independent: ancestry that the identity coefficients show leans tone and hair colour, masculine
faces lean to short hair and may be bearded, old ones turn grey. The leaning is a linear estimate of the face model
(``FaceModel.attributes``), so that the network sees nothing that is not in the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import expit, ndtr

from neural_core.human.appearance import split_code
from neural_core.human.model import FaceModel

# Anchors along 0..1, in 8-bit sRGB: measured by eye, made up, nobody's data.
_SKIN = [(240, 202, 180), (230, 186, 158), (214, 162, 128), (190, 134, 98), (140, 94, 66), (104, 68, 50), (78, 52, 41)]
_HAIR = [(22, 17, 15), (44, 29, 21), (84, 54, 34), (132, 94, 56), (184, 146, 92), (222, 190, 138)]
_IRIS = [(52, 28, 14), (84, 48, 22), (116, 84, 38), (92, 110, 62), (84, 116, 124), (88, 116, 146)]
_LENGTHS = [0.004, 0.012, 0.035, 0.075, 0.15, 0.27]  # metres


MOLES = 18
# Directions in the space of identities: no number of the code could be spared for whether somebody has a certain mole.
_CHANCE = np.random.default_rng(40).standard_normal((MOLES + 3, 40)) / np.sqrt(40)


@dataclass(frozen=True)
class Look:
    """Colours are linear RGB; lengths metres; amounts 0..1 unless said."""

    masculinity: float
    wrinkles: float
    skin: NDArray
    redness: float
    freckles: float
    moles: NDArray  # one amount for each of ``MOLES`` places
    blotches: NDArray  # weights of three random patterns; their squares sum to 1
    lips: NDArray
    lip_strength: float
    eye_shade: float
    brow_thickness: float  # around 1
    brow_arch: float  # around 0
    brow_strength: float
    iris: NDArray
    hair: NDArray
    grey: float
    hair_length: float
    hair_volume: float
    hairline: float  # metres above its middle place
    recession: float
    parting: float  # metres, x of the parting
    wave: float
    fringe: float
    beard: float
    beard_length: float
    clothes: NDArray


def srgb_to_linear(colour: NDArray) -> NDArray[np.float64]:
    """Linear 0..1 from sRGB 0..1."""
    colour = np.asarray(colour, np.float64)
    return np.where(colour <= 0.04045, colour / 12.92, ((np.maximum(colour, 0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: NDArray) -> NDArray[np.float64]:
    """Turn linear 0..1 into sRGB 0..1, the inverse of ``srgb_to_linear``."""
    light = np.asarray(light, np.float64)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def _along(anchors: list, place: float) -> NDArray[np.float64]:
    values = np.asarray(anchors, np.float64)
    return PchipInterpolator(np.linspace(0, 1, len(values)), values, axis=0)(np.clip(place, 0, 1))


def _colour(anchors: list, place: float) -> NDArray[np.float64]:
    return srgb_to_linear(_along(anchors, place) / 255)


def _mix(first: NDArray, second: NDArray, amount: float) -> NDArray[np.float64]:
    return first * (1 - amount) + second * amount


def look_of(code: NDArray, model: FaceModel) -> Look:
    """The look of the person with this code [64]."""
    shape, z = split_code(code)
    african, asian, age, gender = (model.attribute(name, shape) for name in ("african", "asian", "age", "gender"))
    masculinity = float(expit(9.0 * (gender - 0.5)))
    tone = float(ndtr(0.85 * z["skin_tone"] + 2.0 * (african - 1 / 3) - 0.35))
    skin = _colour(_SKIN, tone)
    warmth = np.tanh(0.6 * z["skin_warmth"])
    skin = skin * np.array([1 - 0.02 * warmth, 1 + 0.05 * warmth, 1 - 0.08 * warmth])
    pale = 1 - tone
    lips = _mix(skin * np.array([0.78, 0.42, 0.42]), srgb_to_linear(np.array([0.66, 0.18, 0.22])), 0.35 * pale)

    lightness = float(ndtr(0.95 * z["hair_lightness"] - 1.1 * (african + asian - 0.5) - 0.9 * (tone - 0.4) - 0.35))
    hair = _colour(_HAIR, lightness)
    red = float(expit(2.2 * (z["hair_redness"] - 1.3)))
    hair = _mix(hair, hair * np.array([1.2, 0.66, 0.42]) + np.array([0.035, 0.006, 0.001]), red)
    grey = float(expit(2.6 * (z["hair_grey"] - 1.6 + 9.0 * (age - 0.76))))
    hair = _mix(hair, srgb_to_linear(np.array([0.72, 0.71, 0.70])), 0.9 * grey)

    blue_eyed = float(ndtr(0.95 * z["iris_colour"] - 1.8 * (tone - 0.25) - 0.9 * (african + asian - 0.5)))
    iris = _colour(_IRIS, blue_eyed) * (1.15 + 0.35 * np.tanh(0.7 * z["iris_lightness"]))
    length = float(ndtr(0.85 * z["hair_length"] - 1.15 * (2 * masculinity - 1)))
    hue = 2 * np.pi * (0.62 - 0.62 * ndtr(z["clothes_hue"]))
    wheel = 0.5 + 0.5 * np.cos(hue - 2 * np.pi * np.array([0.0, 1 / 3, 2 / 3]))
    value = 0.03 + 0.45 * ndtr(z["clothes_lightness"]) ** 1.5
    chance = _CHANCE @ shape
    blotches = np.exp(0.5 * chance[MOLES:])
    return Look(
        masculinity=masculinity,
        wrinkles=float(expit(17.0 * (age - 0.83))),
        skin=skin,
        redness=float(ndtr(0.8 * z["skin_redness"] - 0.2)) * (0.45 + 0.75 * pale),
        freckles=float(expit(2.0 * (z["freckles"] - 1.0))) * pale,
        moles=expit(5.0 * (chance[:MOLES] - 1.25)) * (0.4 + 0.6 * pale),
        blotches=blotches / np.linalg.norm(blotches),
        lips=lips,
        lip_strength=float(0.5 + 0.48 * ndtr(z["lip_colour"] - 0.9 * (masculinity - 0.3))),
        eye_shade=float(ndtr(0.9 * z["eye_shade"] - 1.2 * masculinity)),
        brow_thickness=float(np.exp(0.22 * z["brow_thickness"] + 0.25 * (masculinity - 0.5))),
        brow_arch=float(np.tanh(0.6 * z["brow_arch"] - 0.5 * (masculinity - 0.5))),
        brow_strength=float(0.62 + 0.36 * ndtr(z["brow_strength"])),
        iris=iris,
        hair=hair,
        grey=grey,
        hair_length=float(np.exp(_along(np.log(_LENGTHS).tolist(), length))),
        hair_volume=float(ndtr(z["hair_volume"])),
        hairline=float(0.006 * np.tanh(0.7 * z["hairline"]) + 0.003 * (masculinity - 0.5)),
        recession=float(masculinity * ndtr(0.8 * z["hairline"] - 0.6 + 6.0 * (age - 0.78))),
        parting=float(0.028 * np.tanh(0.9 * z["parting"])),
        wave=float(ndtr(0.8 * z["hair_wave"] + 2.4 * (african - 0.45))),
        fringe=float(ndtr(1.3 * z["fringe"] - 0.2)),
        beard=masculinity**2 * float(expit(2.4 * (z["beard"] - 0.15))),
        beard_length=float(0.002 + 0.022 * ndtr(0.9 * z["beard_length"] - 0.6) ** 1.5),
        clothes=srgb_to_linear(np.sqrt(value) * (0.45 + 0.55 * wheel)),
    )
