# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: every tile is the picture that belongs there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_core.errors import InputError
from training.synthetic.sheet import Options, sheet
from training.synthetic.views import framed

YAWS = (40.0, -10.0, 5.0, -60.0, 0.0, 20.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six grey pictures, ten times brighter each."""
    labels = []
    for number, yaw in enumerate(YAWS):
        Image.new("RGB", (8, 8), (10 * number + 10,) * 3).save(tmp_path / f"{number}.png")
        labels.append([f"{number}.png", framed(yaw, 0.0).label().tolist()])
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    return tmp_path


def tiles(data: Path, **options: object) -> list[int]:
    chosen = Options(data, Path("unused.png"), **{"rows": 2, "columns": 3, "tile": 4, **options})  # pyright: ignore
    whole = np.asarray(sheet(chosen))[..., 0]
    return [int(whole[4 * row + 2, 4 * column + 2]) // 10 - 1 for row in range(2) for column in range(3)]


def test_pictures_stand_in_the_order_of_the_data(data: Path) -> None:
    assert tiles(data) == [0, 1, 2, 3, 4, 5]


def test_rows_are_ordered_by_yaw(data: Path) -> None:
    assert tiles(data, by_yaw=True) == [1, 2, 0, 3, 4, 5]


def test_transparent_pictures_stand_before_grey(data: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(data / "0.png")
    assert tiles(data)[0] == 168 // 10 - 1


def test_too_few_pictures_are_a_sentence(data: Path) -> None:
    with pytest.raises(InputError, match="5 pictures for 6 places"):
        tiles(data, first=1)


def test_no_data_set_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no EG3D data set"):
        tiles(tmp_path)
