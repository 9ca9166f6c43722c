# SPDX-License-Identifier: Apache-2.0
"""Pictures with camera labels: EG3D's data sets (Chan et al., CVPR 2022, section 4.2 and the supplement), and ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from neural_core.errors import InputError

from .labels import labelled_pictures
from .mirroring import mirrored_labels
from .skipping import Item, SkippingSet
from .sources import Source, open_source


class PictureSet(SkippingSet):
    """The pictures of a folder or a zip in EG3D's layout: ``dataset.json``, and pictures in folders of any depth.

    Items are `picture` [c, size, size] uint8 (sRGB; a fourth channel is straight alpha), `label` [25] and `index`. Only
    names and labels are in memory.
    """

    def __init__(self, path: Path, size: int = 0, mirror: bool = False, limit: int = 0) -> None:
        """List the pictures, and open the first.

        Args:
            path: folder or zip; a data set of `training.synthesize` or `training.prepare`, or one of EG3D's.
            size: width and height that all pictures must have; 0 takes the first picture's.
            mirror: add the mirror images. Published data sets often have them as files of their own already.
            limit: use at most this many pictures, the first by name; 0 uses all.

        Raises:
            InputError: there are no pictures or labels, or the first pictures are damaged or not of that size.
        """
        self._source = open_source(path)
        listed = labelled_pictures(self._source)
        count = min(limit, len(listed.names)) if limit else len(listed.names)
        super().__init__(count, listed.left_out, mirror)
        self._names = listed.names[:count]
        labels = torch.from_numpy(listed.labels[:count])
        self.labels = torch.cat([labels, mirrored_labels(labels)]) if mirror else labels
        """[len, 25] camera labels of all items, those of damaged ones too."""
        self.size, self.channels = size, 0
        self.channels, self.size, _ = self[0]["picture"].shape

    def read(self, place: int) -> Item:
        """Return a picture that is not mirrored. Raises InputError if it is damaged or of another kind."""
        picture = read_picture(self._source, self.name(place), self.size, self.channels)
        return {"picture": picture, "label": self.labels[place], "index": place}

    def name(self, place: int) -> str:
        """Return a picture's name in the data set."""
        return str(self._names[place])


def read_picture(source: Source, name: str, size: int = 0, channels: int = 0) -> Tensor:
    """Return a picture of a data set, [channels, size, size] uint8.

    A picture without alpha gets an opaque one where others have it.

    Args:
        source: where it is.
        name: in the source.
        size: width and height that it must have; 0 allows any square.
        channels: 3, 4, or 0 for those of the file.

    Raises:
        InputError: it is damaged, has another size, or is transparent where no alpha is wanted.
    """
    from neural_core import media  # here, so that a recipe can be looked at where imageio is missing

    picture = media.decode_picture(source.read(name), name)
    height, width = picture.shape[:2]
    if height != (size or width) or width != (size or height):
        wanted = f"{size} x {size}" if size else "a square"
        raise InputError(f'"{name}" has {width} x {height} pixels, not {wanted}.', "All pictures need the same size.")
    if channels == 4 and picture.shape[2] == 3:
        picture = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    if channels == 3 and picture.shape[2] == 4:
        if picture[..., 3].min() < 255:
            raise InputError(f'"{name}" is transparent in parts, others are not.', "Lay it over a background.")
        picture = picture[..., :3]
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def averaged_down(picture: UInt8[Tensor, "c h w"], size: int) -> UInt8[Tensor, "c size size"]:
    """Return a picture of which each square of pixels became one, colours by what they cover.

    Args:
        picture: a fourth channel is straight alpha.
        size: width and height; a divisor of the picture's.
    """
    if picture.shape[-1] == size:
        return picture
    alpha = picture[3:].double() if len(picture) == 4 else torch.ones_like(picture[:1], dtype=torch.float64)
    covered = F.adaptive_avg_pool2d(alpha, size)
    colour = F.adaptive_avg_pool2d(picture[:3].double() * alpha, size) / covered.clamp(min=1e-6)
    return torch.cat([colour, covered])[: len(picture)].round().to(torch.uint8)
