# SPDX-License-Identifier: Apache-2.0
"""A data set whose every pixel is known on paper: each person is a sphere, coloured by the code's first numbers."""

import dataclasses
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from neural_core.cameras import Camera, orbit
from neural_core.human.arkit import ACTIONS
from neural_core.records import BACKGROUND, JOINTS, SKIN, Record
from neural_core.rendering.rays import camera_rays, pixel_centres

RADIUS = 0.2
"""Of every sphere, model units."""


def colour_of(code: np.ndarray) -> np.ndarray:
    """Return the sphere's colour, 0..1, from the last three numbers of the code."""
    return 1 / (1 + np.exp(-code[-3:]))


def hit(camera: Camera, size: int) -> np.ndarray:
    """Return the distance to the sphere along each pixel's ray [n, size, size], 0 where it misses.

    |o + t d|^2 = r^2 with |d| = 1: t = -o.d - sqrt((o.d)^2 - |o|^2 + r^2).
    """
    origins, directions = camera_rays(camera, pixel_centres(size, size, camera.intrinsics))
    along = (origins * directions).sum(-1)
    under = along.square() - origins.square().sum(-1) + RADIUS**2
    distance = torch.where(under > 0, -along - under.clamp(min=0).sqrt(), 0.0)
    return distance.reshape(-1, size, size).numpy()


def write_spheres(folder: Path, people: int, views: int, size: int, z_dim: int) -> None:
    """Write a data set in the layout of `training.synthesize portraits`."""
    rng = np.random.default_rng(0)
    labels = []
    for person in range(people):
        code = rng.standard_normal(z_dim).astype(np.float32)
        yaw = torch.from_numpy(rng.uniform(-90, 90, views)).float()
        camera = orbit(yaw)
        depth = hit(camera, size)
        rgba = np.zeros((views, size, size, 4), np.uint8)
        rgba[depth > 0] = [*np.round(colour_of(code) * 255), 255]
        names = [f"00000/img{person * views + view:08d}.png" for view in range(views)]
        (folder / "00000").mkdir(parents=True, exist_ok=True)
        for name, picture, label in zip(names, rgba, camera.label().tolist(), strict=True):
            iio.imwrite(folder / name, picture)
            labels.append([name, label])
        record = dataclasses.replace(
            empty_record(names),
            cameras=camera.label().numpy(),
            depth=depth.astype(np.float16),
            alpha=rgba[..., 3],
            regions=np.where(depth > 0, SKIN, BACKGROUND).astype(np.uint8),
            z=code,
        )
        record.save(folder / "records" / f"{person:06d}.npz")
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def write_moving_spheres(folder: Path, people: int, views: int, size: int, z_dim: int) -> None:
    """Write `write_spheres`' data set with records that tell of faces and necks; spheres have nothing to move."""
    write_spheres(folder, people, views, size, z_dim)
    rng = np.random.default_rng(1)
    for file in sorted((folder / "records").glob("*.npz")):
        actions = rng.uniform(0, 1, (views, len(ACTIONS))).astype(np.float32)
        joints = np.zeros((views, len(JOINTS), 3), np.float32)
        joints[:, JOINTS.index("neck")] = rng.normal(0, 0.1, (views, 3))
        dataclasses.replace(Record.load(file), actions=actions, joints=joints).save(file)


def empty_record(names: list[str]) -> Record:
    """Return a record of pictures of which nothing is known."""
    empty = {
        field.name: np.zeros(0, np.float32)
        for field in dataclasses.fields(Record)
        if field.name not in ("images", "source")
    }
    return Record(images=tuple(names), **empty)
