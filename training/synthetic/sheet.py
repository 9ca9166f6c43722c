# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of a data set, to look at.

python -m training.synthetic.sheet DATA --rows 8 --columns 8 --out sheet.jpg
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from PIL import Image

from neural_core.errors import InputError

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


def sheet(options: Options) -> Image.Image:
    """The pictures of a data set side by side, in the order of its dataset.json; transparent ones over grey.

    Raises:
        InputError: there is no data set, or it has fewer pictures.
    """
    file = options.data / "dataset.json"
    try:
        names = [name for name, _ in json.loads(file.read_text())["labels"]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{file} is no EG3D data set.", "Make one: python -m training.synthesize portraits."
        ) from error
    count = options.rows * options.columns
    names = names[options.first :: options.every][:count]
    if len(names) < count:
        raise InputError(f"{options.data} has {len(names)} pictures for {count} places.", "Ask for fewer rows.")
    side = options.tile
    whole = Image.new("RGB", (options.columns * side, options.rows * side), _GREY)
    for place, name in enumerate(names):
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
