# SPDX-License-Identifier: Apache-2.0
"""Do the labels of a data set agree with a network that we did not train, and with each other?

    python -m training.synthesize verify DIR
    python -m training.synthesize verify OTHER_PEOPLE --choose

*FaceMesh*: of all pictures with at most 30 degrees of yaw, how many does MediaPipe find a face in, and how far are its
landmarks from ours, in distances between the eyes? Only over ``COMPARED``: the two meshes do not mean the same place by
every index, and where they do was decided beforehand, on other people (``--choose`` prints it).

*Depth*: at every visible landmark with no hair or glasses near it, the depth that the 2 x 2 pixels around it see,
unprojected along the landmark's ray, should hold the landmark, to within one pixel's footprint. Interpolated between
the four it is further away where the surface has an edge between them (lips over teeth, the chin over the neck); that
is given, too, and how many landmarks would pass if all were two pixels too deep.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from neural_core import media
from neural_core.capture.detect import available, face_landmarks
from neural_core.errors import InputError, UsageError
from neural_core.files import write_bytes
from neural_core.human.landmarks import eye_distance
from neural_core.records import GLASSES, HAIR, HEAD_TO_MODEL, Record
from training.data.folders import record_files
from training.synthetic.compared_landmarks import COMPARED

_GREY = (168, 174, 184)
_ENLARGED = 512  # FaceMesh is fed this size
_AGREEING = 0.06  # of the distance between the eyes: indices with a smaller median error are compared


@dataclass(frozen=True)
class Options:
    """Check the labels of rendered people against FaceMesh and against each other."""

    data: tyro.conf.Positional[Path]
    """Folder of the data set."""
    max_yaw: float = 30.0
    """Pictures from further aside, and close-ups, are not shown to FaceMesh."""
    limit: int = 0
    """Show at most this many pictures to FaceMesh; 0 shows all."""
    choose: bool = False
    """Print the indices whose median error is below 6 %, for ``compared_landmarks.py``; use people that are not
    checked afterwards."""
    out: Path | None = None
    """Write the figures there, as JSON."""
    json: bool = False
    """Print the figures as one line of JSON at the end."""


@dataclass(frozen=True)
class Agreement:
    """What FaceMesh says; distances in distances between the eyes."""

    pictures: int
    found: float
    """Share of the pictures with a face."""
    compared_landmarks: int
    mean: float
    """Mean over the pictures of the mean over the compared landmarks."""
    median: float
    worst_twentieth: float
    """95th percentile over the pictures."""


@dataclass(frozen=True)
class Depths:
    """How far unprojected depth is from the landmarks, in footprints of a pixel unless said."""

    landmarks: int
    within_a_pixel: float
    """Share that the 2 x 2 pixels around hold, to within one footprint."""
    interpolated_within_a_pixel: float
    """Share within one footprint of the depth interpolated between the four."""
    interpolated_median: float
    interpolated_median_mm: float
    within_if_two_pixels_deeper: float
    """What the first share would be if the labels were wrong by so much."""


@dataclass(frozen=True)
class DepthErrors:
    """The same for each usable landmark [n]; what is behind the surface is positive."""

    held: NDArray[np.float64]
    """Footprints outside of what the four pixels see; 0 inside."""
    interpolated: NDArray[np.float64]
    """Footprints from the interpolated depth."""
    footprint: NDArray[np.float64]
    """Model units."""


def yaw_of(cameras: NDArray) -> NDArray[np.float64]:
    """Degrees [n] that cameras [n, 25] stand to the side of the face, positive towards the subject's left."""
    outwards = -cameras[:, :16].reshape(-1, 4, 4)[:, :3, 2]
    return np.degrees(np.arctan2(outwards[:, 0], outwards[:, 2]))


def landmark_errors(found: NDArray, ours: NDArray) -> NDArray[np.float64]:
    """Distance [478] between two sets of landmarks [478, 2], in distances between our eyes."""
    return np.linalg.norm(found - ours, axis=1) / eye_distance(ours)


def facemesh_errors(data: Path, max_yaw: float, limit: int = 0) -> list[NDArray[np.float64] | None]:
    """Errors [478] of FaceMesh in each picture, None where it found no face."""
    pictures, ours = [], []
    for record in _records(data):
        usual = np.abs(yaw_of(record.cameras)) <= max_yaw
        usual &= ~record.close_up
        for frame in np.flatnonzero(usual):
            if not limit or len(pictures) < limit:
                pictures.append(data / record.images[frame])
                ours.append(record.points_478[frame])
    errors = []
    for start in range(0, len(pictures), 64):
        found = face_landmarks(np.stack([enlarged(path) for path in pictures[start : start + 64]]))
        errors += [
            None if points is None else landmark_errors(points, label)
            for points, label in zip(found, ours[start : start + 64], strict=True)
        ]
    return errors


def agreement(errors: list[NDArray[np.float64] | None], compared: tuple[int, ...] = COMPARED) -> Agreement:
    """Sum up what ``facemesh_errors`` found. Raises InputError if there is nothing."""
    seen = [error[list(compared)].mean() for error in errors if error is not None]
    if not seen:
        raise InputError("There is no picture in which FaceMesh finds a face.", "Is it a data set of heads?")
    return Agreement(
        pictures=len(errors),
        found=len(seen) / len(errors),
        compared_landmarks=len(compared),
        mean=float(np.mean(seen)),
        median=float(np.median(seen)),
        worst_twentieth=float(np.percentile(seen, 95)),
    )


