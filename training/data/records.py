# SPDX-License-Identifier: Apache-2.0
"""Our records, a few frames of a person at a time: pictures, cameras, and whatever else a recipe asks for by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neural_core.errors import InputError, UsageError
from neural_core.records import MASKS, Record

from .folders import record_files
from .mirroring import check_mirrored, mirrored
from .pictures import read_picture
from .skipping import Item, SkippingSet
from .sources import FolderSource

_ARRAYS = {field.name for field in dataclasses.fields(Record)} - {"images", "cameras", "source"}
_OF_THE_PERSON = ("shape", "z")
_IN_COLOUR = ("pncc", "driver", "background")
_ROWS = {"actions": (52,), "joints": (10, 3), "time": (), "clip": (), "shape": (40,)}
"""Shapes of a frame, or of the person, in the arrays that are small enough to be kept in memory of everybody."""


class RecordSet(SkippingSet):
    """The people of a data set folder of ours (`training.synthesize portraits`, `training.prepare`).

    An item is v frames of a person: one block of the record after the other, the last filled up from the first. It has

        picture [v, c, size, size] uint8, label [v, 25], index, and person, the number in the record's name;
        every array that was asked for (`neural_core/records.py`), of these frames: actions [v, 52], depth [v, h, w],
            pncc [v, 3, h, w]...; `z` and `shape` are the person's and have no axis v;
        every mask that was asked for: mask_head [v, h, w] bool...

    Only names, cameras and what is `kept` are in memory. To read an array of a few frames all frames of a record are
    unpacked.
    """

    def __init__(
        self,
        path: Path,
        views: int = 1,
        arrays: Iterable[str] = (),
        masks: Iterable[str] = (),
        size: int = 0,
        limit: int = 0,
        mirror: bool = False,
        keep: Iterable[str] = (),
    ) -> None:
        """List the frames of all records, and read the first item.

        Args:
            path: the folder.
            views: how many frames an item has.
            arrays: names of the record's arrays to read.
            masks: names of `records.MASKS` to make.
            size: width and height that all pictures must have; 0 takes the first picture's.
            limit: use at most this many people, the first; 0 uses all.
            mirror: add the mirror images.
            keep: arrays of all items that are wanted in memory, beside their cameras: actions, joints, time, clip,
                shape. Records that say nothing of them are left out.

        Raises:
            UsageError: there is no array or mask of that name, or one of the arrays cannot be mirrored.
            InputError: there are no records, or the first are damaged or lack what was asked for.
        """
        self._arrays, self._masks = tuple(arrays), tuple(masks)
        _check_names("array", self._arrays, _ARRAYS)
        _check_names("mask", self._masks, MASKS)
        keep = tuple(keep)
        if mirror:
            check_mirrored(self._arrays)
        self._source = FolderSource(path)
        people, left_out = listed_records(path, also=keep, limit=limit)
        counts = np.array([len(record) for record in people.values()])
        blocks = [(k, first) for k, count in enumerate(counts) for first in range(0, count, views)]
        super().__init__(len(blocks), left_out, mirror)
        self._files = np.array([str(file) for file in people])
        self._person, first = np.array(blocks).T
        self._frames = (first[:, None] + np.arange(views)) % counts[self._person, None]
        everywhere = self._frames + (counts.cumsum() - counts)[self._person, None]
        self._names = np.concatenate([record.images for record in people.values()])[everywhere]

        def table(name: str) -> Tensor:
            values = [getattr(record, name) for record in people.values()]
            found = np.stack(values)[self._person] if name in _OF_THE_PERSON else np.concatenate(values)[everywhere]
            return torch.from_numpy(found)

        tables = {"label": table("cameras"), **{name: table(name) for name in keep}}
        if mirror:
            tables = {name: torch.cat([value, mirrored({name: value})[name]]) for name, value in tables.items()}
        self.labels = tables.pop("label")
        """[len, v, 25] camera labels of all items, those of damaged ones too."""
        self.kept = tables
        """Arrays [len, v, ...] of all items likewise ([len, 40] for shapes), by the names that were asked for."""
        self.size, self.channels = size, 0
        self._shapes: dict[str, torch.Size] = {}
        item = self[0]
        self.channels, self.size = item["picture"].shape[1:3]
        self._shapes = {name: value.shape for name, value in item.items() if isinstance(value, Tensor)}

    def read(self, place: int) -> Item:
        """Return an item. Raises InputError if a file of it is damaged, or says nothing of what was asked for."""
        file = Path(str(self._files[self._person[place]]))
        pictures = [read_picture(self._source, str(name), self.size, self.channels) for name in self._names[place]]
        item: Item = {"picture": torch.stack(pictures), "label": self.labels[place], "index": place}
        item["person"] = int(file.stem)
        for name, value in self._read_arrays(file, self._frames[place]).items():
            item[name] = torch.from_numpy(np.ascontiguousarray(value))
            if item[name].shape != self._shapes.get(name, item[name].shape):
                raise InputError(f'"{name}" in {file} has another shape than in other records.')
        return item

    def name(self, place: int) -> str:
        """Return the name of an item's first picture."""
        return str(self._names[place][0])

    def _read_arrays(self, file: Path, frames: NDArray[np.integer]) -> dict[str, NDArray[Any]]:
        """Return what was asked for of some frames."""
        record = Record.load(file, only={*self._arrays, *(["regions"] if self._masks else [])})
        found = {}
        for name in self._arrays:
            array = _known(record, name, file)
            array = array.astype(np.float32) if array.dtype.kind == "f" else array
            array = array if name in _OF_THE_PERSON else array[frames]
            found[name] = np.moveaxis(array, -1, 1) if name in _IN_COLOUR else array
        for name in self._masks:
            found[f"mask_{name}"] = np.isin(_known(record, "regions", file)[frames], MASKS[name])
        return found


