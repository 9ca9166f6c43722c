# SPDX-License-Identifier: Apache-2.0
"""Single pictures of people who do something, with all that drives them: what animatable models are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from neural_core.errors import InputError

from .pictures import averaged_down
from .records import RecordSet

_READ = ("actions", "joints", "driver")
_KEPT = ("actions", "joints", "shape")


class InstantSet(Dataset[dict[str, Any]]):
    """The frames of our records, one by one.

    Items are `picture` [c, size, size] uint8 (a fourth channel is straight alpha), `label` [25], `actions` [52],
    `joints` [10, 3], `driver` [3, h, w] uint8 (the driving mesh), `index` and `person`.
    """

    def __init__(self, path: Path, size: int = 0, mirror: bool = False, limit: int = 0) -> None:
        """List the frames, and read the first.

        Args:
            path: a data set of `training.synthesize portraits` or `training.prepare`.
            size: width and height of the items' pictures, to which larger ones are averaged down; 0 takes the first's.
            mirror: add the mirror images.
            limit: use at most this many people, the first; 0 uses all.

        Raises:
            InputError: there are no such records, the first are damaged, or pictures are no multiple of the size.
        """
        self._records = RecordSet(path, 1, _READ, limit=limit, mirror=mirror, keep=_KEPT)
        self.size = size or self._records.size
        """Width and height of the pictures."""
        if self._records.size % self.size:
            raise InputError(
                f'Pictures in "{path}" have {self._records.size} pixels a side, which is no multiple of {self.size}.',
                "Render others: python -m training.synthesize portraits --size.",
            )
        self.driver_size: int = self[0]["driver"].shape[-1]
        """Width and height of the driving meshes' pictures."""

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item. Raises InputError if a hundred in a row, or all, are damaged."""
        item = self._records[index]
        item = {name: value[0] if isinstance(value, Tensor) else value for name, value in item.items()}
        return {**item, "picture": averaged_down(item["picture"], self.size)}

    @property
    def labels(self) -> Tensor:
        """Return the camera labels [n, 25] of all items, those of damaged ones too."""
        return self._records.labels[:, 0]

    @property
    def actions(self) -> Tensor:
        """Return their facial actions [n, 52]."""
        return self._records.kept["actions"][:, 0]

    @property
    def joints(self) -> Tensor:
        """Return their joints' rotations [n, 10, 3]."""
        return self._records.kept["joints"][:, 0]

    @property
    def shapes(self) -> Tensor:
        """Return the face model's coefficients [n, 40] of the people in them."""
        return self._records.kept["shape"]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Return a sentence about everything that is left out, as far as it is known by now."""
        return self._records.skipped
