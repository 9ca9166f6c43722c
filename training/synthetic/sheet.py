# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of a data set, to look at.

python -m training.synthetic.sheet DATA --rows 8 --columns 8 --out sheet.jpg
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from neural_core.errors import InputError
from training.synthetic.verify import yaw_of

_GREY = (168, 174, 184)


@dataclass(frozen=True)
class Options:
    """Which pictures, and how large."""

    data: tyro.conf.Positional[Path]
    """Folder with a dataset.json."""
    out: Path
    """The picture to write, for example a .jpg."""
    rows: int = 8
    """Pictures down."""
    columns: int = 8
    """Pictures across."""
    tile: int = 160
    """Side of each picture in pixels."""
    every: int = 1
    """Take every n-th picture of the data set."""
    first: int = 0
    """The first one."""
    by_yaw: bool = False
    """Put the pictures of each row in order, from the subject's right side to the left one."""


def sheet(options: Options) -> Image.Image:
    """The pictures of a data set side by side, in the order of its dataset.json; transparent ones over grey.

    Raises:
        InputError: there is no data set, or it has fewer pictures.
    """
    file = options.data / "dataset.json"
    try:
        labels = json.loads(file.read_text())["labels"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{file} is no EG3D data set.", "Make one: python -m training.synthesize portraits."
        ) from error
    count = options.rows * options.columns
    labels = labels[options.first :: options.every][:count]
    if len(labels) < count:
        raise InputError(f"{options.data} has {len(labels)} pictures for {count} places.", "Ask for fewer rows.")
    if options.by_yaw:
        yaw = yaw_of(np.array([label for _, label in labels]))
        rows = np.repeat(np.arange(options.rows), options.columns)
        labels = [labels[place] for place in np.lexsort((yaw, rows))]
    side = options.tile
    whole = Image.new("RGB", (options.columns * side, options.rows * side), _GREY)
    for place, (name, _) in enumerate(labels):
        with Image.open(options.data / name) as picture:
            small = picture.convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
        whole.paste(small, (place % options.columns * side, place // options.columns * side), small)
    return whole


def main() -> int:
    """Write the sheet."""
    options = tyro.cli(Options, prog="training.synthetic.sheet")
    sheet(options).save(options.out, quality=88)
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