def _known(record: Record, name: str, file: Path) -> NDArray[Any]:
    """Return an array. Raises InputError if the record says nothing of it, or not of all frames."""
    array = getattr(record, name)
    if not len(array):
        raise InputError(f'{file} says nothing of "{name}".', "Leave such records out, or make them anew.")
    if name not in _OF_THE_PERSON and len(array) != len(record):
        raise InputError(f'{file} is no portrait record ("{name}" has another number of frames).', "Make it again.")
    return array


def listed_records(
    path: Path, also: Collection[str] = (), limit: int = 0
) -> tuple[dict[Path, Record], tuple[str, ...]]:
    """Return the records of a data set folder with their cameras alone, and a sentence about each that is damaged.

    Args:
        path: the folder.
        also: arrays to read, too: actions, joints, time, clip, shape.
        limit: at most this many; 0 lists all.

    Raises:
        InputError: there is no record that can be read.
    """
    listed: dict[Path, Record] = {}
    left_out: list[str] = []
    for file in record_files(path):
        if limit and len(listed) == limit:
            break
        try:
            record = Record.load(file, only=("cameras", *also))
            if not len(record) or record.cameras.shape != (len(record), 25):
                raise InputError(f"{file} is no portrait record ({len(record)} pictures).", "Make it again.")
            for name in also:
                array = _known(record, name, file)
                if (array.shape if name in _OF_THE_PERSON else array.shape[1:]) != _ROWS[name]:
                    raise InputError(f'{file} is no portrait record ("{name}" has another shape).', "Make it again.")
        except InputError as error:
            left_out.append(str(error))
        else:
            listed[file] = record
    if not listed:
        reason = f"{len(left_out)} were left out, the first being: {left_out[0]} " if left_out else ""
        raise InputError(
            f'There are no records of people in "{path}".',
            f"{reason}Make some: python -m training.synthesize portraits --out DIR.",
        )
    return listed, tuple(left_out)


def _check_names(kind: str, asked: Iterable[str], there: Iterable[str]) -> None:
    for name in asked:
        if name not in there:
            raise UsageError(f'Records have no {kind} "{name}".', f"There are {', '.join(sorted(there))}.")
