# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind the head in a picture of the network: nothing, a colour, or what the network itself draws there. Pure.

Written as text: "" for nothing, "model", or a colour such as "#808080" (sRGB).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from .neural_core.errors import UsageError

NOTHING, MODEL = "", "model"


def check(text: str) -> str:
    """Return a background as it is written. Raises UsageError if it is none."""
    if text not in (NOTHING, MODEL) and not re.fullmatch(r"#[0-9a-f]{6}", text):
        raise UsageError(f'"{text}" is no background.', 'Write "model", or a colour like "#808080".')
    return text


def of_colour(colour: Iterable[float]) -> str:
    """Return the background of a colour, three numbers in 0..1, sRGB."""
    return "#" + "".join(f"{round(255 * number):02x}" for number in colour)


def colour_of(background: str) -> tuple[float, ...] | None:
    """Return the colour of a background, three numbers in 0..1, sRGB; None where it is none."""
    return tuple(byte / 255 for byte in bytes.fromhex(background[1:])) if background.startswith("#") else None


def drawn_on(background: str) -> str:
    """Return what the engine is asked to draw behind the head: a colour is laid under afterwards, by us."""
    return MODEL if background == MODEL else NOTHING


def laid_under(pixels: np.ndarray, background: str) -> np.ndarray:
    """Return a picture [h, w, 4] uint8 with a background of a colour laid under it; with another it stays as it is.

    As networks learn to draw hair, colours are mixed as sRGB has them.
    """
    colour = colour_of(background)
    if colour is None:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    mixed = pixels[..., :3] * alpha + 255 * np.array(colour, np.float32) * (1 - alpha)
    return np.concatenate([np.rint(mixed).astype(np.uint8), np.full_like(pixels[..., 3:], 255)], axis=-1)
