# SPDX-License-Identifier: Apache-2.0
"""From a code to what is painted and combed: colours, lengths, amounts. Smooth in every number of the code.

Which skin, hair and clothes a code means says ``neural_core/human/traits.py``, number by number; here numbers become
colours and metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import expit

from neural_core.human.appearance import split_code
from neural_core.human.model import FaceModel
from neural_core.human.palette import GREY_HAIR, HAIR, IRIS, RED_HAIR, SKIN
from neural_core.human.traits import Traits

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
    shape, _ = split_code(code)
    code = np.asarray(code, np.float64).reshape(1, -1)
    traits = {name: float(value) for name, value in Traits(model)(torch.from_numpy(code)).items()}
    tone, masculinity, grey = traits["skin_tone"], traits["masculinity"], traits["grey"]
    warmth, pale = traits["skin_warmth"], 1 - tone
    skin = _colour(SKIN, tone)
    skin = skin * np.array([1 - 0.02 * warmth, 1 + 0.05 * warmth, 1 - 0.08 * warmth])
    lips = _mix(skin * np.array([0.78, 0.42, 0.42]), srgb_to_linear(np.array([0.66, 0.18, 0.22])), 0.35 * pale)

    hair = _colour(HAIR, traits["hair_lightness"])
    hair = _mix(hair, hair * np.array(RED_HAIR[0]) + np.array(RED_HAIR[1]), traits["hair_redness"])
    hair = _mix(hair, srgb_to_linear(np.array(GREY_HAIR)), 0.9 * grey)

    wheel = np.array([traits["clothes_red"], traits["clothes_green"], traits["clothes_blue"]])
    value = 0.03 + 0.45 * traits["clothes_lightness"] ** 1.5
    chance = _CHANCE @ shape
    blotches = np.exp(0.5 * chance[MOLES:])
    return Look(
        masculinity=masculinity,
        wrinkles=traits["wrinkles"],
        skin=skin,
        redness=traits["redness"],
        freckles=traits["freckles"],
        moles=expit(5.0 * (chance[:MOLES] - 1.25)) * (0.4 + 0.6 * pale),
        blotches=blotches / np.linalg.norm(blotches),
        lips=lips,
        lip_strength=0.5 + 0.48 * traits["lip_strength"],
        eye_shade=traits["eye_shade"],
        brow_thickness=float(np.exp(traits["brow_thickness"])),
        brow_arch=traits["brow_arch"],
        brow_strength=0.62 + 0.36 * traits["brow_strength"],
        iris=_colour(IRIS, traits["blue_eyed"]) * (1.15 + 0.35 * traits["iris_lightness"]),
        hair=hair,
        grey=grey,
        hair_length=float(np.exp(_along(np.log(_LENGTHS).tolist(), traits["hair_length"]))),
        hair_volume=traits["hair_volume"],
        hairline=0.006 * traits["hairline"] + 0.003 * (masculinity - 0.5),
        recession=traits["recession"],
        parting=0.028 * traits["parting"],
        wave=traits["wave"],
        fringe=traits["fringe"],
        beard=traits["beard"],
        beard_length=0.002 + 0.022 * traits["beard_length"] ** 1.5,
        clothes=srgb_to_linear(np.sqrt(value) * (0.45 + 0.55 * wheel)),
    )
