# SPDX-License-Identifier: Apache-2.0
"""The evaluator on a tiny model and spheres, for tests of its parts."""

import json
from pathlib import Path

import numpy as np

from tests.spheres import write_spheres
from tests.tiny_models import save_tiny
from training.evaluate import main

PEOPLE, VIEWS, SIZE = 6, 2, 16


def write_folder(folder: Path) -> Path:
    """Write a tiny model and pictures of spheres, and return where they are."""
    save_tiny(folder / "tiny.safetensors")
    write_spheres(folder / "data", PEOPLE, VIEWS, SIZE, z_dim=64)
    return folder


def evaluate(folder: Path, out: Path, metrics: str, *more: str) -> dict:
    asked = ["--model", str(folder / "tiny.safetensors"), "--data", str(folder / "data"), "--metrics", metrics,
             "--seeds", "4", "--compare-size", str(SIZE), "--device", "cpu", "--out", str(out), *more]  # fmt: skip
    assert main(asked) == 0
    return json.loads((out / "metrics.json").read_text())


def truths(folder: Path) -> list[np.ndarray]:
    """All true pictures over grey, [3, h, w], 0..255."""
    import imageio.v3 as iio

    found = []
    for file in sorted((folder / "data" / "00000").glob("*.png")):
        rgba = iio.imread(file).astype(np.float64)
        alpha = rgba[..., 3:] / 255
        found.append(np.rint(rgba[..., :3] * alpha + 127.5 * (1 - alpha)).transpose(2, 0, 1).astype(np.uint8))
    return found
