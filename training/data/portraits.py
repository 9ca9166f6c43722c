# SPDX-License-Identifier: Apache-2.0
"""The people that `training.synthesize portraits` rendered, held in memory: pictures, cameras, depth and codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from neural_core.errors import InputError


@dataclass(frozen=True)
class Portraits:
    """n people with v views each, all of one size."""

    codes: Tensor
    """[n, z] standard normals: identity coefficients, then appearance."""
    cameras: Tensor
    """[n, v, 25] camera labels, model space."""
    rgba: Tensor
    """[n, v, 4, h, w] uint8, sRGB, straight alpha."""
    depth: Tensor
    """[n, v, h, w] float16, distance along the ray in model units; 0 where nothing was hit."""
    skipped: tuple[str, ...]
    """Files that could not be read."""

    @property
    def people(self) -> int:
        """Number of people."""
        return self.codes.shape[0]

    @property
    def size(self) -> int:
        """Width and height of the pictures in pixels."""
        return self.rgba.shape[-1]


def load_portraits(folder: Path, limit: int = 0) -> Portraits:
    """Read a data set folder (`people/*.npz` and the PNG files that they name).

    A person whose files are damaged or whose pictures have another size or number than the first person's is left out
    and named in `skipped`.

    Args:
        folder: what `python -m training.synthesize portraits --out` wrote.
        limit: read at most this many people; 0 reads all.

    Raises:
        InputError: there is no readable person in the folder.
    """
    import imageio.v3 as iio  # here, so that a recipe can be looked at without it

    codes, cameras, pictures, depths, skipped = [], [], [], [], []
    for path in sorted((folder / "people").glob("*.npz")):
        if limit and len(codes) == limit:
            break
        try:
            with path.open("rb") as file, np.load(file) as person:
                code, camera, depth = person["z"], person["cameras"], person["depth"]
                rgba = np.stack([iio.imread(folder / str(name)) for name in person["images"]])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            skipped.append(f"{path.name}: {error}")
            continue
        if rgba.shape[-1] != 4 or (pictures and rgba.shape != pictures[0].shape):
            skipped.append(f"{path.name}: pictures of shape {rgba.shape}")
            continue
        codes.append(code.astype(np.float32))
        cameras.append(camera.astype(np.float32))
        pictures.append(rgba)
        depths.append(depth.astype(np.float16))
    if not codes:
        raise InputError(f"No people found in {folder}.", "Make some: python -m training.synthesize portraits --out DIR.")
    return Portraits(
        codes=torch.from_numpy(np.stack(codes)),
        cameras=torch.from_numpy(np.stack(cameras)),
        rgba=torch.from_numpy(np.stack(pictures)).movedim(-1, 2).contiguous(),
        depth=torch.from_numpy(np.stack(depths)),
        skipped=tuple(skipped),
    )
