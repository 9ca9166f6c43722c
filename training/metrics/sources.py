# SPDX-License-Identifier: Apache-2.0
"""Where items come from: people of a data set with the truth about them, and seeds seen from some sides.

An item renders what judges ask for when the first of them asks, and keeps it while it is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neural_core import media
from neural_core.cameras import Camera
from neural_core.errors import InputError
from neural_core.human.anny import load_anny_head
from neural_core.records import Record

from ..data.folders import record_files
from .faces import detect
from .pictures import over_grey
from .subject import Shown, Subject

Landmarks = NDArray[np.float64]
"""[478, 2] x and y in 0..1 from the upper left corner of the picture."""


class Source(Protocol):
    """A row of items that are made one at a time."""

    what: str
    """What the items are called."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> object:
        """Return an item. Raises InputError if its files are damaged: it is then left out and named."""
        ...


class HeldOut:
    """The people of a data set, from their true codes and at their pictures' own cameras."""

    what = "held-out people"

    def __init__(self, subject: Subject, folder: Path) -> None:
        """List the people. Raises InputError if there are none."""
        self.subject, self.files = subject, people_files(folder)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> HeldOutPerson:
        return HeldOutPerson(self, index, TruePictures(self.files[index], moving=self.subject.animatable))


@dataclass(frozen=True)
class FacePairs:
    """k pictures of a person, in which FaceMesh sees the face on both sides."""

    numbers: list[int]
    """Which of the person's pictures they are."""
    shown: Float[Tensor, "k 3 h w"]
    """What the model shows, 0..1."""
    points: Float[Tensor, "k 478 2"]
    """The landmarks there, in pixels."""
    true: Float[Tensor, "k 3 ht wt"]
    true_points: Float[Tensor, "k 478 2"]


class HeldOutPerson:
    """One of them."""

    def __init__(self, source: HeldOut, index: int, true: TruePictures) -> None:
        self.index, self.true = index, true
        self.subject = source.subject
        if len(true.record.z) != self.subject.code_size:
            raise InputError(f"its code has {len(true.record.z)} numbers, the model takes {self.subject.code_size}")
        self.camera = self.subject.in_head_space(torch.from_numpy(true.record.cameras))
        self.notes: dict[str, Any] = {}
        """What one judge found, for the next one."""

    @cached_property
    def truth(self) -> Float[Tensor, "n 3 s s"]:
        """Return the true pictures over grey, at the size at which pictures are compared."""
        return self.true.over_grey(self.subject.pixels)

    @cached_property
    def shown(self) -> Shown:
        """Return what the model shows at the same cameras, with the same expressions."""
        return self._acting(torch.from_numpy(self.true.record.z))

    @cached_property
    def mean_shown(self) -> Shown:
        """Return the mean person (code 0) at the same cameras, with the same expressions."""
        return self._acting(torch.zeros(self.subject.code_size))

    def _acting(self, code: Float[Tensor, " z"]) -> Shown:
        record = self.true.record
        if not self.subject.animatable or not len(record.actions):
            return self.subject.see(self.subject.of_code(code), self.camera)
        actions, joints = torch.from_numpy(record.actions), torch.from_numpy(record.joints)
        return self.subject.see_acting(self.subject.portrait_of_code(code), self.camera, actions, joints)

    @cached_property
    def true_depth(self) -> Float[Tensor, "n r r"]:
        """Return the true depth in metres, averaged to the size of the shown one; 0 where a pixel is partly empty."""
        size = self.shown.views.depth.shape[-1]
        depth = torch.from_numpy(self.true.record.depth.astype(np.float32)) * self.subject.metres
        alpha = torch.from_numpy(self.true.record.alpha).float() / 255
        solid = F.adaptive_avg_pool2d((depth > 0).float(), size) > 0.999
        solid &= F.adaptive_avg_pool2d(alpha, size) > 0.95
        return F.adaptive_avg_pool2d(depth, size).where(solid, 0.0)

    @cached_property
    def landmarks(self) -> list[Landmarks | None]:
        """Return FaceMesh's landmarks in what the model shows, None where it sees no face."""
        return faces_in(self.shown.views.picture)

    @cached_property
    def true_landmarks(self) -> list[Landmarks | None]:
        """Return FaceMesh's landmarks in the true pictures."""
        return faces_in(self.true_pictures)

    @cached_property
    def face_pairs(self) -> FacePairs:
        """Return the pictures in which FaceMesh sees the model's face and the true one."""
        both = zip(self.landmarks, self.true_landmarks, strict=True)
        numbers = [number for number, (ours, true) in enumerate(both) if ours is not None and true is not None]
        shown, true = self.shown.views.picture[numbers], self.true_pictures[numbers]
        ours = _pixels([self.landmarks[number] for number in numbers], shown)
        return FacePairs(numbers, shown, ours, true, _pixels([self.true_landmarks[number] for number in numbers], true))

    @cached_property
    def true_pictures(self) -> Float[Tensor, "n 3 h w"]:
        """Return the true pictures over grey, in their own size."""
        return self.true.over_grey()


class Seeds:
    """Seeds 0..n-1, from some yaws."""

    what = "portraits"

    def __init__(self, subject: Subject, count: int, truncation: float, yaws: tuple[float, ...]) -> None:
        self.subject, self.count, self.truncation, self.yaws = subject, count, truncation, yaws
        self.camera = subject.around(yaws)
        self.face = load_anny_head()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> SeedPerson:
        return SeedPerson(self, index)


