# SPDX-License-Identifier: Apache-2.0
"""The pictures of this folder that show what a model makes.

python docs/make_images.py MODEL sixteen seeds eyes turntable expressions sliders --out docs/images [--seed 4]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray

from neural_core import controls, people, systems
from neural_core.cameras import Camera, orbit
from neural_core.systems.common import Field
from training.metrics.subject import CodedSystem

EXPRESSIONS: tuple[dict[str, float], ...] = (
    {},
    {"jawOpen": 0.8},
    {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6, "jawOpen": 0.25},
    {"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0, "eyeWideLeft": 0.6, "eyeWideRight": 0.6},
    {"mouthPucker": 1.0, "eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8},
    {"mouthFrownLeft": 0.9, "mouthFrownRight": 0.9, "browDownLeft": 0.9, "browDownRight": 0.9},
)
"""Columns of the sheet of expressions."""

SLIDERS = ((4, "age"), (10, "hair_length"), (5, "beard"), (11, "skin_tone"), (0, "masculinity"), (3, "hair_lightness"))
"""Whom the sheet of sliders shows, and which slider."""

TRUNCATION = 0.7
_LIGHT, _GREY = 0.82, 0.5
_EYES = (slice(92, 142), slice(78, 178))  # rows and columns of a picture of 256


def shown(field: Field, camera: Camera, behind: float) -> NDArray[np.uint8]:
    """Return what a camera sees over a background of one brightness: [h, w, 3]."""
    seen = field.render(camera)
    opacity = torch.nn.functional.interpolate(seen.opacity, seen.image.shape[-2:], mode="bilinear")
    picture = ((seen.image + 1) / 2 + behind * (1 - opacity)).clamp(0, 1)
    return (picture[0].movedim(0, -1).numpy() * 255).round().astype(np.uint8)


def grid(pictures: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Return pictures of one size side by side, row after row."""
    rows = [np.hstack(pictures[first : first + columns]) for first in range(0, len(pictures), columns)]
    return np.vstack(rows)


def enlarged(picture: NDArray[np.uint8], times: float) -> NDArray[np.uint8]:
    """Return a picture of another size."""
    tensor = torch.from_numpy(picture).float().movedim(-1, 0)[None]
    resized = torch.nn.functional.interpolate(tensor, scale_factor=times, mode="bicubic", antialias=True)
    return resized[0].movedim(0, -1).round().clamp(0, 255).numpy().astype(np.uint8)


def seeds(system: CodedSystem, count: int, behind: float) -> list[NDArray[np.uint8]]:
    """Return the first people, as they are created."""
    camera = system.creation_camera()
    return [shown(system.pose(system.create(seed, TRUNCATION)), camera, behind) for seed in range(count)]


def sixteen(system: CodedSystem, _seed: int) -> tuple[str, NDArray[np.uint8]]:
    """Sixteen people in two rows."""
    return "sixteen.jpg", grid(seeds(system, 16, _LIGHT), 8)


def hundred(system: CodedSystem, _seed: int) -> tuple[str, NDArray[np.uint8]]:
    """A hundred people."""
    pictures = grid(seeds(system, 100, _GREY), 10)
    return "seeds.jpg", enlarged(pictures, 1600 / len(pictures))


def eyes(system: CodedSystem, _seed: int) -> tuple[str, NDArray[np.uint8]]:
    """The eyes of sixteen people, enlarged."""
    return "eyes.jpg", grid([enlarged(picture[_EYES], 4) for picture in seeds(system, 16, _GREY)], 4)


def turntable(system: CodedSystem, seed: int) -> tuple[str, NDArray[np.uint8]]:
    """One person from all sides."""
    field = system.pose(system.create(seed, TRUNCATION))
    cameras = [system.to_head_space(orbit(360 * i / 48, 0.0)) for i in range(48)]
    return "turntable.webp", np.stack([shown(field, camera, _LIGHT) for camera in cameras])


def expressions(system: CodedSystem, _seed: int) -> tuple[str, NDArray[np.uint8]]:
    """Six people, each with some expressions; every other one from the side."""
    pictures = []
    for seed in range(6):
        portrait = system.create(seed, TRUNCATION)
        camera = system.to_head_space(orbit(25.0 * (-1) ** (seed // 2), 0.0)) if seed % 2 else system.creation_camera()
        for expression in EXPRESSIONS:
            asked = controls.tensors({"actions": expression}, system.info.controls)
            pictures.append(shown(system.pose(portrait, asked), camera, _LIGHT))
    return f"{system.info.name}-expressions.jpg", grid(pictures, len(EXPRESSIONS))


def sliders(system: CodedSystem, _seed: int) -> tuple[str, NDArray[np.uint8]]:
    """Some people, each with one slider of the person from low to high."""
    pictures = []
    for seed, name in SLIDERS:
        portrait = system.create(seed, TRUNCATION)
        for value in (-2.0, -1.0, 0.0, 1.0, 2.0):
            changed = people.changed(portrait, {name: value})
            pictures.append(shown(system.pose(changed), system.creation_camera(), _LIGHT))
    return "sliders.jpg", enlarged(grid(pictures, 10), 0.75)


PICTURES: dict[str, Callable[[CodedSystem, int], tuple[str, NDArray[np.uint8]]]] = {
    "sixteen": sixteen, "seeds": hundred, "eyes": eyes, "turntable": turntable, "expressions": expressions,
    "sliders": sliders,
}  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint")
    parser.add_argument("what", nargs="+", choices=PICTURES)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--seed", type=int, default=4, help="whom the turntable shows")
    flags = parser.parse_args()
    system = systems.load(flags.model)
    if not isinstance(system, CodedSystem):
        parser.error("the model has no planes")
    with torch.no_grad():
        for what in flags.what:
            name, picture = PICTURES[what](system, flags.seed)
            path = flags.out / name
            if picture.ndim == 4:
                iio.imwrite(path, picture, plugin="pillow", quality=80, duration=70, loop=0)
            else:
                iio.imwrite(path, picture, plugin="pillow", quality=90)
            print(path)


if __name__ == "__main__":
    main()
