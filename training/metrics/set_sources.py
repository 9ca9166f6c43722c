# SPDX-License-Identifier: Apache-2.0
"""Sources beside people: random seeds seen as a data set's cameras see its people, its pictures and clips; and films.

Seeds are not truncated, as in the papers: truncation makes portraits nicer and the set poorer.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neural_core.errors import InputError
from neural_core.media import is_clip

from ..data.clips import ClipSet
from ..data.pictures import PictureSet
from .pictures import over_grey
from .subject import Subject

FRAMES = 16
"""Of a clip (PV3D, appendix A.4)."""


class GeneratedPictures:
    """Item i is the i-th real picture, while there are any, and seed i, while as many are wanted."""

    what = "pictures"

    def __init__(self, subject: Subject, folder: Path, count: int) -> None:
        """Open the data set. Raises InputError if it cannot be read."""
        self.subject, self.count, self.real = subject, count, PictureSet(folder)
        generator = torch.Generator().manual_seed(0)
        self._cameras = torch.randint(len(self.real), (count,), generator=generator)

    def __len__(self) -> int:
        return max(self.count, len(self.real))

    def __getitem__(self, index: int) -> Generated:
        return Generated(self, index)

    def label(self, index: int) -> Float[Tensor, "1 25"]:
        """Return the camera of a seed: that of a real picture, drawn at random."""
        place = int(self._cameras[index])
        return self.real.labels[place : place + 1]


class Generated:
    """A seed's picture and a real one."""

    def __init__(self, source: GeneratedPictures, index: int) -> None:
        self._source, self.index = source, index
        self.features: dict[str, NDArray] = {}
        """What judges found of `pictures`, for the next one."""

    def pictures(self) -> dict[str, Float[Tensor, "3 h w"]]:
        """Return "generated" and "real", 0..1, over grey if the data have alpha; or one, if the other has no more."""
        source, found = self._source, {}
        if self.index < source.count:
            found["generated"] = self._generated
        if self.index < len(source.real):
            found["real"] = self._real
        return found

    @cached_property
    def _generated(self) -> Float[Tensor, "3 h w"]:
        source = self._source
        alike = (source.real.channels, source.real.size)
        return random_person(source.subject, self.index, source.label(self.index), *alike)[0]

    @cached_property
    def _real(self) -> Float[Tensor, "3 h w"]:
        return real_pictures(self._source.real.read(self.index)["picture"][None], self._source.subject.size)[0]


class GeneratedClips:
    """Item i is the i-th real clip, and seed i seen by the same cameras, one after the other."""

    what = "clips"

    def __init__(self, subject: Subject, folder: Path) -> None:
        """Open the data set. Raises InputError if it has no clips."""
        self.subject, self.real = subject, ClipSet(folder, FRAMES, hop=FRAMES)

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, index: int) -> GeneratedClip:
        return GeneratedClip(self, index)


class GeneratedClip:
    """A seed's clip and a real one, [f, 3, h, w] in 0..1; over grey if the real one has alpha."""

    def __init__(self, source: GeneratedClips, index: int) -> None:
        item, subject = source.real.read(index), source.subject
        self.real = real_pictures(item["picture"], subject.size)
        channels, size = item["picture"].shape[1:3]
        self.generated = random_person(subject, index, item["label"], channels, size)


class Films:
    """The films of a folder; an item is a path."""

    what = "films"

    def __init__(self, folder: Path) -> None:
        """List them. Raises InputError if there are none."""
        self.files = sorted(path for path in folder.glob("*") if is_clip(path))
        if not self.files:
            raise InputError(f"There are no films in {folder}.", "MP4, MOV and WebM files work.")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Path:
        return self.files[index]


def random_person(
    subject: Subject, seed: int, labels: Float[Tensor, "n 25"], channels: int, size: int
) -> Float[Tensor, "n 3 s s"]:
    """Return a seed's pictures, 0..1, as a data set shows people.

    Args:
        subject: the model.
        seed: of the person.
        labels: the cameras.
        channels: of the data's pictures: 4 have alpha and lie over grey; 3 bring their background, as the model does.
        size: width and height of the data's pictures; larger ones are averaged down to it.
    """
    _, person = subject.of_seed(seed, truncation=1.0)
    pictures = subject.see(person, subject.in_head_space(labels), grey=channels == 4).views.picture
    return F.adaptive_avg_pool2d(pictures, size) if pictures.shape[-1] > size else pictures


def real_pictures(pictures: Tensor, size: int) -> Float[Tensor, "n 3 s s"]:
    """Return a data set's pictures [n, 3 or 4, h, w] uint8 over grey, 0..1, averaged down if they are larger."""
    colour = pictures[:, :3].float() / 255
    if pictures.shape[1] == 4:
        alpha = pictures[:, 3:].float() / 255
        colour = over_grey(colour * alpha, alpha)
    return F.adaptive_avg_pool2d(colour, size) if colour.shape[-1] > size else colour
