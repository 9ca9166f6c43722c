# SPDX-License-Identifier: Apache-2.0
"""What lies beside the pictures: EG3D's ``dataset.json`` and one file of exact labels per person.

A person is finished when ``people/<index>.npz`` exists, and that file is renamed into place last; whatever a killed run
leaves behind is written again by the next one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthetic.people import HEAD_TO_MODEL, Person, View

_PEOPLE_PER_FOLDER = 100


def person_file(root: Path, index: int) -> Path:
    """The label file of a person."""
    return root / "people" / f"{index:06d}.npz"


def image_name(index: int, view: int) -> str:
    """Name of a picture relative to the data set, in EG3D's layout."""
    return f"{index // _PEOPLE_PER_FOLDER:05d}/img{index:06d}_{view:02d}.png"


def ray_depth(planar: NDArray, view: View) -> NDArray[np.float16]:
    """Depth along the ray in model units from depth along the camera's axis in metres; 0 where there is nothing.

    Args:
        planar: [h, w] metres along the axis of the camera, huge where nothing was hit.
        view: The camera.
    """
    height, width = planar.shape
    x = ((np.arange(width) + 0.5) / width - view.intrinsics[0, 2]) / view.intrinsics[0, 0]
    y = ((np.arange(height) + 0.5) / height - view.intrinsics[1, 2]) / view.intrinsics[1, 1]
    slant = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    return np.where(planar < 1e3, planar * slant * HEAD_TO_MODEL, 0.0).astype(np.float16)


def write_person(root: Path, person: Person, pictures: list[Path], depths: list[NDArray]) -> None:
    """Move the pictures of a person into the data set, then write the labels.

    Args:
        root: Folder of the data set.
        person: Who was rendered.
        pictures: One PNG per view, on the same file system.
        depths: [h, w] per view, as ``ray_depth`` gives them.
    """
    names = [image_name(person.index, view) for view in range(len(pictures))]
    for picture, name in zip(pictures, names, strict=True):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.replace(target)
    file = person_file(root, person.index)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.tmp.npz")
    np.savez_compressed(
        temporary,
        z=person.code,
        cameras=np.stack([view.label() for view in person.views]),
        close_up=np.array([view.close_up for view in person.views]),
        images=np.array(names),
        depth=np.stack(depths),
    )
    temporary.replace(file)


def finished_people(root: Path) -> list[int]:
    """Indices of the people that are complete, in rising order."""
    return sorted(int(file.stem) for file in (root / "people").glob("[0-9]*.npz"))


def write_dataset_json(root: Path) -> int:
    """Write ``dataset.json`` over all finished people; how many pictures it lists."""
    labels = []
    for index in finished_people(root):
        with np.load(person_file(root, index)) as person:
            names, cameras = person["images"].tolist(), person["cameras"].astype(float).tolist()
        labels += [[name, camera] for name, camera in zip(names, cameras, strict=True)]
    temporary = root / f".dataset.{os.getpid()}.tmp"
    temporary.write_text(json.dumps({"labels": labels}))
    temporary.replace(root / "dataset.json")
    return len(labels)
