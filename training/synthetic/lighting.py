# SPDX-License-Identifier: Apache-2.0
"""Light and background of a picture, the same for Cycles and for our rasteriser."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.synthetic.backdrops import sample_backdrop

# Directions that a face turns towards the light: ahead, to both sides, up, a little down.
_FACE_NORMALS = np.array([[0.0, 0, 1], [0.64, 0, 0.77], [-0.64, 0, 0.77], [0, 0.6, 0.8], [0, -0.34, 0.94]])

_AHEAD = [0, 1, 2, 4]  # all of them but up


@dataclass(frozen=True)
class Lamp:
    """A square area light that looks at the head."""

    place: NDArray[np.float64]
    """[3] head space, metres."""
    width: float
    """Metres; larger is softer."""
    power: float
    """Watts, as Blender counts them."""
    colour: NDArray[np.float64]
    """[3] linear RGB."""


@dataclass(frozen=True)
class Setting:
    """Lamps, the light from all around, exposure, and what is behind the person."""

    lamps: tuple[Lamp, ...]
    sky: NDArray[np.float64]
    """[3] linear RGB of the light that comes from everywhere."""
    exposure: float = 0.0
    """Stops."""
    backdrop: NDArray[np.uint8] | None = None
    """[h, w, 3] sRGB picture behind the person, of the size of the picture; None: nothing, alpha tells."""


STUDIO = Setting(
    lamps=tuple(
        Lamp(np.array(place), width, power, np.array(colour))
        for place, width, power, colour in (
            ((0.9, 0.9, 1.3), 0.9, 22.0, (1.0, 0.96, 0.90)),
            ((-1.2, 0.2, 1.0), 1.2, 6.5, (0.92, 0.96, 1.0)),
            ((-0.5, 1.1, -1.3), 1.0, 16.0, (1.0, 1.0, 1.0)),
            ((1.2, 0.3, -0.9), 1.0, 9.0, (0.95, 0.97, 1.0)),
        )
    ),
    sky=np.array([0.27, 0.285, 0.31]),
)
"""The same light for everybody: what a network learns whose code says nothing about light."""


def turned(setting: Setting, rotation: NDArray[np.float64]) -> Setting:
    """The setting with its lamps carried around the head by a rotation [3, 3]."""
    return replace(setting, lamps=tuple(replace(lamp, place=rotation @ lamp.place) for lamp in setting.lamps))


def light_on_face(setting: Setting) -> NDArray[np.float64]:
    """Luminance [5] of white paper on the face, before exposure: turned ahead, left, right, up and down.

    An area light of power P in front of a surface at the distance d gives the irradiance P cos / (pi d^2); a white
    surface sends 1 / pi of it to each side. Nothing throws a shadow here.
    """
    light = np.full(len(_FACE_NORMALS), _luminance(setting.sky))
    for lamp in setting.lamps:
        distance = np.linalg.norm(lamp.place)
        facing = np.clip(_FACE_NORMALS @ (lamp.place / distance), 0.0, 1.0)
        light += _luminance(lamp.colour) * lamp.power * facing / (np.pi * distance) ** 2
    return light


def sample_setting(rng: np.random.Generator, size: int) -> Setting:
    """Soft, varied light on a face that stays readable, and a backdrop [size, size, 3].

    Key light anywhere in front (or a window at the side), filled from the other side and from all around; exposed for
    the face as a camera does, half a stop more or less.
    """
    warmth = float(rng.uniform(-0.7, 1.0))
    side = rng.choice([-1.0, 1.0])
    kind = rng.choice(["key", "window", "overcast", "rim", "frontal"], p=[0.32, 0.22, 0.20, 0.14, 0.12])
    if kind == "key":
        lamps = (_lamp(rng, side * rng.uniform(15, 60), rng.uniform(10, 55), rng.uniform(0.4, 1.3), 1.0, warmth),)
        fill = rng.uniform(0.25, 0.55)
    elif kind == "window":
        lamps = (_lamp(rng, side * rng.uniform(45, 80), rng.uniform(0, 25), rng.uniform(1.2, 2.0), 1.0, -0.5),)
        fill = rng.uniform(0.3, 0.6)
    elif kind == "overcast":
        lamps = (_lamp(rng, side * rng.uniform(0, 60), rng.uniform(50, 80), 2.2, 0.6, -0.3),)
        fill = rng.uniform(0.6, 1.1)
    elif kind == "rim":
        lamps = (
            _lamp(rng, side * rng.uniform(10, 45), rng.uniform(5, 35), rng.uniform(0.7, 1.6), 0.8, 0.3 * warmth),
            _lamp(rng, -side * rng.uniform(125, 165), rng.uniform(10, 45), 0.7, rng.uniform(0.8, 2.0), warmth),
        )
        fill = rng.uniform(0.3, 0.55)
    else:
        lamps = (_lamp(rng, side * rng.uniform(0, 15), rng.uniform(0, 20), rng.uniform(0.5, 1.2), 1.0, 0.4 * warmth),)
        fill = rng.uniform(0.3, 0.6)
    if rng.random() < 0.5:  # something bright on the other side: a wall, a reflector, a second lamp
        angle = -side * rng.uniform(30, 75)
        lamps += (_lamp(rng, angle, rng.uniform(-15, 20), 1.6, rng.uniform(0.1, 0.35), rng.uniform(-0.5, 0.5)),)
    tint = _tint(float(np.clip(0.5 * warmth + rng.normal(0, 0.2), -1, 1)))
    setting = Setting(lamps, 0.55 * fill * tint, backdrop=sample_backdrop(rng, size, 0.5 * warmth))
    studio, here = light_on_face(STUDIO), light_on_face(setting)
    # The eyes lie in what looks ahead and down: light from above does not count for them.
    exposure = np.log2(studio[_AHEAD].mean() / here[_AHEAD].mean()) + rng.normal(0.35, 0.22)
    ceiling = np.log2(1.5 * studio.max() / here.max())  # the brightest side must not burn out
    return replace(setting, exposure=float(min(exposure, ceiling)))


def _lamp(rng: np.random.Generator, yaw: float, pitch: float, width: float, power: float, warmth: float) -> Lamp:
    """A lamp in a direction (degrees: yaw towards the subject's left, pitch up); ``power`` 1 is the studio's key."""
    distance = rng.uniform(1.5, 2.2)
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    place = distance * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    return Lamp(place, width, float(6.7 * power * distance**2), _tint(warmth))


def _tint(warmth: float) -> NDArray[np.float64]:
    """A colour of luminance 1 from cool (-1) to warm (1)."""
    colour = np.array([1.0 + 0.16 * warmth, 1.0, 1.0 - 0.24 * warmth])
    return colour / _luminance(colour)


def _luminance(colour: NDArray) -> float:
    return float(colour @ np.array([0.2126, 0.7152, 0.0722]))