def chosen(errors: list[NDArray[np.float64] | None]) -> tuple[int, ...]:
    """The indices on whose meaning FaceMesh and the face model agree: small median error over some people."""
    median = np.median([error for error in errors if error is not None], axis=0)
    return tuple(int(index) for index in np.flatnonzero(median < _AGREEING))


def depth_errors(record: Record, deeper: float = 0.0) -> DepthErrors:
    """Compare depth with the usable landmarks of a record, these moved ``deeper`` by so many footprints."""
    found = []
    size = record.depth.shape[-1]
    for frame, label in enumerate(record.cameras.astype(np.float64)):
        origin, focal = label[[3, 7, 11]], label[16]
        from_camera = record.landmarks_478[frame] * HEAD_TO_MODEL - origin
        footprint = from_camera @ label[[2, 6, 10]] / (focal * size)
        away = np.linalg.norm(from_camera, axis=1) + deeper * footprint
        row, column, weights = _around(record.points_478[frame], size)
        inside = ((np.minimum(row, column) >= 0) & (np.maximum(row, column) < size)).all(1)
        row, column = np.clip(row, 0, size - 1), np.clip(column, 0, size - 1)
        depth = record.depth[frame][row, column].astype(np.float64)
        covered = np.isin(record.regions[frame][row, column], (HAIR, GLASSES)).any(1)
        usable = record.visible[frame] & inside & ~covered & (depth > 0).all(1)
        held = np.maximum(away - depth.max(1), 0) - np.maximum(depth.min(1) - away, 0)
        apart = away - (depth * weights).sum(1)
        found.append(np.stack([held / footprint, apart / footprint, footprint])[:, usable])
    return DepthErrors(*np.concatenate(found, 1))


def depths(data: Path) -> Depths:
    """Sum up ``depth_errors`` over a data set. Raises InputError if it has no depth."""
    records = [record for record in _records(data) if len(record.depth) and len(record.regions)]
    if not records:
        raise InputError(f"{data} has no depth and regions to check.", "Rendered people have both.")
    errors = [depth_errors(record) for record in records]
    held, interpolated, footprint = (
        np.concatenate([np.abs(getattr(e, name)) for e in errors]) for name in ("held", "interpolated", "footprint")
    )
    wrong = np.concatenate([np.abs(depth_errors(record, deeper=2.0).held) for record in records])
    return Depths(
        landmarks=len(held),
        within_a_pixel=float((held <= 1).mean()),
        interpolated_within_a_pixel=float((interpolated <= 1).mean()),
        interpolated_median=float(np.median(interpolated)),
        interpolated_median_mm=float(np.median(interpolated * footprint)) / HEAD_TO_MODEL * 1000,
        within_if_two_pixels_deeper=float((wrong <= 1).mean()),
    )


def _records(data: Path) -> Iterator[Record]:
    files = record_files(data)
    if not files:
        raise InputError(f"There are no people in {data}.", "Make some: python -m training.synthesize portraits.")
    for file in files:
        yield Record.load(file)


def enlarged(path: Path) -> NDArray[np.uint8]:
    """The picture [512, 512, 3], transparent ones over grey: as large as FaceMesh likes it."""
    picture = media.read_picture(path)
    flat = media.over(picture, _GREY) if picture.shape[2] == 4 else picture
    return np.asarray(Image.fromarray(flat).resize((_ENLARGED, _ENLARGED), Image.Resampling.BICUBIC))


def _around(points: NDArray, size: int) -> tuple[NDArray, NDArray, NDArray]:
    """The 2 x 2 pixels whose centres surround points [n, 2]: rows and columns [n, 4] (unclipped), weights [n, 4]."""
    place = points.astype(np.float64) * size - 0.5
    low = np.floor(place).astype(int)
    column, row = (low[:, axis, None] + offsets for axis, offsets in ((0, [0, 1, 0, 1]), (1, [0, 0, 1, 1])))
    right, down = (place - low).T
    weights = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], 1)
    return row, column, weights


def main(arguments: list[str]) -> int:
    """Command line: 0 whatever the figures are; errors are raised as PortraitError."""
    options = tyro.cli(Options, args=arguments, prog="training.synthesize verify", description=__doc__)
    if not available():
        raise UsageError("FaceMesh needs mediapipe.", "Install it: pip install 'neural-portrait[capture]'.")
    errors = facemesh_errors(options.data, options.max_yaw, options.limit)
    if options.choose:
        print(chosen(errors))
        return 0
    figures = {"facemesh": asdict(agreement(errors)), "depth": asdict(depths(options.data))}
    for part, values in figures.items():
        for name, value in values.items():
            print(f"{part:9} {name.replace('_', ' '):20} {value:10.4f}" if isinstance(value, float) else
                  f"{part:9} {name.replace('_', ' '):20} {value:10d}")  # fmt: skip
    if options.out is not None:
        write_bytes(options.out, (json.dumps(figures, indent=1) + "\n").encode())
    if options.json:
        print(json.dumps(figures))
    return 0
