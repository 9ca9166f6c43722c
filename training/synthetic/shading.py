# SPDX-License-Identifier: Apache-2.0
"""How places on surfaces and strands look in a light: the formulas of our fast renderer.

Surfaces are diffuse, with light that wraps around where skin scatters it, under a glossy lobe (Blinn 1977); strands are
lit as Kajiya and Kay (1989) do it. The constants were set beside Cycles' pictures of the same people.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training.synthetic.shadows import Lights, ParallelLights

_Array = NDArray[np.float32]

_BIAS = 0.003  # metres that a surface is lifted against its own shadow
_EDGE = 0.003  # metres over which a shadow begins behind a surface
_HAIR_FADE = 0.008  # metres of hair that let 1/e of the light through
_INTERREFLECTION = 0.55  # of the light that misses a fold comes back from its other side


@dataclass(frozen=True)
class Samples:
    """What the covered samples of a picture show, n of them."""

    place: _Array
    """[n, 3] head space."""
    towards_eye: _Array
    """[n, 3] unit."""
    direction: _Array
    """[n, 3] normal of a surface (on the side of the eye), or tangent of a strand."""
    colour: _Array
    """[n, 3] linear."""
    roughness: _Array
    """[n]."""
    reflectance: _Array
    """[n] mirrored share of light that falls straight on it."""
    wrap: _Array
    """[n, 3] how far light reaches round, in each colour."""
    strand: NDArray[np.bool_]
    """[n]."""

    def only(self, here: NDArray[np.bool_]) -> Samples:
        """Some of the samples."""
        return Samples(*(getattr(self, field.name)[here] for field in fields(self)))


def shade(samples: Samples, lights: Lights) -> _Array:
    """Radiance [n, 3] towards the eye."""
    radiance = np.zeros_like(samples.colour)
    for here, formula in ((~samples.strand, _surface), (samples.strand, _strands)):
        if here.any():
            radiance[here] = formula(samples.only(here), lights)
    return radiance


def _surface(samples: Samples, lights: Lights) -> _Array:
    lifted = samples.place + _BIAS * samples.direction
    lamps = lights.lamps
    cosine = lamps.towards @ samples.direction.T
    arrives = 1 - np.clip(lamps.behind(lifted) / _EDGE, 0, 1)
    radiance = np.empty_like(samples.colour)
    for channel in range(3):
        wrap = samples.wrap[:, channel]
        lit = lamps.irradiance[:, channel] @ (arrives * np.maximum(cosine + wrap, 0))
        radiance[:, channel] = lit / (1 + wrap) ** 2 / np.pi * samples.colour[:, channel]

    radiance += _glossy(samples, lamps, arrives * np.maximum(cosine, 0))

    weight = np.maximum(lights.sky.towards @ samples.direction.T, 0)
    open_sky = (weight * (1 - np.clip(lights.sky.behind(lifted) / _EDGE, 0, 1))).sum(0) / weight.sum(0)
    gloss = _schlick(samples.reflectance, (samples.direction * samples.towards_eye).sum(1)) * (1 - samples.roughness)
    return radiance + _sky(samples.colour, open_sky, gloss) * lights.sky_colour


def glaze(samples: Samples, lights: Lights) -> tuple[_Array, _Array]:
    """What clear surfaces add, and the share that they let through, [n, 3] each."""
    mirrored = _schlick(samples.reflectance, (samples.direction * samples.towards_eye).sum(1))[:, None]
    cosine = np.maximum(lights.lamps.towards @ samples.direction.T, 0)
    return _glossy(samples, lights.lamps, cosine) + mirrored * lights.sky_colour, (1 - mirrored) * samples.colour


def _glossy(samples: Samples, lamps: ParallelLights, arrives: _Array) -> _Array:
    """Blinn's lobe, normalised, as wide as roughness and the lights' size make it, times Schlick's reflectance."""
    halfway = unit(samples.towards_eye + lamps.towards[:, None])
    power = 2 / (np.maximum(samples.roughness**2, 0.02) + 0.5 * lamps.spread[:, None]) ** 2
    lobe = np.maximum((halfway * samples.direction).sum(-1), 0) ** power * (power + 8) / (8 * np.pi)
    return (
        arrives * lobe * _schlick(samples.reflectance, (halfway * samples.towards_eye).sum(-1))
    ).T @ lamps.irradiance


def _strands(samples: Samples, lights: Lights) -> _Array:
    lamps = lights.lamps
    arrives = np.exp(-np.maximum(lamps.behind(samples.place) - _BIAS, 0) / _HAIR_FADE)
    # Light from the side of the eye is seen better than light from behind; highlights run across the strands.
    arrives *= 0.5 + 0.5 * lamps.towards @ samples.towards_eye.T
    sine = _sine(lamps.towards @ samples.direction.T)
    sine_half = _sine((unit(samples.towards_eye + lamps.towards[:, None]) * samples.direction).sum(-1))
    body = (arrives * (0.8 * sine / np.pi + 0.10 * sine_half**14)).T @ lamps.irradiance
    shine = (arrives * 0.03 * sine_half**60).T @ lamps.irradiance

    weight = _sine(lights.sky.towards @ samples.direction.T)
    fade = np.exp(-np.maximum(lights.sky.behind(samples.place) - _BIAS, 0) / _HAIR_FADE)
    open_sky = (weight * fade).sum(0) / weight.sum(0)
    return body * samples.colour + shine + _sky(samples.colour, open_sky, np.zeros_like(open_sky)) * lights.sky_colour


def _sky(colour: _Array, open_sky: _Array, gloss: _Array) -> _Array:
    """Radiance [n, 3] under a sky of radiance 1; what a fold hides from it sees the fold's other side instead."""
    returned = 1 - _INTERREFLECTION * colour * (1 - open_sky)[:, None]
    return colour * open_sky[:, None] / returned + (gloss * open_sky)[:, None]


def _schlick(reflectance: _Array, cosine: _Array) -> _Array:
    miss = 1 - np.clip(cosine, 0, 1)
    square = miss * miss
    return reflectance + (1 - reflectance) * square * square * miss


def _sine(cosine: _Array) -> _Array:
    return np.sqrt(np.maximum(1 - cosine * cosine, 0))


def unit(vectors: NDArray) -> _Array:
    """Vectors of length 1."""
    length = np.sqrt(np.einsum("...k,...k->...", vectors, vectors))[..., None]
    return (vectors / (length + 1e-12)).astype(np.float32)
