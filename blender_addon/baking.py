# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking: the network draws the frames of a range that are missing or out of date, and each goes to disk at once.

What a frame shows is known before (`scene/instants.py`), so that work in the background does not touch the scene. A
frame that lies on disk under the right key is never drawn again, whoever drew it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from . import backgrounds, pictures, png, tasks
from .frame_record import FrameRecord
from .neural_core import errors, files
from .picture_key import picture_key
from .scene import baked, find, instants

SIZES = {"DRAFT": 128, "PREVIEW": 256}
"""Sides of the pictures of a quality in pixels; FULL is as large as the panel says."""


@dataclass(frozen=True)
class Frame:
    """A frame of the range: what it shows, the key of that, of what the engine draws for it, and its file."""

    instant: instants.Instant
    key: str
    drawn_key: str
    path: Path


@dataclass(frozen=True)
class Plan:
    """All frames of a range for one portrait, in order; those that have to be drawn are `missing`."""

    portrait: str
    folder: Path
    size: int
    range: Sequence[int]
    frames: tuple[Frame, ...]
    missing: tuple[Frame, ...]
    stale: int
    """How many of the missing are there, but show something else."""

    @property
    def instants(self) -> list[instants.Instant]:
        """What the card shows at each frame."""
        return [frame.instant for frame in self.frames]


def summary(frames: Sequence[int], ready: int, stale: int) -> str:
    """Return what the panel says about frames: how many are ready, show something else, or are not there."""
    missing = len(frames) - ready - stale
    parts = [
        f"{ready} ready",
        *([f"{stale} out of date"] if stale else []),
        *([f"{missing} missing"] if missing else []),
    ]
    return f"Frames {frames[0]}-{frames[-1]}: {', '.join(parts)}"


def size_of(settings: bpy.types.PropertyGroup) -> int:
    """Return the side of the pictures that the panel asks for, pixels."""
    return min(SIZES.get(settings.quality, settings.size), settings.size)


def frame_range(scene: bpy.types.Scene) -> range:
    """Return the frames of the scene, or of its preview range where that is in use."""
    if scene.use_preview_range:
        return range(scene.frame_preview_start, scene.frame_preview_end + 1)
    return range(scene.frame_start, scene.frame_end + 1)


def plan(root: bpy.types.Object, scene: bpy.types.Scene, frames: Sequence[int], careful: bool = False) -> Plan:
    """Return which frames there should be, and which of them are missing; a `careful` look reads every file.

    Raises:
        PortraitError: if a frame cannot be drawn or baked, or the portrait's data is gone.
    """
    size, place = size_of(scene.portrait), baked.folder(root, scene.portrait.quality)
    record = FrameRecord(place)
    found, missing, stale = [], [], 0
    for instant in instants.read(root, scene, frames):
        shot = instant.framing.shot
        key = picture_key(root, shot, size)
        drawn_key = key if shot == shot.drawn else picture_key(root, shot.drawn, size)
        frame = Frame(instant, key, drawn_key, baked.frame_file(place, instant.frame))
        found.append(frame)
        is_there = record.holds(frame.path, key)
        if is_there and careful:
            is_there = record.holds_picture(frame.path, key, (size, size))
        if not is_there:
            missing.append(frame)
            stale += frame.path.is_file()
    if not found:
        raise errors.UsageError("The scene has no frames to bake.", "Its end is before its start.")
    return Plan(find.identity_of(root).uuid, place, size, frames, tuple(found), tuple(missing), stale)


def task(kept: tasks.KeptPortrait, wanted: Plan) -> tasks.Task:
    """Draw what is missing of a plan, one picture after another; returns the number of frames that were drawn.

    Raises:
        PortraitError: if a frame cannot be drawn or written; those before it stay.
    """
    files.make_folder(wanted.folder)
    record, total = FrameRecord(wanted.folder), len(wanted.missing)
    for number, frame in enumerate(wanted.missing, 1):
        started = time.monotonic()
        pixels, shot = pictures.drawn.get(frame.drawn_key), frame.instant.framing.shot
        if pixels is None:
            label = f"Baking {number}/{total}"
            picture = yield from tasks.picture(kept, shot, wanted.size, label=label)
            pixels = picture.pixels
            pictures.drawn.put(frame.drawn_key, pixels)
        png.write(frame.path, backgrounds.laid_under(pixels, shot.background))
        seconds = round(time.monotonic() - started, 3)
        record.add(frame.path, frame.key, frame=frame.instant.frame, what="plane", seconds=seconds)
    return total
