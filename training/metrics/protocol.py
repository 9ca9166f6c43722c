# SPDX-License-Identifier: Apache-2.0
"""How figures are taken: a source makes items one at a time, judges measure each, and sum up what all of them gave.

An item is measured on whichever process it falls to, and only the few numbers that a judge keeps of it travel. So data
sets may be larger than memory, pictures are rendered once for all judges, and processes add up to what one would say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from neural_core.errors import UsageError

from .subject import Subject

FolderName = Literal["data", "train_data", "pictures", "clips", "films"]
"""What a metric may be compared with; "pictures" is training's data, or else the held-out ones."""

Better = Literal["higher", "lower", ""]
"""Which values are better; "" where neither is."""


@dataclass(frozen=True)
class Figure:
    """One number of the report."""

    name: str
    value: float
    unit: str
    better: Better
    count: int
    """How many `of` it was taken from."""
    of: str
    meaning: str
    """What it says beyond the metric's definition; may be empty."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What metrics.json has beside it: plain numbers, lists and text by name."""


@dataclass(frozen=True)
class Case:
    """A picture of one measurement, for the sheet of the worst."""

    badness: float
    """The larger, the worse."""
    picture: NDArray[np.uint8]
    """[h, w, 3] sRGB; the truth to the left, where there is one."""


@dataclass(frozen=True)
class Measured:
    """What a judge keeps of one item: small arrays by name, and pictures that may be shown."""

    values: Mapping[str, NDArray[Any]]
    cases: tuple[Case, ...] = ()


class Judge(Protocol):
    """Measures items of one source."""

    def measure(self, item: Any) -> Measured | None:
        """Return what is to be kept of an item; None if it says nothing."""
        ...

    def figures(self, measured: Sequence[Measured]) -> list[Figure]:
        """Sum up; `measured` comes in the order of the source, without what was None, and is not empty."""
        ...


@dataclass(frozen=True)
class Setting:
    """What the user asked for, as the judges see it."""

    subject: Subject
    data: Path | None = None
    """Held-out people."""
    train_data: Path | None = None
    """The pictures that the model was trained on."""
    clips: Path | None = None
    """Real clips."""
    films: Path | None = None
    """Films with sound that the model made."""
    seeds: int = 100
    """Portraits that are looked at from all sides."""
    yaws: tuple[float, ...] = (0.0, 30.0)
    """These sides, degrees."""
    truncation: float = 0.7
    """Of these portraits."""
    generated: int = 1000
    """Pictures of random people, beside which those of a data set are laid."""

    @property
    def truncated(self) -> str:
        """Return what is to be said of figures of portraits that the papers take of people as they come."""
        return "" if self.truncation == 1 else f"at truncation {self.truncation:g}; the papers truncate nothing"

    @property
    def pictures(self) -> Path | None:
        """Return the data set that random people should look like: where training's is not given, the held-out one."""
        return self.train_data or self.data

    def folder(self, name: FolderName, metric: str) -> Path:
        """Return a folder that a metric cannot do without. Raises UsageError if it was not given."""
        folder: Path | None = getattr(self, name)
        if folder is None:
            raise UsageError(f"The metric {metric!r} needs {_FOLDERS[name]}", f"Give {_OPTIONS[name]} DIR.")
        return folder


_FOLDERS = {
    "data": "held-out people.",
    "train_data": "the people that the model was trained on.",
    "pictures": "a data set to compare with.",
    "clips": "real clips to compare with.",
    "films": "films with sound that the model made.",
}
_OPTIONS = {
    "data": "--data", "train_data": "--train-data", "pictures": "--train-data", "clips": "--clips", "films": "--films",
}  # fmt: skip


def joined(measured: Sequence[Measured], name: str) -> NDArray[Any]:
    """Return one of the kept arrays of all items, behind each other; items without it are passed over."""
    return np.concatenate([np.atleast_1d(one.values[name]) for one in measured if name in one.values])
