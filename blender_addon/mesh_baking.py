# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact mode: the surface is extracted anew at every frame, where a surface bound to the rig would only be bent.

Each frame goes to disk as an `.npz` file under the key of what the face does, and is never extracted again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import tasks
from .frame_record import FrameRecord, key_of
from .neural_core import errors, files
from .picture_key import portrait_digest
from .scene import baked, find, instants

MAX_FRAMES = 200
"""Every frame is an object of its own, with a mesh of megabytes."""


@dataclass(frozen=True)
class Frame:
    """A frame of the range: what the face does, the key of its surface, and the surface's file."""

    frame: int
    controls: dict[str, Any]
    key: str
    path: Path


@dataclass(frozen=True)
class Plan:
    """All frames of a range for one portrait, in order; those that have to be extracted are `missing`."""

    portrait: str
    folder: Path
    detail: int
    frames: tuple[Frame, ...]
    missing: tuple[Frame, ...]


def plan(root: bpy.types.Object, scene: bpy.types.Scene, frames: Sequence[int]) -> Plan:
    """Return which surfaces there should be, and which of them are missing.

    Raises:
        PortraitError: if there are too many frames or none, or the portrait's data is gone.
    """
    if not 0 < len(frames) <= MAX_FRAMES:
        raise errors.UsageError(
            f"{len(frames)} frames cannot be baked as meshes: 1 to {MAX_FRAMES} can.",
            "Set a shorter preview range; the surface that is bound to the rig follows any number of frames.",
        )
    identity, detail = find.identity_of(root), scene.portrait.detail
    place = baked.folder(root, f"mesh_{detail}")
    facts = {"portrait": portrait_digest(root), "model_hash": identity.model_hash, "detail": detail, "what": "mesh"}
    record, found = FrameRecord(place), []
    for frame, controls in instants.controls(root, scene, frames):
        path = place / f"m_{frame:04d}.npz"
        found.append(Frame(frame, controls, key_of({**facts, "controls": controls}), path))
    missing = tuple(frame for frame in found if not record.holds(frame.path, frame.key))
    return Plan(identity.uuid, place, detail, tuple(found), missing)


def task(kept: tasks.KeptPortrait, wanted: Plan) -> tasks.Task:
    """Extract what is missing of a plan, one surface after another; returns the number of frames that were missing.

    Frames in which the face does the same share a surface.

    Raises:
        PortraitError: if a surface cannot be extracted or written; those before it stay.
    """
    files.make_folder(wanted.folder)
    record, total = FrameRecord(wanted.folder), len(wanted.missing)
    there = {frame.key: frame.path for frame in wanted.frames if frame not in wanted.missing}
    for number, frame in enumerate(wanted.missing, 1):
        started = time.monotonic()
        with files.replacing(frame.path) as partial:
            if frame.key in there:
                shutil.copyfile(there[frame.key], partial)
            else:
                label = f"Baking meshes {number}/{total}"
                exact = yield from tasks.exact_surface(kept, wanted.detail, frame.controls, label)
                colours = np.rint(255 * exact.colours).astype(np.uint8)
                np.savez(partial, vertices=exact.vertices, faces=exact.faces, colours=colours)
        there[frame.key] = frame.path
        seconds = round(time.monotonic() - started, 3)
        record.add(frame.path, frame.key, frame=frame.frame, what="mesh", seconds=seconds)
    return total


def read(path: Path) -> tasks.ExactSurface:
    """Return the surface in a file. Raises InputError if it is damaged or gone."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tasks.ExactSurface(arrays["vertices"], arrays["faces"], arrays["colours"] / np.float32(255))
    except files.ARCHIVE_DAMAGE as error:
        raise errors.InputError(f'"{path}" is no baked mesh: {error}.', "Bake the meshes again.") from error
