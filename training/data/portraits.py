# SPDX-License-Identifier: Apache-2.0
"""People with codes, as `training.synthesize portraits` renders them, in memory: pictures, cameras, depth, actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neural_core.errors import InputError
from neural_core.human.arkit import ACTIONS
from neural_core.records import JOINTS, Record

from .folders import record_files
from .pictures import read_picture
from .sources import FolderSource

_READ = ("z", "cameras", "actions", "joints", "depth", "alpha", "regions", "points_478", "visible")
"""What is unpacked of a record."""
_FEATURES = (((468,), (468, 159, 145)), ((473,), (473, 386, 374)), ((13, 14), (13, 14)))
"""Of right eye, left eye and mouth: the landmarks of MediaPipe whose mean says where it is (iris; inner edges of the
lips), and those of which one has to be visible. A shut eye hides its iris, but not its lids."""
_ACTIONS, _JOINTS = (len(ACTIONS),), (len(JOINTS), 3)


@dataclass(frozen=True)
class Portraits:
    """n people with v views each, all of one size."""

    codes: Tensor
    """[n, z] standard normals: identity coefficients, then appearance."""
    cameras: Tensor
    """[n, v, 25] camera labels, model space."""
    rgba: Tensor
    """[n, v, 4, h, w] uint8, sRGB; straight alpha where nothing is behind the person."""
    depth: Tensor
    """[n, v, h, w] float16, distance along the ray in model units; 0 where nothing was hit."""
    regions: Tensor
    """[n, v, h, w] uint8, what is seen: `records.BACKGROUND` ... `GLASSES`."""
    features: Tensor
    """[n, v, 3, 3] where the irises and the mouth are in the picture, (u, v) in 0..1, and 1 where eye or mouth is
    visible, else 0."""
    actions: Tensor
    """[n, v, 52] facial actions, 0..1; 0 where the record says nothing of them."""
    joints: Tensor
    """[n, v, 10, 3] rotations of `records.JOINTS`, axis-angle, radians; 0 likewise."""
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


@dataclass(frozen=True)
class _Person:
    """One person's record and pictures."""

    code: NDArray[np.float32]
    cameras: NDArray[np.float32]
    rgba: NDArray[np.uint8]
    """[v, 4, h, w]."""
    depth: NDArray[np.float16]
    regions: NDArray[np.uint8]
    features: NDArray[np.float32]
    actions: NDArray[np.float32]
    joints: NDArray[np.float32]


def load_portraits(*folders: Path, limit: int = 0, told_by_code: bool = False, moving: bool = False) -> Portraits:
    """Read data set folders (`records/*.npz` and the PNG files that they name).

    A person whose files are damaged, who has no code, or whose pictures have another size than the first person's, is
    left out and named in `skipped`. People may have different numbers of views: one with fewer repeats theirs.

    Args:
        folders: what `python -m training.synthesize portraits --out` wrote.
        limit: read at most this many people in all; 0 reads all.
        told_by_code: leave people out of whom the code does not say everything: whose face, neck or shoulders move,
            or whose light, hair style and clothes were drawn beside it.
        moving: with `told_by_code`, let people in whose face, neck or shoulders move: the network is told how.

    Raises:
        InputError: there is no readable person in the folders.
    """
    people, skipped = [], []
    for path in (path for folder in folders for path in record_files(folder)):
        if limit and len(people) == limit:
            break
        try:
            person = _read(path, told_by_code, moving)
        except (InputError, ValueError) as error:
            skipped.append(f"{path.name}: {error}")
            continue
        if people and person.rgba.shape[1:] != people[0].rgba.shape[1:]:
            skipped.append(f"{path.name}: pictures of shape {person.rgba.shape[1:]}")
            continue
        people.append(person)
    if not people:
        where = ", ".join(str(folder) for folder in folders)
        reason = f"{len(skipped)} were left out, the first being {skipped[0]}. " if skipped else ""
        raise InputError(
            f"No people found in {where}.", f"{reason}Make some: python -m training.synthesize portraits --out DIR."
        )
    most = max(len(person.rgba) for person in people)

    def stack(name: str) -> Tensor:
        values = [getattr(person, name) for person in people]
        return torch.from_numpy(np.stack([value[np.arange(most) % len(value)] for value in values]))

    return Portraits(
        codes=torch.from_numpy(np.stack([person.code for person in people])),
        cameras=stack("cameras"),
        rgba=stack("rgba"),
        depth=stack("depth"),
        regions=stack("regions"),
        features=stack("features"),
        actions=stack("actions"),
        joints=stack("joints"),
        skipped=tuple(skipped),
    )


def _read(path: Path, told_by_code: bool, moving: bool) -> _Person:
    record = Record.load(path, only=_READ)
    if not len(record.z) or not len(record.depth):
        raise ValueError("a captured person: no code, or no depth")
    if told_by_code and not moving and (record.actions.any() or record.joints.any()):
        raise ValueError("not a resting face: the code does not say everything")
    if told_by_code and record.source.get("variety") == "wide":
        raise ValueError("light, hair style and clothes that the code does not say")
    source = FolderSource(path.parent.parent)
    colours = np.stack([read_picture(source, name).numpy()[:3] for name in record.images])
    return _Person(
        record.z,
        record.cameras,
        rgba=np.concatenate([colours, record.alpha[:, None]], axis=1),
        depth=record.depth.astype(np.float16),
        regions=record.regions,
        features=_features(record),
        actions=record.actions if record.actions.size else np.zeros((len(record), *_ACTIONS), np.float32),
        joints=record.joints if record.joints.size else np.zeros((len(record), *_JOINTS), np.float32),
    )


def _features(record: Record) -> NDArray[np.float32]:
    """Return where eyes and mouth are in the pictures, and whether they can be seen [v, 3, 3]."""
    if not len(record.points_478):
        return np.zeros((len(record), len(_FEATURES), 3), np.float32)
    where = [record.points_478[:, list(middle)].mean(1) for middle, _ in _FEATURES]
    seen = [record.visible[:, list(parts)].any(1, keepdims=True) for _, parts in _FEATURES]
    return np.dstack([np.stack(where, 1), np.stack(seen, 1)]).astype(np.float32)
