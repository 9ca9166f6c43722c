# SPDX-License-Identifier: Apache-2.0
"""The layout of a data set: EG3D's, with a record of ours per person beside it.

    dataset.json              {"labels": [["00000/img000003_0001.png", [25 numbers]], ...]}
    00000/img000003_0001.png  picture 1 of person (or captured file) 3
    records/000003.npz        everything else that is known of its pictures (``neural_core/records.py``)

A person exists once the record does, and it is written last and renamed into place: a killed run leaves no half person.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

from neural_core.errors import InputError
from neural_core.files import write_bytes
from neural_core.records import Record

_PEOPLE_PER_FOLDER = 100
_HALF_WRITTEN = re.compile(r"\..+\.\d+\.part(\.(png|npz|json))?")
"""What ``files.replacing`` calls a file until it is complete."""


def record_file(root: Path, index: int) -> Path:
    """The record of a person."""
    return root / "records" / f"{index:06d}.npz"


def image_name(index: int, number: int) -> str:
    """Name of a picture relative to the data set."""
    return f"{index // _PEOPLE_PER_FOLDER:05d}/img{index:06d}_{number:04d}.png"


def record_files(root: Path) -> list[Path]:
    """The records of all people that are complete, in rising order."""
    return sorted((root / "records").glob("[0-9]*.npz"))


def finished_people(root: Path) -> list[int]:
    """Indices of the people that are complete, in rising order."""
    return [int(file.stem) for file in record_files(root)]


def write_dataset_json(root: Path) -> int:
    """Write ``dataset.json`` over all finished people; how many pictures it lists.

    A damaged record is left out and named on standard error. Raises PortraitError if the file cannot be written.
    """
    labels = []
    for file in record_files(root):
        try:
            names, cameras = Record.names_and_cameras(file)
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        labels += [[name, camera] for name, camera in zip(names, cameras.tolist(), strict=True)]
    write_bytes(root / "dataset.json", json.dumps({"labels": labels}).encode())
    return len(labels)


def forget_person(root: Path, index: int) -> None:
    """Delete a person: the record first, so that at no time it names pictures that are gone."""
    record_file(root, index).unlink(missing_ok=True)
    for picture in (root / image_name(index, 0)).parent.glob(f"img{index:06d}_*.png"):
        picture.unlink(missing_ok=True)


def clear_leftovers(root: Path) -> None:
    """Delete the half-written files of a killed run, where a run writes; hidden files of others stay.

    Those of a run that is still going on look the same: its write of that moment would fail. Run one at a time.
    """
    for folder in (root, root / "records", *root.glob("[0-9][0-9][0-9][0-9][0-9]")):
        for partial in folder.glob(".*"):
            if _HALF_WRITTEN.fullmatch(partial.name) and partial.is_file():
                partial.unlink(missing_ok=True)


def checksum(root: Path) -> str:
    """SHA-256 over names and content of all files of a data set, in the order of their names.

    Raises:
        InputError: There is no data set.
    """
    if not (root / "dataset.json").is_file():
        raise InputError(f"There is no data set in {root}.", "It would have a dataset.json.")
    total = hashlib.sha256()
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    for name in sorted(files):
        if not any(part.startswith(".") for part in name.split("/")):
            total.update(f"{name}\0{hashlib.sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
