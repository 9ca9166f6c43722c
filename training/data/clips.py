# SPDX-License-Identifier: Apache-2.0
"""Clips, a few frames at a time: those of our records, or folders of frames as PV3D (Xu et al., ICLR 2023) has them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from neural_core.errors import InputError, UsageError

from .labels import labelled_pictures
from .mirroring import mirrored_labels
from .pictures import read_picture
from .records import listed_records
from .skipping import Item, SkippingSet
from .sources import Source, open_source


class ClipSet(SkippingSet):
    """Windows of consecutive frames of all clips.

    Items are `picture` [f, c, size, size] uint8, `label` [f, 25], `time` [f] seconds since the clip began, and `index`.
    A window with a damaged frame is left out. Only names, labels and times are in memory.
    """

    def __init__(
        self,
        path: Path,
        frames: int = 16,
        stride: int = 1,
        hop: int = 1,
        fps: float = 25.0,
        size: int = 0,
        mirror: bool = False,
        limit: int = 0,
    ) -> None:
        """List the clips, and read the first window.

        Args:
            path: a data set of ours with clips, where each camera's view of a clip is one; else a folder or zip with a
                ``dataset.json``, where each folder of pictures is a clip in the order of their names and numbers.
            frames: f, how many frames an item has.
            stride: every how many frames one is taken.
            hop: how many frames after a window the next one begins; `frames * stride` makes them disjoint.
            fps: frames a second, where the data does not say.
            size: width and height that all frames must have; 0 takes the first's.
            mirror: add the mirror images.
            limit: use at most this many clips, the first; 0 uses all.

        Raises:
            UsageError: one of the numbers is below 1.
            InputError: there are no clips of that length, or the first are damaged.
        """
        for name, number in {"frames": frames, "stride": stride, "hop": hop}.items():
            if number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}.")
        self._source = open_source(path)
        span = (frames - 1) * stride + 1
        listed = _recorded(self._source) if (path / "records").is_dir() else _in_folders(self._source, fps)
        clips = [clip for clip in listed.clips if len(clip.names) >= span][: limit or None]
        if not clips:
            longest = max((len(clip.names) for clip in listed.clips), default=0)
            raise InputError(f'No clip in "{path}" has {span} frames.', f"The longest has {longest}.")
        short = tuple(f"{c.name}: only {len(c.names)} frames." for c in listed.clips if len(c.names) < span)
        windows, begin = [], 0
        for clip in clips:
            starts = begin + np.arange(0, len(clip.names) - span + 1, hop)
            windows.append(starts[:, None] + np.arange(0, span, stride))
            begin += len(clip.names)
        window = np.concatenate(windows)
        super().__init__(len(window), listed.left_out + short, mirror)
        self._window, self._names = window, np.concatenate([clip.names for clip in clips])
        self._times = torch.from_numpy(np.concatenate([clip.times for clip in clips]))
        self._labels = torch.from_numpy(np.concatenate([clip.labels for clip in clips]))
        self.size, self.channels = size, 0
        self.channels, self.size = self[0]["picture"].shape[1:3]

    @property
    def labels(self) -> torch.Tensor:
        """[len, f, 25] camera labels of all items, those of damaged ones too."""
        labels = self._labels[self._window]
        return torch.cat([labels, mirrored_labels(labels)]) if self._mirror else labels

    def read(self, place: int) -> Item:
        """Return a window that is not mirrored. Raises InputError if a frame of it is damaged."""
        window = self._window[place]
        frames = [read_picture(self._source, str(name), self.size, self.channels) for name in self._names[window]]
        return {
            "picture": torch.stack(frames),
            "label": self._labels[window],
            "time": self._times[window],
            "index": place,
        }

    def name(self, place: int) -> str:
        """Return the name of a window's first frame."""
        return str(self._names[self._window[place, 0]])


@dataclass(frozen=True)
class _Clip:
    name: str
    names: NDArray[np.str_]
    """[n] of the frames."""
    labels: NDArray[np.float32]
    """[n, 25]."""
    times: NDArray[np.float32]
    """[n] seconds since the first."""


@dataclass(frozen=True)
class _Listed:
    clips: list[_Clip]
    left_out: tuple[str, ...]


def _recorded(source: Source) -> _Listed:
    """Return the clips of our records: of an instant that several cameras see the k-th frame is the k-th camera's."""
    records, left_out = listed_records(source.path, also=("time", "clip"))
    clips = []
    for file, record in records.items():
        names = np.array(record.images)
        for (clip, camera), frames in _by_camera(record.clip, record.time):
            times = (record.time[frames] - record.time[frames[0]]).astype(np.float32)
            clips.append(
                _Clip(f"{file.name}, clip {clip}, camera {camera}", names[frames], record.cameras[frames], times)
            )
    return _Listed(clips, left_out)


def _by_camera(clip: NDArray[np.integer], time: NDArray[np.floating]) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Yield (clip, camera) and its frames in the order of time."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    seen: dict[tuple[int, float], int] = defaultdict(int)
    for frame in np.argsort(time, kind="stable").tolist():
        instant = int(clip[frame]), float(time[frame])
        found[instant[0], seen[instant]].append(frame)
        seen[instant] += 1
    yield from sorted(found.items())


def _in_folders(source: Source, fps: float) -> _Listed:
    """Return a clip for each folder of labelled pictures."""
    listed = labelled_pictures(source)
    if any(name.startswith("records/") for name in source.names()):
        raise InputError(f'The records in "{source.path}" cannot be read from a zip.', "Unpack it.")
    folders: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(listed.names.tolist()):
        folders[str(PurePosixPath(name).parent)].append(place)
    clips = []
    for folder, places in folders.items():
        order = sorted(places, key=lambda place: _natural(str(listed.names[place])))
        times = np.arange(len(order), dtype=np.float32) / np.float32(fps)
        clips.append(_Clip(folder, listed.names[order], listed.labels[order], times))
    return _Listed(clips, listed.left_out)


def _natural(name: str) -> list[str | int]:
    """Return a key that sorts frame_9 before frame_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
