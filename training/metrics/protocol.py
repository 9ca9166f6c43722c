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
    """The people that the model was trained on."""
    seeds: int = 100
    yaws: tuple[float, ...] = (0.0, 30.0)
    """Degrees."""
    truncation: float = 0.7
    options: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, name: Literal["data", "train_data"], metric: str) -> Path:
        """Return a folder that a metric cannot do without. Raises UsageError if it was not given."""
        folder = self.data if name == "data" else self.train_data
        if folder is None:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"The metric {metric!r} needs people to compare with.", f"Give {option} DIR.")
        return folder


def joined(measured: Sequence[Measured], name: str) -> NDArray[Any]:
    """Return one of the kept arrays of all items, behind each other; items without it are passed over."""
    return np.concatenate([np.atleast_1d(one.values[name]) for one in measured if name in one.values])