class SeedPerson:
    """One of them; lists have a place for each of `yaws`."""

    def __init__(self, source: Seeds, seed: int) -> None:
        self._source, self.seed, self.yaws = source, seed, source.yaws
        self.subject = source.subject
        self._portrait, self._field = source.subject.of_seed(seed, source.truncation)

    @cached_property
    def shown(self) -> Shown:
        """Return the portraits."""
        return self.subject.see(self._field, self._source.camera)

    def acting(
        self, camera: Camera, actions: Float[Tensor, "n 52"], joints: Float[Tensor, "n 10 3"] | None = None
    ) -> Float[Tensor, "n 3 h w"]:
        """Return pictures over grey, 0..1, of the person with n expressions, each by its own camera."""
        return self.subject.see_acting(self._portrait, camera, actions, joints).views.picture

    @cached_property
    def landmarks(self) -> list[Landmarks | None]:
        """Return FaceMesh's landmarks, None where it sees no face."""
        return faces_in(self.shown.views.picture)

    @cached_property
    def rig_landmarks(self) -> list[Landmarks] | None:
        """Return where the rig of that person has them; None if the model does not know the rig."""
        shape = self._portrait.shape
        if shape is None:
            return None
        face, camera = self._source.face, self._source.camera
        points = torch.from_numpy(face.landmarks(face.vertices(shape.cpu().numpy()), "478")).float()
        return list(camera.project(points.expand(len(camera), -1, -1)).double().numpy())


class RecordPictures:
    """A person's record with its pictures, which are read when they are asked for."""

    def __init__(self, path: Path, only: Sequence[str] | None = None) -> None:
        """Read the record, or only some of its arrays. Raises InputError if it is damaged."""
        self.path, self.record = path, Record.load(path, only)

    def over_grey(self, size: int | None = None, only: int | None = None) -> Float[Tensor, "n 3 s s"]:
        """Return the pictures over grey, 0..1, averaged down to a size; one of them, or all."""
        numbers = range(len(self.record)) if only is None else [only]
        return torch.stack([self._picture(number, size) for number in numbers])

    def _picture(self, number: int, size: int | None) -> Float[Tensor, "3 s s"]:
        pixels = media.read_picture(self.path.parent.parent / self.record.images[number])[..., :3]
        alpha = torch.from_numpy(self.record.alpha[number]).float() / 255
        if pixels.shape[:2] != alpha.shape:
            raise InputError(f"a picture of {pixels.shape[:2]} pixels has a mask of {tuple(alpha.shape)}")
        if size is not None and min(pixels.shape[:2]) < size:
            raise InputError(
                f"a picture of {min(pixels.shape[:2])} pixels cannot be compared at {size}.",
                "Give a smaller --compare-size.",
            )
        colour = torch.from_numpy(pixels).movedim(-1, 0).float() / 255
        picture = over_grey((colour * alpha)[None], alpha[None, None])
        return (picture if size is None else F.adaptive_avg_pool2d(picture, size))[0]


class TruePictures(RecordPictures):
    """Pictures of a person of whom the code says everything, but for an expression."""

    def __init__(self, path: Path, *, moving: bool = False) -> None:
        """Read the record.

        Args:
            path: of the record.
            moving: whether the person may have expressions.

        Raises:
            InputError: it is damaged, or tells no code or no depth, or shows what no code tells.
        """
        super().__init__(path)
        if not len(self.record.z) or not len(self.record.depth):
            raise InputError("a captured person: no code, or no depth")
        moves = self.record.actions.any() or self.record.joints.any()
        if (moves and not moving) or self.record.source.get("variety") == "wide":
            raise InputError("the code does not say everything of it (expression, light, hair style, clothes)")

    @property
    def frontal(self) -> int:
        """Return which picture shows the face most from the front; close-ups do not count."""
        forward = torch.from_numpy(self.record.cameras[:, :16]).reshape(-1, 4, 4)[:, 2, 2]  # the view axis' z
        if len(self.record.close_up):
            forward = forward.masked_fill(torch.from_numpy(self.record.close_up), 2.0)
        return int(forward.argmin())


def people_files(folder: Path) -> list[Path]:
    """Return the records of a data set's people. Raises InputError if there are none."""
    files = record_files(folder)
    if not files:
        raise InputError(
            f"No people found in {folder}.", "Make some: python -m training.synthesize portraits --out DIR."
        )
    return files


def faces_in(pictures: Float[Tensor, "n 3 h w"]) -> list[Landmarks | None]:
    """Return FaceMesh's landmarks in pictures, 0..1; None where it sees no face."""
    size = pictures.shape[-1]
    found = detect((pictures.movedim(1, -1) * 255).round().byte().numpy())
    return [None if points is None else points / size for points in found]


def _pixels(landmarks: Sequence[Landmarks | None], pictures: Float[Tensor, "k 3 h w"]) -> Float[Tensor, "k 478 2"]:
    """Return the landmarks that were found, in the pictures' pixels."""
    found = [points * pictures.shape[-1] for points in landmarks if points is not None]
    return torch.from_numpy(np.stack(found)).float() if found else torch.zeros(0, 478, 2)
